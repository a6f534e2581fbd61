"""What a picture shows: blocks, edges, folding, limits, the record of a run."""

from time import perf_counter

import pytest
from msgspec import structs
from picture_cases import ROOMY, failed_night, graph_of, handler, nightly, picture, record_of, task

from runwright.cli.render.facts import brief, heading, plural
from runwright.cli.render.picture import Block, Kind, Picture, add_tallies, worst
from runwright.core.graph import Graph
from runwright.core.states import TaskState


def by_id(drawn: Picture) -> dict[str, Block]:
    return {block.id: block for block in drawn.blocks}


def edges(drawn: Picture) -> set[tuple[str, str]]:
    return {(drawn.blocks[e.source].id, drawn.blocks[e.target].id) for e in drawn.edges}


def fan(width: int) -> Graph:
    return graph_of(task("root"), *(task(f"t{n:05}", "root") for n in range(width)))


def chain(length: int) -> Graph:
    return graph_of(*(task(f"t{n:05}", *([f"t{n - 1:05}"] if n else [])) for n in range(length)))


def test_every_task_is_a_block_and_every_dependency_an_edge_between_groups() -> None:
    drawn = picture(nightly())

    assert [block.id for block in drawn.blocks] == ["fetch", "build", "unit", "wheel", "publish"]
    assert [block.level for block in drawn.blocks] == [0, 1, 2, 2, 3]
    assert edges(drawn) == {
        ("fetch", "build"),
        ("build", "unit"),
        ("build", "wheel"),
        ("unit", "publish"),
        ("wheel", "publish"),
        ("fetch", "publish"),
    }
    assert (drawn.tasks, drawn.levels, drawn.state) == (33, 4, None)


def test_small_matrices_are_unfolded_and_large_ones_on_request() -> None:
    folded, unfolded = by_id(picture(nightly())), by_id(picture(nightly(), unfold=True))

    assert next(cell.id for cell in folded["build"].cells) == "build[os=linux,py=1]"
    assert folded["unit"].cells == ()
    assert folded["unit"].count == 24
    assert len(unfolded["unit"].cells) == 24
    assert any("--matrix unfolds" in note for note in picture(nightly()).notes)
    assert not picture(nightly(), unfold=True).notes


def test_an_edge_from_one_node_starts_at_its_cell() -> None:
    drawn = picture(nightly())
    (single,) = [edge for edge in drawn.edges if edge.node]

    assert single.node == "build[os=linux,py=3]"
    assert drawn.blocks[single.source].cells[single.cell].id == single.node
    assert all(edge.cell == -1 for edge in drawn.edges if not edge.node)


def test_an_edge_from_a_node_that_is_folded_away_starts_at_the_box() -> None:
    drawn = picture(nightly(), limits=structs.replace(ROOMY, fold=1))

    (single,) = [edge for edge in drawn.edges if edge.node]
    assert single.cell == -1


def test_a_run_brings_states_times_and_the_critical_path() -> None:
    graph = nightly()
    drawn = picture(graph, failed_night(graph))
    blocks = by_id(drawn)

    assert blocks["unit"].state is TaskState.FAILED
    assert blocks["unit"].tally == {TaskState.SUCCEEDED: 23, TaskState.FAILED: 1}
    assert blocks["unit"].seconds == 9.0
    assert brief(blocks["unit"]) == "1 of 24 failed · 9.0 s"
    assert brief(blocks["publish"]) == "cancelled · needs unit[n=07]"
    assert [block.id for block in drawn.blocks if block.critical] == ["fetch", "build", "unit"]
    assert drawn.critical_seconds == 5.0 + 9.0 + 9.0
    assert heading(drawn) == "failed in 35.0 s · 33 tasks · 4 levels · critical path 23.0 s"
    critical = {(drawn.blocks[e.source].id, drawn.blocks[e.target].id) for e in drawn.edges if e.critical}
    assert critical == {("fetch", "build"), ("build", "unit")}
    assert [cell.id for cell in blocks["build"].cells if cell.critical] == ["build[os=mac,py=2]"]


def test_without_a_run_the_critical_path_is_the_longest_chain() -> None:
    drawn = picture(nightly(), critical=True)

    assert sum(block.critical for block in drawn.blocks) == 4
    assert drawn.critical_seconds is None
    assert not any(block.critical for block in picture(nightly()).blocks)


def test_a_handler_is_shown_on_request_or_when_it_ran() -> None:
    graph = nightly()
    asked = picture(graph, handlers=True)
    ran = picture(graph, failed_night(graph))

    assert "alarm" not in by_id(picture(graph))
    assert by_id(asked)["alarm"].kind is Kind.HANDLER
    assert ("serves", "the whole workflow") in by_id(asked)["alarm"].facts
    assert ("publish", "alarm") in edges(asked)
    assert by_id(ran)["alarm"].state is TaskState.SUCCEEDED
    assert by_id(ran)["alarm"].seconds == 1.0


def test_a_handler_that_ran_often_is_one_block_with_its_count() -> None:
    graph = graph_of(task("a", on_failure="h"), task("b", on_failure="h"), handler("h"))
    bars = {name: [(0.0, 1.0)] for name in ("a", "b", "h@a", "h@b")}
    drawn = picture(graph, record_of(graph, bars, handlers={"h@a": "h", "h@b": "h"}))

    assert by_id(drawn)["h"].count == 2
    assert brief(by_id(drawn)["h"]) == "2 times · 1.0 s"


def test_a_wide_level_ends_in_the_number_of_those_left_out() -> None:
    drawn = picture(fan(500), limits=structs.replace(ROOMY, width=10))

    assert len(drawn.blocks) == 11
    assert drawn.blocks[-1].kind is Kind.MORE
    assert drawn.blocks[-1].label == "491 more tasks"
    assert drawn.notes == ["491 of 501 tasks are left out; --format json has them all."]
    assert ("root", drawn.blocks[-1].id) in edges(drawn)


def test_what_failed_is_never_left_out_before_what_did_not() -> None:
    graph = fan(500)
    record = record_of(graph, states={"t00321": TaskState.FAILED})
    drawn = picture(graph, record, limits=structs.replace(ROOMY, width=10))

    assert "t00321" in by_id(drawn)
    assert drawn.blocks[-1].tally == {TaskState.SUCCEEDED: 491}


def test_the_middle_of_a_long_chain_is_left_out_except_where_something_failed() -> None:
    graph = chain(1000)
    record = record_of(graph, states={"t00700": TaskState.FAILED})
    drawn = picture(graph, record, limits=structs.replace(ROOMY, levels=20))
    more = [block for block in drawn.blocks if block.kind is Kind.MORE]

    assert {"t00000", "t00700", "t00999"} <= set(by_id(drawn))
    assert len(more) == 2
    assert "more tasks on" in more[0].label
    assert sum(block.count for block in drawn.blocks) == 1000
    assert [block.level for block in drawn.blocks] == list(range(len(drawn.blocks)))
    assert len(drawn.edges) == len(drawn.blocks) - 1


def test_a_graph_of_many_levels_shows_fewer_of_each() -> None:
    tasks = [
        task(f"t{level}-{n}", *([f"t{level - 1}-{n}"] if level else []))
        for level in range(20)
        for n in range(50)
    ]
    drawn = picture(graph_of(*tasks), limits=structs.replace(ROOMY, blocks=100))

    assert len(drawn.blocks) == 100
    assert sum(block.count for block in drawn.blocks) == 1000


def test_a_matrix_of_a_million_has_few_cells_and_one_edge() -> None:
    many = tuple(str(n) for n in range(316))
    graph = graph_of(task("a", matrix={"x": many, "y": many}), task("b", "a", matrix={"x": many, "y": many}))
    drawn = picture(graph, unfold=True, limits=structs.replace(ROOMY, cells=50))

    assert len(drawn.edges) == 1
    assert [len(block.cells) for block in drawn.blocks] == [50, 50]
    assert drawn.blocks[0].cells[-1].count == 316 * 316 - 49
    assert any("matrix tasks are left out" in note for note in drawn.notes)


def test_a_failed_and_a_critical_cell_are_kept_when_cells_are_left_out() -> None:
    graph = graph_of(task("a", matrix={"n": tuple(f"{n:03}" for n in range(100))}))
    bars = {name: [(0.0, 9.0 if name == "a[n=088]" else 1.0)] for name in graph.ids}
    record = record_of(graph, bars, {"a[n=077]": TaskState.FAILED})
    cells = picture(graph, record, unfold=True, limits=structs.replace(ROOMY, cells=5)).blocks[0].cells

    assert {"a[n=077]", "a[n=088]"} <= {cell.id for cell in cells}
    assert len(cells) == 5


def test_edges_beyond_the_limit_are_left_out_but_not_the_critical_ones() -> None:
    graph = fan(50)
    bars = {name: [(1.0, 9.0 if name == "t00040" else 2.0)] for name in graph.ids}
    drawn = picture(graph, record_of(graph, bars), limits=structs.replace(ROOMY, edges=5))

    assert len(drawn.edges) == 5
    assert ("root", "t00040") in edges(drawn)
    assert "Only 5 of 50 edges are drawn." in drawn.notes


def test_a_task_that_is_no_part_of_a_run_has_no_state() -> None:
    graph = chain(2)
    record = record_of(graph)
    drawn = picture(graph, structs.replace(record, tasks=record.tasks[:1], attempts=record.attempts[:1]))

    assert [block.state for block in drawn.blocks] == [TaskState.SUCCEEDED, None]


def test_time_that_still_runs_is_measured_up_to_now() -> None:
    graph = chain(1)
    record = record_of(graph, {"t00000": [(0.0, 4.0), (6.0, None)]}, {"t00000": TaskState.RUNNING}, length=10)
    block = picture(graph, record).blocks[0]

    assert block.seconds == 4.0 + 4.0
    assert block.measure is not None
    assert block.measure.ended_at is None
    assert brief(block) == "8.0 s · 2 attempts"


def test_an_empty_graph_makes_an_empty_picture() -> None:
    drawn = picture(graph_of())

    assert (list(drawn.blocks), list(drawn.edges), drawn.levels) == ([], [], 0)


@pytest.mark.parametrize("make", [fan, chain], ids=["fan", "chain"])
def test_a_hundred_thousand_tasks_are_drawn_from_within_limits_in_time(make: object) -> None:
    graph = make(100_000)  # type: ignore[operator]
    began = perf_counter()
    drawn = picture(graph, limits=structs.replace(ROOMY, width=60, levels=120))
    took = perf_counter() - began

    assert len(drawn.blocks) <= 160
    assert sum(block.count for block in drawn.blocks) == len(graph)
    assert drawn.notes
    assert took < 3.0


def test_states_of_a_whole_are_those_of_its_parts() -> None:
    assert worst({}) is None
    assert worst({TaskState.SUCCEEDED: 3, TaskState.SKIPPED: 1}) is TaskState.SUCCEEDED
    assert worst({TaskState.RUNNING: 1, TaskState.FAILED: 1}) is TaskState.FAILED
    assert add_tallies([{TaskState.FAILED: 1}, {TaskState.PENDING: 2, TaskState.FAILED: 0}]) == {
        TaskState.PENDING: 2,
        TaskState.FAILED: 1,
    }
    assert plural(1, "task") == "1 task"
    assert plural(12_000, "task") == "12,000 tasks"
