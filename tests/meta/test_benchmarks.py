"""The benchmark harness works: its floors run, its checks catch what they are for, its report says what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import graphs, harness, report, runners  # noqa: E402
from benchmarks.workloads import workloads  # noqa: E402
from benchmarks.workloads.planning import write_matrix  # noqa: E402

PLAIN = ["bare spawn loop", "bare barrier loop", "make", "ninja"]


def series(work: Path, *args: str) -> dict[str, dict[str, dict]]:
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--size",
        "tiny",
        "--work",
        str(work),
        "--json",
        "-",
        *args,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return {
        one["name"]: {row["name"]: row for table in one["tables"] for row in table["rows"]}
        for one in json.loads(done.stdout)["workloads"]
    }


def test_every_floor_runs(tmp_path: Path) -> None:
    found = series(tmp_path, "--only", "floor", "--only", "theory")
    assert set(found) == set(workloads())
    for name, rows in found.items():
        assert rows or name == "planning"
        for row in rows.values():
            if row["problem"].startswith("not run: no PostgreSQL"):
                continue
            assert not row["problem"], row
            assert row["elapsed_seconds"], row
            assert min(row["elapsed_seconds"]) > 0, row


@pytest.mark.parametrize("name", PLAIN)
def test_plain_tool_runs_each_task_once_and_in_order(name: str) -> None:
    runner = runners.RUNNERS[name]
    if runner.missing():
        pytest.skip(f"{name} is not on this machine")
    assert runners._unfit_name(name) == ""


def test_order_check_catches_a_tool_that_ignores_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(graph: graphs.Graph, place: Path, slots: int) -> list[str]:
        loose = [graphs.Node(node.name, node.command) for node in reversed(graph)]
        return runners.write_spawn(loose, place, 1)

    wrong = runners.Runner("backwards", "peer", backwards, runners.nothing_missing)
    monkeypatch.setitem(runners.RUNNERS, "backwards", wrong)
    assert "ran before" in runners._unfit_name("backwards")


def test_order_check_catches_a_task_that_did_not_run() -> None:
    assert "ran a" in runners.order_problem(graphs.chain(2), ["a"])
    assert runners.order_problem(graphs.chain(2), ["t0", "t1"]) == ""


@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_in_order(seed: int) -> None:
    graph = graphs.layered(8, 6, seed=seed)
    least, free = graphs.lower_bound(graph, 3), graphs.list_schedule(graph, 3)
    total = sum(node.sleeps for node in graph)
    assert least <= free + 1e-9
    assert free <= total / 3 + graphs.critical_path(graph)  # Graham's bound
    assert graphs.list_schedule(graph, 1) == pytest.approx(total)
    assert graphs.barrier_schedule(graph, 3) >= least - 1e-9
    assert [len(level) for level in graphs.levels(graph)] == [6] * 8


def test_matrix_graph_has_the_promised_number_of_nodes(tmp_path: Path) -> None:
    import tomllib

    write_matrix(tmp_path / "big.toml", 200)
    tasks = tomllib.loads((tmp_path / "big.toml").read_text())["tasks"]
    made = [
        len(task["matrix"]["a"]) * len(task["matrix"]["b"]) for task in tasks.values() if "matrix" in task
    ]
    assert sum(made) == 200


def test_failing_command_is_a_problem_not_a_time(tmp_path: Path) -> None:
    entry = harness.Entry("wrong", ["/bin/sh", "-c", "echo no >&2; exit 3"], cwd=tmp_path)
    (row,) = harness.interleave([entry], 2, lambda _: None)
    assert (row.elapsed, row.problem) == ([], "failed: exit code 3: no")


def test_late_command_is_ended(tmp_path: Path) -> None:
    entry = harness.Entry("late", ["/bin/sh", "-c", "sleep 60"], cwd=tmp_path, timeout=0.05, slow=True)
    (row,) = harness.interleave([entry], 1, lambda _: None)
    assert row.problem.startswith("failed: not done after")


def test_rounds_are_interleaved(tmp_path: Path) -> None:
    seen: list[str] = []
    entries = [harness.Entry(name, ["true"], slow=True, cwd=tmp_path) for name in "ab"]
    entries[1].rounds = 1
    harness.interleave(entries, 2, seen.append)
    assert seen == ["a", "b", "a"]


def table(times: dict[str, float], **targets: float) -> report.Table:
    rows = [
        harness.Measured(harness.Entry(name, kind="theory", seconds=seconds))
        for name, seconds in times.items()
    ]
    rows.append(harness.Measured(harness.Entry("absent", missing="not installed")))
    return report.Table("t", rows, "floor", targets=[report.Target("ours", "floor", **targets)])


def test_report_says_met_missed_and_not_run() -> None:
    times = {"floor": 1.0, "ours": 3.0}
    assert "3.00, met" in report.render_table(table(times, at_most=4))
    assert "3.00, **missed**" in report.render_table(table(times, at_most=2))
    assert "<= 2: not run" in report.render_table(table({"floor": 1.0}, at_most=2))
    assert "| absent | not installed |" in report.render_table(table(times))


def test_readme_section_is_replaced_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("head\n<!-- a: begin -->\nold\n<!-- a: end -->\ntail\n")
    report.update_readme("a", "new", page)
    report.update_readme("b", "more", page)
    text = page.read_text()
    assert text.startswith("head\n<!-- a: begin -->\nnew\n<!-- a: end -->\ntail\n")
    assert "<!-- b: begin -->\nmore\n<!-- b: end -->" in text
    page.write_text("<!-- a: begin -->")
    with pytest.raises(ValueError, match="one marker"):
        report.update_readme("a", "new", page)


def test_readme_has_the_markers_of_every_workload() -> None:
    text = report.README.read_text()
    for name in workloads():
        assert text.count(f"<!-- {name}: begin -->") == text.count(f"<!-- {name}: end -->") == 1


def test_facts_name_no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.release", lambda: "6.1.0-somebody")
    text = report.facts(ROOT, "make bench")
    assert "6.1.0" in text
    assert "somebody" not in text
    assert str(ROOT) not in text
