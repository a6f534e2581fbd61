"""Every command that looks at runs, on a store in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_state import (
    DEAD,
    FAILED,
    LIVE,
    LOGS,
    SUCCEEDED,
    TWIN,
    FakeLogs,
    Store,
    add_other_definition,
    end_soon,
    filled_store,
    resumed_store,
)

from runwright import wiring
from runwright.cli.main import main


class Cli:
    """The command line on fakes; a call returns status, standard output and standard error."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Store
    ) -> None:
        self.capsys = capsys
        self.store = store
        self.opened: list[bool] = []
        location = wiring.StateLocation(
            store_url="memory",
            logs_dir=Path("/l"),
            work_dir=Path("/w"),
            values_dir=Path("/v"),
            project_dir=Path("/p"),
        )
        monkeypatch.setattr(wiring, "state_location", lambda option=None: location)
        monkeypatch.setattr(wiring, "open_store", self.open)
        monkeypatch.setattr(wiring, "open_logs", lambda location: FakeLogs(LOGS))

    def open(self, location: object, read_only: bool = False) -> Store:
        self.opened.append(read_only)
        return self.store

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        status = main(words)
        out, err = self.capsys.readouterr()
        return status, out, err

    def json(self, *words: str) -> Any:
        status, out, err = self(*words, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys, filled_store())


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys, resumed_store())


LOOKING = [
    ("runs",),
    ("runs", "--stats"),
    ("status", LIVE),
    ("logs", FAILED),
    ("explain", FAILED),
    ("inspect", FAILED),
    ("audit", FAILED),
    ("audit", "--verify"),
    ("diff", FAILED, SUCCEEDED),
    ("export", FAILED),
]


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_commands_that_look_open_the_store_for_reading_alone(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli(*words)[0] == 0
    assert cli.opened == [True]


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_no_escapes_reach_a_pipe_unless_tasks_wrote_them(cli: Cli, words: tuple[str, ...]) -> None:
    assert words[0] == "logs" or "\x1b" not in cli(*words)[1]


class TestRuns:
    def test_lists_the_newest_first_with_ids_that_name_one_run(self, cli: Cli) -> None:
        lines = cli("runs")[1].splitlines()
        assert [line.split()[2] for line in lines] == [
            "STATE",
            "interrupted",
            "running",
            "succeeded",
            "succeeded",
            "failed",
        ]
        shown = [line.split()[0] for line in lines[1:]]
        assert [[r for r in (DEAD, LIVE, TWIN, SUCCEEDED, FAILED) if r.startswith(s)] for s in shown] == [
            [DEAD],
            [LIVE],
            [TWIN],
            [SUCCEEDED],
            [FAILED],
        ]

    def test_ids_are_unambiguous_beyond_the_listed_ones(self, cli: Cli) -> None:
        lines = cli("runs", "-l", "1", "-s", "succeeded")[1].splitlines()
        assert len(lines) == 2
        status, out, _ = cli("status", lines[1].split()[0])
        assert (status, TWIN in out) == (0, True)

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (("-s", "failed"), [FAILED]),
            (("-s", "FAILED"), [FAILED]),
            (("--tag", "nightly", "-l", "1"), [DEAD]),
            (
                (
                    "--tag",
                    "night",
                ),
                [],
            ),
            (("-w", "other"), []),
            (("--limit", "1", "--offset", "1"), [LIVE]),
            (("--since", "2026-03-01T12:03:00+00:00"), [DEAD]),
            (("--until", "2026-03-01T12:00:30+00:00"), [FAILED]),
            (("--until", "2026-02-28"), []),
            (("--min-duration", "5s", "-s", "failed"), [FAILED]),
            (("--min-duration", "1h", "-s", "failed"), []),
        ],
    )
    def test_filters(self, cli: Cli, words: tuple[str, ...], expected: list[str]) -> None:
        assert [run["id"] for run in cli.json("runs", *words)] == expected

    def test_nothing_found_is_an_empty_list(self, cli: Cli) -> None:
        assert cli.json("runs", "-w", "other") == []
        assert cli("runs", "-w", "other")[1] == "no runs match\n"

    def test_a_new_project_has_no_runs(self, cli: Cli) -> None:
        cli.store = Store()
        assert cli("runs")[1] == "no runs\n"
        assert cli.json("runs") == []
        assert cli("runs", "--stats")[1].splitlines()[0] == "0 runs"

    def test_record(self, cli: Cli) -> None:
        (run,) = cli.json("runs", "-s", "failed")
        assert run["duration"] == 11.0
        assert run["counts"] == {
            "total": 6,
            "pending": 0,
            "running": 0,
            "succeeded": 3,
            "failed": 1,
            "skipped": 1,
            "cancelled": 1,
        }
        assert run["started_at"] == "2026-03-01T12:00:00Z"
        assert run["tags"] == ["nightly"]
        assert run["owner"] is None or run["owner"]["host"] == "forge"

    def test_statistics(self, cli: Cli) -> None:
        found = cli.json("runs", "--stats", "-l", "1")
        assert found["runs"] == 5
        assert found["states"]["succeeded"] == 2
        assert found["success_rate"] == pytest.approx(2 / 3)
        assert found["duration_max"] == 11.0
        assert "success rate  67%" in cli("runs", "--stats")[1]

    @pytest.mark.parametrize("words", [("--sort", "luck"), ("-s", "fine"), ("--since", "soon"), ("-l", "-1")])
    def test_bad_values_are_refused(self, cli: Cli, words: tuple[str, ...]) -> None:
        status, out, err = cli("runs", *words)
        assert (status, out) == (2, "")
        assert words[1].lstrip("-") in err


class TestStatus:
    def test_a_run_that_goes_on(self, cli: Cli) -> None:
        status, out, _ = cli("status", LIVE)
        assert status == 0
        assert "running" in out
        assert "build[os=mac]" in out
        assert "1 succeeded, 1 running, 4 pending" in out

    def test_looking_has_no_opinion(self, cli: Cli) -> None:
        status, out, _ = cli("status", FAILED)
        assert status == 0
        assert 'task "load" failed' in out
        assert out.splitlines()[-1] == "→ runwright resume 01950000"

    @pytest.mark.parametrize(("run", "expected"), [(FAILED, 1), (SUCCEEDED, 0), (DEAD, 1)])
    @pytest.mark.parametrize("option", ["--wait", "--follow"])
    def test_waiting_takes_the_status_of_the_run(
        self, cli: Cli, run: str, expected: int, option: str
    ) -> None:
        assert cli("status", run, option)[0] == expected

    @pytest.mark.parametrize(("option", "times"), [("--wait", 1), ("--follow", 2)])
    def test_waiting_for_a_run_that_goes_on(self, cli: Cli, option: str, times: int) -> None:
        end_soon(cli.store, LIVE, looks=3)
        status, out, _ = cli("status", LIVE, option, "--interval", "0")
        assert status == 1
        assert out.count("etl") == times
        assert "cancelled" in out

    def test_record(self, cli: Cli) -> None:
        found = cli.json("status", FAILED)
        assert found["run"]["state"] == "failed"
        load = next(task for task in found["tasks"] if task["id"] == "load")
        assert load["attempts"] == 2
        assert load["failure"]["exit_code"] == 3
        assert {task["role"] for task in found["tasks"]} == {"task", "handler"}

    def test_latest_names_the_newest(self, cli: Cli) -> None:
        assert cli.json("status", "latest")["run"]["id"] == DEAD

    @pytest.mark.parametrize("name", ["01950001", "019"])
    def test_ambiguous_ids_are_refused(self, cli: Cli, name: str) -> None:
        status, _, err = cli("status", name)
        assert status == 1
        assert err.startswith("error: ")

    def test_unknown_ids_are_refused(self, cli: Cli) -> None:
        assert cli("status", "abc")[0] == 1


class TestLogs:
    def test_all_tasks_are_prefixed(self, cli: Cli) -> None:
        assert cli("logs", FAILED)[1].splitlines() == [
            "extract | one",
            "extract | careful",
            "extract | two",
            "extract | three",
            "build[os=linux] | linux",
            "build[os=mac] | mac",
            "load#1 | refused",
            "load#2 | refused \x1b[31magain\x1b[0m",
        ]

    def test_one_attempt_alone_comes_byte_for_byte(self, cli: Cli) -> None:
        assert cli("logs", FAILED, "extract")[1] == "one\ntwcareful\no\nthree"
        assert cli("logs", FAILED, "load", "--attempt", "1")[1] == "refused\n"

    def test_a_key_names_all_nodes(self, cli: Cli) -> None:
        assert cli("logs", FAILED, "build")[1].splitlines() == [
            "build[os=linux] | linux",
            "build[os=mac] | mac",
        ]
        assert cli("logs", FAILED, "build[os=mac]")[1] == "mac\n"

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (("--stderr",), "careful\n"),
            (("--stdout",), "one\ntwo\nthree"),
            (("-n", "1"), "three\n"),
            (("--stdout", "-n", "2"), "two\nthree\n"),
            (("-n", "0"), ""),
        ],
    )
    def test_parts(self, cli: Cli, words: tuple[str, ...], expected: str) -> None:
        assert cli("logs", FAILED, "extract", *words)[1] == expected

    def test_options_may_stand_between_the_names(self, cli: Cli) -> None:
        assert cli("logs", FAILED, "-n", "1", "extract")[1] == "three\n"

    def test_following_a_run_that_has_ended_ends(self, cli: Cli) -> None:
        assert cli("logs", FAILED, "-f", "load")[1].splitlines()[0] == "load#1 | refused"

    def test_following_a_run_that_goes_on(self, cli: Cli) -> None:
        end_soon(cli.store, LIVE, looks=3)
        assert cli("logs", LIVE, "-f")[1].splitlines()[0] == "extract | one"

    def test_a_line_without_end_is_shown_in_pieces(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(LOGS, ("extract", 1), [("stdout", b"x" * 50_000)] * 3)
        lines = cli("logs", FAILED)[1].splitlines()
        assert [len(line.partition(" | ")[2]) for line in lines[:2]] == [100_000, 50_000]

    def test_unknown_task(self, cli: Cli) -> None:
        status, _, err = cli("logs", FAILED, "laod")
        assert status == 2
        assert 'did you mean "load"?' in err


class TestExplain:
    def test_a_failed_run(self, cli: Cli) -> None:
        status, out, _ = cli("explain", FAILED)
        assert status == 0
        assert len(out.splitlines()) <= 10
        assert "load failed: exit status 3 (attempt 2)" in out
        assert "maybe skipped: its condition is false" in out
        assert 'report cancelled: needs task "load", which failed' in out
        assert out.splitlines()[-1] == "→ runwright resume 01950000"

    @pytest.mark.parametrize(
        ("task", "expected"),
        [
            ("extract", ["it succeeded in attempt 1 after 1.5 s"]),
            (
                "load",
                ["failed: exit status 3 (attempt 2)", "it needs build (2 succeeded)", "again after 2.0 s"],
            ),
            ("load", ["because of it report did not run"]),
            ("maybe", ["skipped: its condition is false", 'its condition is: rows == "0"']),
            ("report", ['cancelled: needs task "load", which failed', "it needs load (1 failed)"]),
            ("alarm@load", ["alarm (handler of load) succeeded", "it is a handler; it was called for load"]),
            ("build", ["build, 2 nodes 2 succeeded"]),
        ],
    )
    def test_a_task(self, cli: Cli, task: str, expected: list[str]) -> None:
        status, out, _ = cli("explain", FAILED, task)
        assert status == 0
        assert len(out.splitlines()) <= 10
        assert not [part for part in expected if part not in out]

    def test_a_run_whose_engine_died(self, cli: Cli) -> None:
        out = cli("explain", DEAD)[1]
        assert "its engine died" in out
        assert "→ runwright resume" in out

    @pytest.mark.parametrize(
        ("task", "expected"), [("build[os=mac]", "it has not started"), ("build", "pending")]
    )
    def test_a_task_that_has_not_started(self, cli: Cli, task: str, expected: str) -> None:
        assert expected in cli("explain", DEAD, task)[1]

    def test_a_task_that_runs(self, cli: Cli) -> None:
        assert "attempt 1 is running" in cli("explain", LIVE, "build[os=mac]")[1]
        assert "runwright status" in cli("explain", LIVE)[1]

    @pytest.mark.parametrize(
        ("task", "expected"),
        [
            ("load", "resume 1 ran it again: failed: exit status 3"),
            ("extract", "resume 1 reused its outcome"),
            (None, "resume 1 found it failed: 3 reused, 2 to run"),
        ],
    )
    def test_after_a_resume(self, resumed: Cli, task: str | None, expected: str) -> None:
        assert expected in resumed("explain", FAILED, *([task] if task else []))[1]

    def test_record(self, cli: Cli) -> None:
        found = cli.json("explain", FAILED, "load")
        assert set(found) == {"run_id", "task", "state", "facts", "next"}
        assert found["next"] == ["runwright logs 01950000 load", "runwright resume 01950000"]


class TestInspect:
    def test_everything_is_there(self, cli: Cli) -> None:
        found = cli.json("inspect", FAILED)
        names = {"run", "tasks", "attempts", "variables", "events", "definition", "children"}
        assert set(found) == names
        assert len(found["attempts"]) == 6
        assert {v["name"]: v["value"] for v in found["variables"]}["rows"] == "12"
        assert [event["seq"] for event in found["events"]] == list(range(1, len(found["events"]) + 1))
        assert found["run"]["head_seq"] == len(found["events"])
        assert found["definition"]["workflow"]["tasks"]["load"]["retries"] == 1

    def test_as_text(self, cli: Cli) -> None:
        out = cli("inspect", FAILED)[1]
        assert "alarm (handler of load)" in out
        assert "work-stealing, 4 at a time" in out
        assert "VARIABLE" in out


class TestAudit:
    def test_events(self, cli: Cli) -> None:
        found = cli.json("audit", FAILED)
        assert found[0]["kind"] == "run_started"
        assert found[-1]["data"] == {"state": "failed", "reason": 'task "load" failed'}
        assert set(found[0]) == {"seq", "at", "kind", "task_id", "attempt", "data", "hash"}
        assert "load #2" in cli("audit", FAILED)[1]

    def test_all_chains(self, cli: Cli) -> None:
        assert cli("audit", "--verify")[1].endswith(": all chains hold\n")
        assert [found["ok"] for found in cli.json("audit", "--verify")] == [True] * 5

    def test_the_digest_that_was_kept(self, cli: Cli) -> None:
        (found,) = cli.json("audit", FAILED, "--verify")
        assert cli("audit", FAILED, "--expect", found["head"])[0] == 0
        status, out, _ = cli("audit", FAILED, "--expect", "0" * 64)
        assert status == 1
        assert f"ends with {found['head']}" in out

    def test_which_run(self, cli: Cli) -> None:
        assert cli("audit")[0] == 2
        assert cli("audit", "--expect", "00")[0] == 2


class TestDiff:
    def test_what_changed(self, cli: Cli) -> None:
        found = cli.json("diff", FAILED, SUCCEEDED)
        kinds = {task["id"]: task["kind"] for task in found["tasks"]}
        assert kinds["extract"] == "same"
        assert kinds["load"] == "changed"
        assert kinds["alarm@load"] == "only_a"
        assert {v["id"]: v["kind"] for v in found["variables"]}["rows"] == "changed"
        assert found["changed"] is True
        assert found["definition"]["changed"] is False

    def test_the_other_way_round(self, cli: Cli) -> None:
        found = cli.json("diff", SUCCEEDED, FAILED)
        assert {task["id"]: task["kind"] for task in found["tasks"]}["alarm@load"] == "only_b"

    def test_the_same_outcome(self, cli: Cli) -> None:
        assert cli("diff", SUCCEEDED, TWIN)[1].splitlines()[-1] == "no difference in outcome"
        assert cli.json("diff", SUCCEEDED, TWIN)["changed"] is False

    @pytest.mark.parametrize("source", ["", 'name = "etl"\n# changed\n'])
    def test_a_changed_definition(self, cli: Cli, source: str) -> None:
        other = add_other_definition(cli.store, source)
        found = cli.json("diff", SUCCEEDED, other)
        assert found["definition"]["changed"] is True
        out = cli("diff", SUCCEEDED, other)[1]
        assert "the definition changed" in out
        assert ("+# changed" in out) is bool(source)

    def test_as_text(self, cli: Cli) -> None:
        out = cli("diff", FAILED, SUCCEEDED)[1]
        assert "extract " not in out.split("VARIABLE")[0]
        assert "12" in out.split("VARIABLE")[1]
        assert "extract " in cli("diff", FAILED, SUCCEEDED, "--all")[1].split("VARIABLE")[0]


class TestCancel:
    def test_a_run_that_has_ended(self, cli: Cli) -> None:
        status, out, _ = cli("cancel", FAILED)
        assert status == 1
        assert "has ended already: failed" in out
        assert cli("cancel", SUCCEEDED, "--json")[0] == 0
        assert cli.opened == [True, True], "nothing is opened for writing"

    def test_a_run_whose_engine_died(self, cli: Cli) -> None:
        status, _, err = cli("cancel", DEAD)
        assert status == 1
        assert "runwright resume 01970000" in err

    def test_asking_only(self, cli: Cli) -> None:
        status, out, _ = cli("cancel", LIVE, "--no-wait", "--reason", "lunch")
        assert (status, out) == (0, "run 01960000 has been asked to stop\n")
        assert cli.json("status", LIVE)["run"]["cancel_requested_at"] is not None
        assert "asked to stop at" in cli("status", LIVE)[1]

    @pytest.mark.parametrize("option", [(), ("--json",)])
    def test_waiting_for_the_end(self, cli: Cli, option: tuple[str, ...]) -> None:
        end_soon(cli.store, LIVE, looks=4)
        status, out, _ = cli("cancel", LIVE, *option)
        assert status == 0
        assert "cancelled" in out

    def test_waiting_for_long_enough(self, cli: Cli) -> None:
        status, _, err = cli("cancel", LIVE, "--timeout", "0.01s")
        assert status == 1
        assert "still runs" in err
