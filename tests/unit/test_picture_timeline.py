"""A run in time: lanes, bars, waits, idle spans, ticks."""

import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from msgspec import structs
from picture_cases import failed_night, graph_of, nightly, record_of, task

from runwright.cli.render import timeline
from runwright.cli.render.schedule import Scale, schedule
from runwright.core.states import RunState, TaskState

SVG = "{http://www.w3.org/2000/svg}"
HOUR = 3600.0


def two() -> tuple[object, object]:
    graph = graph_of(task("a"), task("b", "a"), task("c", "a"))
    bars = {"a": [(1.0, 3.0)], "c": [(3.5, 4.0)], "b": [(3.0, 5.0), (7.0, 9.0)]}
    return graph, record_of(graph, bars, length=10.0)


def test_lanes_are_sorted_by_start_and_attempts_are_separate_bars() -> None:
    graph, record = two()
    plan = schedule(graph, record, 100)  # type: ignore[arg-type]

    assert [lane.id for lane in plan.lanes] == ["a", "b", "c"]
    assert [(bar.number, bar.start, bar.end, str(bar.state)) for bar in plan.lanes[1].bars] == [
        (1, 3.0, 5.0, "failed"),
        (2, 7.0, 9.0, "succeeded"),
    ]
    assert [lane.critical for lane in plan.lanes] == [True, True, False]
    assert plan.critical_seconds == 2.0 + 4.0
    assert (plan.length, plan.busy, plan.attempts) == (10.0, 6.5, 4)


def test_a_task_waits_from_the_end_of_what_it_needs() -> None:
    graph, record = two()
    ready = {lane.id: lane.ready for lane in schedule(graph, record, 100).lanes}  # type: ignore[arg-type]

    assert ready == {"a": 0.0, "b": 3.0, "c": 3.0}


def test_a_task_waits_only_for_the_one_node_it_names() -> None:
    graph = graph_of(task("m", matrix={"v": ("1", "2")}), task("one", "m[v=1]"))
    record = record_of(graph, {"m[v=1]": [(0.0, 1.0)], "m[v=2]": [(0.0, 5.0)], "one": [(2.0, 3.0)]})

    assert next(lane.ready for lane in schedule(graph, record, 9).lanes if lane.id == "one") == 1.0


def test_when_lanes_are_too_many_the_shortest_go_but_never_a_failure() -> None:
    graph = graph_of(*(task(f"t{n:02}") for n in range(30)))
    bars = {f"t{n:02}": [(0.0, n + 1.0)] for n in range(30)}
    plan = schedule(graph, record_of(graph, bars, {"t00": TaskState.FAILED}), 5)

    assert [lane.id for lane in plan.lanes] == ["t00", "t26", "t27", "t28", "t29"]
    assert plan.left_out == 25
    assert plan.attempts == 30


def test_a_night_between_failure_and_resume_is_skipped() -> None:
    graph = graph_of(task("a"), task("b", "a"))
    record = record_of(graph, {"a": [(0.0, 30.0)], "b": [(9 * HOUR, 9 * HOUR + 30)]}, length=9 * HOUR + 31)
    plan = schedule(graph, record, 10)

    assert plan.idle == [(30.0, 9 * HOUR)]
    assert plan.worked == pytest.approx(61.0)
    drawing = timeline.render(graph, record)
    assert "idle for 8 h 59 m" in drawing
    assert "9:00:10" in drawing


def test_short_pauses_are_not_skipped() -> None:
    graph, record = two()

    assert schedule(graph, record, 10).idle == []  # type: ignore[arg-type]


def test_a_scale_grows_all_the_way_and_shortens_what_is_idle() -> None:
    scale = Scale(1100.0, [(50.0, 1050.0)], 140.0, 40.0)
    moments = [0.0, 25.0, 50.0, 300.0, 1050.0, 1075.0, 1100.0]
    places = [scale(moment) for moment in moments]

    assert places == sorted(places)
    assert (places[0], places[2], places[4], places[6]) == (0.0, 50.0, 90.0, 140.0)
    assert places[3] == 60.0


@pytest.mark.parametrize("length", [0.004, 0.3, 1.0, 7.0, 59.0, 61.0, 1800.0, 9 * HOUR, 40 * 24 * HOUR, 5e8])
def test_ticks_are_round_and_neither_crowded_nor_missing(length: float) -> None:
    scale = Scale(length, [], 860.0, 44.0)
    step, ticks = scale.ticks(length, 84.0)
    places = [scale(tick) for tick in ticks]

    assert ticks[0] == 0.0
    assert 2 <= len(ticks) <= 11
    assert min(b - a for a, b in itertools.pairwise(places)) >= 84.0
    labels = [timeline.moment(tick, step, length) for tick in ticks]
    assert len(set(labels)) == len(labels)


def test_no_tick_stands_in_an_idle_span() -> None:
    scale = Scale(2000.0, [(100.0, 1900.0)], 800.0, 44.0)
    _, ticks = scale.ticks(2000.0, 80.0)

    assert not any(100.0 < tick < 1900.0 for tick in ticks)
    assert any(tick > 1900.0 for tick in ticks)
    assert len(set(ticks)) == len(ticks)


@pytest.mark.parametrize(
    ("seconds", "step", "length", "shown"),
    [
        (0.0, 10, 100, "0"),
        (0.25, 0.05, 0.9, "250 ms"),
        (1.5, 0.5, 5, "1.5 s"),
        (0.05, 0.05, 2, "0.05 s"),
        (20.0, 10, 50, "20 s"),
        (90.0, 30, 100, "1:30"),
        (3725.0, 5, 4000, "1:02:05"),
    ],
)
def test_moments_on_the_axis(seconds: float, step: float, length: float, shown: str) -> None:
    assert timeline.moment(seconds, step, length) == shown


def test_the_chart_of_a_run() -> None:
    graph = nightly()
    record = failed_night(graph)
    drawing = timeline.render(graph, record)
    root = ET.fromstring(drawing)
    lanes = {one.get("data-id"): one for one in root.iter(f"{SVG}g") if one.get("class") == "lane"}
    words = ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]

    assert len(lanes) == 33
    assert "alarm@unit[n=07]" in lanes
    bars = [one for one in lanes["unit[n=07]"].iter(f"{SVG}rect") if "f-failed" in (one.get("class") or "")]
    assert len(bars) == 2
    assert all("crit" in (bar.get("class") or "") for bar in bars)
    assert "9.0 s · 2 attempts" in words
    assert "1 task made no attempt and has no row." in words
    assert any(
        re.fullmatch(r"failed in 35\.0 s · 32 tasks, 34 attempts · work .*critical path 23\.0 s \(66%\)", w)
        for w in words
    )


def test_a_run_without_any_attempt_can_be_drawn() -> None:
    graph = graph_of(task("a"), task("b"))
    ET.fromstring(timeline.render(graph, record_of(graph, {}, state=RunState.PENDING, length=0.0)))


def test_a_running_attempt_reaches_to_now() -> None:
    graph = graph_of(task("a"))
    record = record_of(
        graph, {"a": [(2.0, None)]}, {"a": TaskState.RUNNING}, state=RunState.RUNNING, length=8.0
    )
    (bar,) = schedule(graph, record, 3).lanes[0].bars

    assert (bar.start, bar.end, bar.live) == (2.0, 8.0, True)
    assert 'stroke-dasharray="3 2"' in timeline.render(graph, record)


def test_a_run_whose_row_has_no_start_begins_with_its_first_attempt() -> None:
    graph, record = two()
    run = structs.replace(record.run, started_at=None)  # type: ignore[attr-defined]
    plan = schedule(graph, structs.replace(record, run=run), 9)  # type: ignore[arg-type, type-var]

    assert plan.length == 10.0


def test_left_out_lanes_are_counted_in_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_LANES", 2)
    graph, record = two()

    assert "1 shorter task left out" in timeline.render(graph, record)  # type: ignore[arg-type]
