"""Runs of other kinds, and runs within runs, as the commands that look at runs show them; on a real store."""

import asyncio
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cli_state import at
from nested_state import (
    GOAL,
    OSCILLATION,
    PLAN,
    RELEASE,
    ROLLOUT,
    ROLLOUT_FLOW,
    SERVERS,
    SERVERS_1,
    TIDY,
    a_run,
    add,
    did,
    project,
)

from runwright.adapters.sqlite import SqliteStore
from runwright.cli import nested
from runwright.cli.explain_parts import numbers_of
from runwright.cli.main import main
from runwright.cli.render.events import in_words
from runwright.core.errors import Failure
from runwright.core.events import AnyEvent, RoundPlanned, RunEnded, StateSaved, TaskStarted
from runwright.core.run import Run
from runwright.core.states import RunState, TaskRole, TaskState


class Cli:
    """The command line on a real store; a call returns status, standard output and standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str], path: Path) -> None:
        self.capsys = capsys
        self.path = path

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        status = main(["--store", f"sqlite:///{self.path}", *words])
        out, err = self.capsys.readouterr()
        return status, out, err

    def lines(self, *words: str) -> list[str]:
        status, out, err = self(*words)
        assert (status, err) == (0, "")
        return out.splitlines()

    def json(self, *words: str) -> Any:
        return json.loads("\n".join(self.lines(*words, "--json")))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(capsys, project(tmp_path))


class TestRuns:
    def test_only_runs_of_their_own_are_listed(self, cli: Cli) -> None:
        lines = cli.lines("runs")
        assert [line.split()[:2] for line in lines] == [["RUN", "NAME"], ["019a0000", "release"]]
        assert "KIND" not in lines[0]
        assert "PART OF" not in lines[0]

    def test_all_are_listed_with_kind_and_outer_run(self, cli: Cli) -> None:
        lines = cli.lines("runs", "--all")
        assert lines[0].split()[:5] == ["RUN", "NAME", "KIND", "PART", "OF"]
        assert [line.split()[:5] for line in lines[1:]] == [
            ["019a0003", "servers", "plan", "019a0001", "provision"],
            ["019a0002", "servers", "plan", "019a0001", "provision"],
            ["019a0004", "tidy", "goal", "019a0000", "heal"],
            ["019a0001", "rollout", "workflow", "019a0000", "deploy"],
            ["019a0000", "release", "workflow", "failed", lines[5].split()[4]],
        ]

    def test_kinds_are_chosen(self, cli: Cli) -> None:
        assert cli.lines("runs", "--kind", "plan") == ["no runs match"]
        assert {run["id"] for run in cli.json("runs", "--kind", "plan", "--all")} == {SERVERS, SERVERS_1}
        assert [run["id"] for run in cli.json("runs", "-k", "workflow")] == [RELEASE]
        assert cli("runs", "--kind", "job")[0] == 2

    def test_json_tells_where_a_run_belongs(self, cli: Cli) -> None:
        found = {
            run["id"]: (run["kind"], run["parent_id"], run["parent_task"]) for run in cli.json("runs", "-a")
        }
        assert found[SERVERS] == ("plan", ROLLOUT, "provision")
        assert found[TIDY] == ("goal", RELEASE, "heal")
        assert found[RELEASE] == ("workflow", None, None)

    def test_statistics_count_runs_of_their_own(self, cli: Cli) -> None:
        assert cli.json("runs", "--stats")["runs"] == 1
        assert cli.json("runs", "--stats", "--all")["runs"] == 5


class TestStatus:
    def test_inner_runs_stand_under_their_task(self, cli: Cli) -> None:
        assert cli.lines("status", "latest") == [
            f"✗ release failed  31.0 s  run {RELEASE}",
            "  deploy failed",
            "  3 tasks: 1 succeeded, 2 failed",
            "  ✗ deploy  29.0 s",
            "    ✗ rollout workflow  2 tasks: 1 failed, 1 cancelled",
            "      ✗ provision  27.0 s  attempt 2",
            "        ↯ servers plan  4 steps: 1 running, 3 pending",
            "        ✗ servers plan  4 steps: 2 succeeded, 1 failed, 1 cancelled",
            "  ✗ heal  19.0 s",
            "    ✗ tidy goal  9 rounds and actions: 7 succeeded, 2 failed",
            "→ runwright resume 019a0000",
        ]

    def test_what_runs_inside_is_told(self, cli: Cli) -> None:
        renew(cli.path, RELEASE + "x", ROLLOUT_FLOW, ["provision"])
        lines = cli.lines("status", RELEASE + "x")
        assert lines[2].startswith("  → provision ")
        assert lines[3] == "    → inner goal  2 rounds and actions: 1 succeeded, 1 running"
        assert lines[4] == "      round 7"
        assert lines[5].startswith("      → 7.mv a ")

    def test_json_nests_children(self, cli: Cli) -> None:
        found = cli.json("status", "latest")
        assert [one["run"]["id"] for one in found["children"]] == [ROLLOUT, TIDY]
        assert [one["run"]["id"] for one in found["children"][0]["children"]] == [SERVERS_1, SERVERS]
        assert [row["id"] for row in found["children"][1]["tasks"]][:2] == ["1", "1.mv a b"]

    def test_a_kind_that_is_not_a_workflow_is_named(self, cli: Cli) -> None:
        lines = cli.lines("status", SERVERS)
        assert lines[0].startswith("✗ servers plan failed  13.0 s")
        assert lines[-1] == "→ runwright resume 019a0003 --continue"
        assert cli.lines("status", SERVERS_1)[-2:] == [
            "→ runwright resume 019a0002",
            "→ runwright resume 019a0002 --continue",
        ]

    def test_a_change_inside_is_a_change(self, cli: Cli) -> None:
        async def work() -> tuple[Any, Any, Any]:
            store = SqliteStore.open(cli.path)
            run = await store.find_run(RELEASE)
            before = await nested.standing(store, run)
            again = await nested.standing(store, run)
            await add(store, a_run("019b", "more", "plan", 9, ROLLOUT, "notify"), ROLLOUT_FLOW, [], [])
            after = await nested.standing(store, run)
            await store.close()
            return before, again, after

        from runwright.cli.status import signs

        before, again, after = asyncio.run(work())
        assert signs(before) == signs(again) != signs(after)


def renew(path: Path, run_id: str, flow: Any, names: list[str]) -> None:
    """Add a run that is live far into the future, and a goal in it that is in its seventh round."""

    async def work() -> None:
        store = SqliteStore.open(path)
        begun = [TaskStarted(at=at(1), task_id=names[0], attempt=1)]
        await add(store, a_run(run_id, "outer", "workflow", 0), flow, names, begun, lease=3e9)
        begun = [*did("7", 1, 1), TaskStarted(at=at(1), task_id="7.mv a", attempt=1)]
        inner = a_run(run_id + "i", "inner", "goal", 1, run_id, names[0])
        await add(store, inner, flow, [], begun, lease=3e9)
        await store.close()

    asyncio.run(work())


class TestInspect:
    def test_every_run_is_a_section(self, cli: Cli) -> None:
        lines = cli.lines("inspect", "latest")
        heads = [line for line in lines if " › " in line]
        assert heads == [
            "deploy › rollout",
            "  provision › servers",
            "  provision › servers",
            "heal › tidy",
        ]
        assert f"    part of     provision of run {ROLLOUT}" in lines

    def test_a_plan_is_shown_in_order_with_cleanups_and_state(self, cli: Cli) -> None:
        text = "\n".join(cli.lines("inspect", SERVERS))
        names = ["network ", "  cleanup  succeeded", "wait_1 ", "database ", "report "]
        places = [text.index(f"\n{name}") for name in names]
        assert places == sorted(places)
        assert "pause of 2.0 s" in text
        assert text.split("STATE   VALUE")[1].splitlines()[1:] == [
            'cidr    "10.0.0.0/8"                      network',
            "ports   [80, 443]                         network",
            "socket  lost: a socket is not plain data  network",
        ]

    def test_a_goal_is_shown_round_by_round(self, cli: Cli) -> None:
        lines = cli.lines("inspect", TIDY)
        assert f"reason      {OSCILLATION}" in lines
        table = lines[next(n for n, line in enumerate(lines) if line.startswith("ACTION")) + 1 :]
        assert [line[:11].rstrip() for line in table] == [
            "round 1",
            "  mv a b",
            "  mkdir c",
            "    chmod c",
            "round 2",
            "round 3",
            "  mv a b",
            "round 4",
            "  mv b a",
        ]
        assert table[0].endswith("needs 2 actions")
        assert table[4].endswith("the goal could not say what it needs: plan: exit status 9")
        assert table[6].endswith("perform: exit status 1")

    def test_json_nests_children_and_names_the_kind_of_the_definition(self, cli: Cli) -> None:
        found = cli.json("inspect", "latest")
        rollout, tidy = found["children"]
        assert rollout["children"][1]["run"]["id"] == SERVERS
        assert rollout["children"][1]["definition"]["plan"]["elements"][1]["seconds"] == 2.0
        assert tidy["definition"]["goal"]["name"] == "tidy"
        assert found["definition"]["workflow"]["name"] == "release"


class TestDepth:
    def test_a_chain_longer_than_that_is_shown_without_an_error(self, cli: Cli) -> None:
        async def work() -> None:
            store = SqliteStore.open(cli.path)
            for n in range(nested.DEEPEST + 20):
                parent = f"{n - 1:08}" if n else ""
                await add(
                    store,
                    a_run(f"{n:08}", f"r{n}", "workflow", n, parent, "t" if n else ""),
                    ROLLOUT_FLOW,
                    ["t"],
                    [],
                )
            await store.close()

        asyncio.run(work())
        for command in ("status", "inspect", "explain", "logs", "graph", "export"):
            assert cli(command, "00000000")[0] == 0
        lines = cli.lines("status", "00000000")
        assert f"r{nested.DEEPEST} workflow" in "\n".join(lines)
        assert lines[-2].strip() == f"and 1 run within: runwright status {nested.DEEPEST:08}"


class TestExplain:
    def test_a_run_tells_the_innermost_failures(self, cli: Cli) -> None:
        lines = cli.lines("explain", "latest")
        assert "  in it deploy/provision/database failed: exec: exit status 3 (attempt 2)" in lines
        assert lines[-2:] == [
            "→ runwright logs 019a0000 deploy/provision/database",
            "→ runwright resume 019a0000",
        ]
        assert len(lines) <= 10

    def test_a_task_that_is_a_run_tells_what_failed_inside(self, cli: Cli) -> None:
        lines = cli.lines("explain", "latest", "deploy")
        assert (
            lines[2]
            == f"  its work is the workflow rollout, run {ROLLOUT}: failed; 2 tasks: 1 failed, 1 cancelled"
        )
        assert lines[3] == "  in it deploy/provision/database failed: exec: exit status 3 (attempt 2)"
        assert "→ runwright explain 019a0000 deploy/provision/database" in lines

    def test_a_task_that_is_a_goal_tells_why_it_gave_up(self, cli: Cli) -> None:
        assert f"  in it: {OSCILLATION}" in cli.lines("explain", "latest", "heal")

    def test_of_several_runs_the_last_is_told(self, cli: Cli) -> None:
        lines = cli.lines("explain", "latest", "deploy/provision")
        assert f"run {SERVERS}, the last of 2: failed" in lines[2]

    @pytest.mark.parametrize("words", [("latest", "deploy/provision/database"), (SERVERS, "database")])
    def test_a_step_that_failed(self, cli: Cli, words: tuple[str, str]) -> None:
        lines = cli.lines("explain", *words)
        assert lines[0] == f"{words[1]} failed"
        assert lines[1:4] == [
            "  failed: exec: exit status 3 (attempt 2)",
            "  its cleanup did not run: only a step whose hooks all succeeded is cleaned up",
            "  a resume leaves it alone; with --continue it runs again: it has not succeeded, or was cleaned up",
        ]

    def test_a_step_that_was_cleaned_up(self, cli: Cli) -> None:
        assert "  its cleanup succeeded after 1.0 s" in cli.lines("explain", SERVERS, "network")

    def test_a_step_in_doubt(self, cli: Cli) -> None:
        lines = cli.lines("explain", SERVERS_1, "network")
        assert "  its cleanup has not run: the engine died before" in lines
        assert any("runs its cleanup, because its engine died in the middle of it" in line for line in lines)

    def test_a_step_without_cleanup(self, cli: Cli) -> None:
        assert "  it has no cleanup" in cli.lines("explain", SERVERS, "report")

    def test_a_plan_tells_what_a_resume_would_do_and_what_is_lost(self, cli: Cli) -> None:
        lines = cli.lines("explain", SERVERS)
        assert "  a resume has nothing to clean up" in lines
        assert "  with --continue it runs network, wait_1, database and 1 more" in lines
        assert "  values of the state that are lost: socket" in lines
        assert "  a resume cleans up network" in cli.lines("explain", SERVERS_1)

    def test_a_goal_tells_its_last_round_its_errors_and_what_failed(self, cli: Cli) -> None:
        lines = cli.lines("explain", TIDY)
        assert lines[2:6] == [
            f"  {OSCILLATION}",
            "  round 4 is the last: needs 1 action (mv b a)",
            "  2 errors, and 3 are tolerated",
            "  mv a b failed: perform: exit status 1",
        ]

    def test_an_action_tells_which_rounds_needed_it(self, cli: Cli) -> None:
        lines = cli.lines("explain", TIDY, "mv a b")
        assert lines[0] == "3.mv a b failed"
        assert lines[2:4] == ["  2 rounds needed it: 1, 3", "  in them it succeeded once, failed once"]
        assert "  round 1 alone needed it" in cli.lines("explain", "latest", "heal/1.mkdir c")

    def test_a_wrong_path_is_an_error_with_the_nearest(self, cli: Cli) -> None:
        status, _, err = cli("explain", "latest", "deploy/provison/database")
        assert status == 2
        assert 'did you mean "deploy/provision/database"?' in err


class TestExplainMore:
    """What only runs in other states have to tell."""

    @staticmethod
    def put(
        path: Path, run: Run, definition: Any, names: list[str], events: list[AnyEvent], lease: float = 30
    ) -> None:
        async def work() -> None:
            store = SqliteStore.open(path)
            await add(store, run, definition, names, events, lease)
            await store.close()

        asyncio.run(work())

    def test_a_round(self, cli: Cli) -> None:
        assert cli.lines("explain", TIDY, "1")[0] == "round 1 succeeded"
        assert "  needs 2 actions: mv a b, mkdir c" in cli.lines("explain", TIDY, "1")
        assert "  the goal could not say what it needs: plan: exit status 9" in cli.lines(
            "explain", TIDY, "2"
        )

    def test_a_live_plan(self, cli: Cli) -> None:
        events = [*did("network", 1, 2), TaskStarted(at=at(3), task_id="database", attempt=1)]
        self.put(cli.path, a_run("live", "p", "plan", 0), PLAN, ["network", "database"], events, 3e9)
        assert "  its cleanup comes at the end of the plan" in cli.lines("explain", "live", "network")
        assert "  its cleanup comes at the end of the plan" in cli.lines("explain", "live", "database")
        assert cli.lines("explain", "live")[-1] == "→ runwright status live --follow"

    def test_a_cleanup_that_failed(self, cli: Cli) -> None:
        bad = Failure(code="E_EXIT", message="cleanup: exit status 4")
        role = TaskRole.CLEANUP
        events = [
            *did("network", 1, 2),
            *did("database", 2, 3),
            *did("database.cleanup", 4, 5, TaskState.FAILED, failure=bad, role=role),
            TaskStarted(at=at(6), task_id="network.cleanup", attempt=1, role=role),
        ]
        self.put(cli.path, a_run("half", "p", "plan", 0), PLAN, ["network", "database"], events)
        assert "  its cleanup failed after 1.0 s: cleanup: exit status 4" in cli.lines(
            "explain", "half", "database"
        )
        assert "  its cleanup is running" in cli.lines("explain", "half", "network")
        lines = cli.lines("explain", "half")
        assert "  cleanup of database failed: cleanup: exit status 4" in lines
        assert "  a resume cleans up database, network" in lines
        assert any(
            "runs its cleanup, because its cleanup did not succeed" in one
            for one in cli.lines("explain", "half", "network")
        )
        assert cli.lines("explain", "half", "network.cleanup")[1] == "  attempt 1 is running"

    def test_a_plan_that_ended_without_a_cleanup(self, cli: Cli) -> None:
        events = [*did("network", 1, 2), RunEnded(at=at(3), state=RunState.SUCCEEDED)]
        self.put(cli.path, a_run("over", "p", "plan", 0), PLAN, ["network"], events)
        assert "  its cleanup did not run" in cli.lines("explain", "over", "network")

    def test_a_step_that_the_plan_has_no_more(self, cli: Cli) -> None:
        self.put(cli.path, a_run("gone", "p", "plan", 0), PLAN, ["other"], [])
        assert cli.lines("explain", "gone", "other") == [
            "other pending",
            "  it has not started",
            "→ runwright resume gone --continue",
        ]

    @pytest.mark.parametrize(("kind", "task"), [("plan", "network"), ("goal", "1.a"), ("workflow", "a")])
    def test_a_definition_of_another_shape(self, cli: Cli, kind: str, task: str) -> None:
        self.put(
            cli.path,
            a_run("odd", "p", kind, 0),
            [1, 2],
            [task],
            did(task, 1, 2, TaskState.FAILED, reason="no"),
        )
        assert "  failed: no" in cli.lines("explain", "odd", task)
        assert cli("explain", "odd")[0] == cli("inspect", "odd")[0] == 0

    def test_an_inner_run_that_was_cancelled(self, cli: Cli) -> None:
        events = [RunEnded(at=at(3), state=RunState.CANCELLED, reason="stopped by Ctrl-C")]
        self.put(cli.path, a_run("stop", "p", "plan", 40, ROLLOUT, "notify"), PLAN, ["network"], events)
        assert "  in it: stopped by Ctrl-C" in cli.lines("explain", ROLLOUT, "notify")

    def test_many_rounds_are_told_as_spans(self, cli: Cli) -> None:
        assert numbers_of([1, 2, 3, 5, 8, 9]) == "1-3, 5, 8-9"
        plans = [RoundPlanned(at=at(n), round=n, actions=("a",)) for n in range(1, 5)]
        events = [
            one
            for n, plan in enumerate(plans, 1)
            for one in (*did(str(n), n, n), plan, *did(f"{n}.a", n, n, TaskState.FAILED, reason="no"))
        ]
        self.put(cli.path, a_run("many", "g", "goal", 0), GOAL, [], events)
        assert "  4 rounds needed it: 1-4" in cli.lines("explain", "many", "a")
        assert "  a failed 4 times, the last time: no" in cli.lines("explain", "many")

    def test_a_round_that_is_being_planned(self, cli: Cli) -> None:
        begun = [TaskStarted(at=at(1), task_id="1", attempt=1)]
        self.put(cli.path, a_run("plng", "g", "goal", 0), GOAL, [], begun, 3e9)
        assert cli.lines("inspect", "plng")[-1].endswith("is being planned")
        assert cli.lines("status", "plng")[3].startswith("  → round 1")


class TestLogs:
    def test_lines_of_inner_runs_are_prefixed_with_their_path(self, cli: Cli) -> None:
        assert cli.lines("logs", "latest") == [
            "prepare | ready",
            "heal/1.mv a b | moved",
            "deploy/provision/network | net",
            "deploy/provision/database#1 | no room",
            "deploy/provision/database#2 | still no room",
            "deploy/provision/network.cleanup | gone",
        ]

    def test_a_task_brings_the_runs_within_it(self, cli: Cli) -> None:
        assert cli.lines("logs", "latest", "heal") == ["heal/1.mv a b | moved"]
        assert len(cli.lines("logs", "latest", "deploy/provision")) == 4

    def test_one_inner_task(self, cli: Cli) -> None:
        assert cli.lines("logs", "latest", "deploy/provision/network") == ["net"]
        assert cli.lines("logs", SERVERS, "database", "--attempt", "2") == ["still no room"]

    def test_a_wrong_path_is_an_error(self, cli: Cli) -> None:
        assert cli("logs", "latest", "deploy/nothing")[0] == 2


class TestAudit:
    def test_state_and_rounds_are_told_in_words(self, cli: Cli) -> None:
        text = "\n".join(cli.lines("audit", SERVERS))
        assert 'cidr = "10.0.0.0/8", ports = [80, 443], socket is lost: a socket is not plain data' in text
        text = "\n".join(cli.lines("audit", TIDY))
        assert 'round 1 needs "mv a b", "mkdir c"' in text
        assert "round 2: the goal could not say what it needs: plan: exit status 9" in text

    @pytest.mark.parametrize(
        ("event", "words"),
        [
            (
                StateSaved(at=at(1), task_id="a", removed=("x", "y"), lost={"y": "big"}),
                "x is no more, y is lost: big",
            ),
            (StateSaved(at=at(1), task_id="a"), "nothing changed"),
            (RoundPlanned(at=at(1), round=9), "round 9: nothing is needed, the goal is reached"),
            (TaskStarted(at=at(1), task_id="a", attempt=1), ""),
        ],
    )
    def test_words(self, event: Any, words: str) -> None:
        assert in_words(event) == words

    def test_chains_of_all_kinds_hold(self, cli: Cli) -> None:
        assert cli.lines("audit", "--verify")[-1] == "5 runs, 56 events: all chains hold"


class TestDiff:
    def test_tasks_of_inner_runs_are_compared_by_path(self, cli: Cli) -> None:
        pairs = {pair["id"]: pair["kind"] for pair in cli.json("diff", RELEASE, ROLLOUT)["tasks"]}
        assert pairs["deploy/provision/network"] == "only_a"
        assert pairs["provision/network"] == "only_b"
        assert "heal/4.mv b a" in pairs

    def test_plans_are_compared(self, cli: Cli) -> None:
        found = cli.json("diff", SERVERS_1, SERVERS)
        assert {pair["id"] for pair in found["variables"]} == {"cidr", "ports"}
        assert found["definition"]["changed"] is False


class TestExport:
    def test_inner_runs_and_their_logs_are_a_part(self, cli: Cli, tmp_path: Path) -> None:
        target = tmp_path / "run.tar.gz"
        assert cli("export", "latest", "-f", "tar", "-o", str(target))[0] == 0
        with tarfile.open(target) as archive:
            names = archive.getnames()
            document = json.load(archive.extractfile("run.json"))  # type: ignore[arg-type]
        assert document["children"][0]["children"][1]["run"]["id"] == SERVERS
        assert names[:2] == ["run.json", "logs/prepare/1.log"]
        assert f"runs/{SERVERS}/logs/database/2.log" in names
        assert f"runs/{TIDY}/logs/1.mv a b/1.log" in names
