"""Goals in shell on real processes, files and SQLite: a directory that is kept equal to a manifest."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from runwright.adapters.process import WardenProcesses
from runwright.adapters.project import state_location
from runwright.adapters.workspace import DirectoryWorkspaces
from runwright.core.errors import DefinitionError, TaskFailed, UsageError
from runwright.core.goal import FATAL_STATUS, GoalDefinition, GoalOptions
from runwright.core.options import RunOptions
from runwright.core.run import Run
from runwright.core.states import RunState, TaskState
from runwright.engines.work import Work
from runwright.ports.stores import RunStore
from runwright.wiring import needed_actions, open_logs, open_store
from runwright.wiring.runs import Runs

KEEP = """
while read -r name; do
  test -e "tree/$name" || printf '{"name": "make %s", "perform": "mkdir -p tree && touch tree/%s"}\\n' "$name" "$name"
done < manifest
for path in tree/*; do
  test -e "$path" || continue
  name=${path#tree/}
  grep -qx "$name" manifest || printf '{"name": "remove %s", "perform": "rm tree/%s"}\\n' "$name" "$name"
done
"""


class Place:
    """A directory with a store, and what drives goals in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.location = state_location(str(folder / "state" / "runs.db"))

    def drive(
        self, goal: GoalDefinition, *, resume: bool = False, then: Any = None, **options: Any
    ) -> "Driven":
        """Drive a goal to its end.

        Args:
            goal: Which.
            resume: Continue the latest run.
            then: Called beside it with what drives it.
            options: Fields of `RunOptions`.
        """
        return asyncio.run(self._drive(goal, resume, then, RunOptions(directory=str(self.folder), **options)))

    async def _drive(self, goal: GoalDefinition, resume: bool, then: Any, options: RunOptions) -> "Driven":
        store, processes = open_store(self.location), WardenProcesses()
        runs = Runs(store, open_logs(self.location), DirectoryWorkspaces(self.location.work_dir), processes)
        try:
            if resume:
                found = await store.find_run("latest")
                driving = asyncio.ensure_future(runs.resume(found, None, options))
            else:
                driving = asyncio.ensure_future(
                    runs.execute(Work(definition=goal, source="", path=""), options)
                )
            if then is not None:
                await then(runs)
            return await self._see(store, await driving)
        finally:
            await processes.close()
            await store.close()

    async def _see(self, store: RunStore, run: Run) -> "Driven":
        assert (await store.verify(run.id)).ok
        rows = {row.id: row for row in await store.tasks(run.id)}
        logs = open_logs(self.location)
        texts = {name: b"".join(chunk.data for chunk in logs.read(run.id, name, 1)).decode() for name in rows}
        return Driven(run, rows, texts)


class Driven:
    def __init__(self, run: Run, rows: dict[str, Any], logs: dict[str, str]) -> None:
        self.run = run
        self.rows = rows
        self.logs = logs

    def states(self) -> dict[str, TaskState]:
        return {name: row.state for name, row in self.rows.items()}


def goal(plan: str, **fields: Any) -> GoalDefinition:
    options = GoalOptions(
        **{"sleep_between_runs": 0.01, "errors_to_tolerate": 0, **fields.pop("options", {})}
    )
    return GoalDefinition(name="tree", plan=(plan,), options=options, **fields)


async def appears(path: Path) -> None:
    """Wait until a file is there."""
    while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_goal_in_shell_is_reached(place: Place) -> None:
    (place.folder / "manifest").write_text("a\nb\n")
    (place.folder / "tree").mkdir()
    (place.folder / "tree" / "stray").touch()
    done = place.drive(goal(KEEP))
    assert done.run.state is RunState.SUCCEEDED, done.run.reason
    assert sorted(path.name for path in (place.folder / "tree").iterdir()) == ["a", "b"]
    assert list(done.rows) == ["1", "1.make a", "1.make b", "1.remove stray", "2"]
    assert done.run.counts.succeeded == 5
    assert done.logs["1"].count("\n") == 3
    assert not list(place.location.work_dir.iterdir())


def test_workers_perform_actions_at_the_same_time(place: Place) -> None:
    wait = "touch $RUNWRIGHT_ROUND.{0}; while test ! -e $RUNWRIGHT_ROUND.{1}; do sleep 0.01; done"
    lines = [f'{{"name": "{one}", "perform": "{wait.format(one, two)}"}}' for one, two in ("ab", "ba")]
    plan = "test -e 1.a && exit\ncat <<'END'\n" + "\n".join(lines) + "\nEND"
    done = place.drive(goal(plan, options={"workers": 2, "execution_timeout": 30.0}))
    assert done.run.state is RunState.SUCCEEDED, done.run.reason


def test_children_come_from_a_file(place: Place) -> None:
    child = '{"name": "child of $1", "perform": "touch $1.child"}'
    (place.folder / "ask").write_text(f'cat >> "$RUNWRIGHT_ACTIONS" <<END\n{child}\nEND\n')
    plan = """test -e a.child || echo '{"name": "a", "perform": ". ./ask", "post": "touch posted"}'"""
    (place.folder / "ask").write_text((place.folder / "ask").read_text().replace("$1", "a"))
    done = place.drive(goal(plan))
    assert done.states() == dict.fromkeys(("1", "1.a", "1.a.child of a", "2"), TaskState.SUCCEEDED)
    assert (place.folder / "posted").exists()


def test_drift_while_it_runs_is_healed(place: Place) -> None:
    (place.folder / "manifest").write_text("a\nb\n")
    drift = "if test -e tree/b && ! test -e drifted; then rm tree/a; touch drifted; fi\n"
    done = place.drive(goal(drift + KEEP))
    assert done.run.state is RunState.SUCCEEDED, done.run.reason
    assert list(done.rows) == ["1", "1.make a", "1.make b", "2", "2.make a", "3"]
    assert sorted(path.name for path in (place.folder / "tree").iterdir()) == ["a", "b"]


def test_one_exit_status_is_fatal(place: Place) -> None:
    plan = f"""echo '{{"name": "a", "perform": "echo no use >&2; exit {FATAL_STATUS}"}}'"""
    done = place.drive(goal(plan, options={"errors_to_tolerate": 100}))
    assert (done.run.state, list(done.rows)) == (RunState.FAILED, ["1", "1.a"])
    failure = done.rows["1.a"].failure
    assert (failure.code, failure.exit_code, failure.stderr_tail) == ("E_FATAL", FATAL_STATUS, "no use\n")


def test_the_time_limit_stops_a_command_and_all_it_started(place: Place) -> None:
    plan = """echo '{"name": "a", "perform": "sleep 1000 & echo $! > pid; wait"}'"""
    done = place.drive(goal(plan, options={"execution_timeout": 1.0}, kill_grace=0.1))
    assert (done.run.state, done.run.reason) == (RunState.CANCELLED, "run timeout: 1 s")
    assert done.states() == {"1": TaskState.SUCCEEDED, "1.a": TaskState.CANCELLED}
    pid = int((place.folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_goal_that_was_stopped_is_resumed_under_its_id(place: Place) -> None:
    plan = """test -e b || echo '{"name": "a", "perform": "touch a; test -e go || sleep 1000; touch b"}'"""

    async def stop(runs: Runs) -> None:
        await asyncio.wait_for(appears(place.folder / "a"), 30)
        runs.stop("SIGINT")

    first = place.drive(goal(plan, kill_grace=0.1), then=stop)
    assert (first.run.state, first.run.reason) == (RunState.CANCELLED, "SIGINT")
    (place.folder / "go").touch()
    second = place.drive(goal(plan), resume=True)
    assert (second.run.id, second.run.state) == (first.run.id, RunState.SUCCEEDED)
    assert list(second.rows) == ["1", "1.a", "2", "2.a", "3"]
    assert second.run.resume_count == 1


def test_a_goal_of_functions_is_not_resumed_as_commands(place: Place) -> None:
    from runwright import Goal, GoalFailed, Reconciler, ReconcilerOptions

    def broken() -> None:
        raise ValueError("x")

    reconciler = Reconciler(ReconcilerOptions(errors_to_tolerate=0), store=place.location.database)
    with pytest.raises(GoalFailed):
        reconciler.run_sync(Goal(broken))
    with pytest.raises(UsageError, match="is made of functions, which only its own program has"):
        place.drive(goal("true"), resume=True)


def test_a_goal_can_be_asked_without_anything_written(place: Place) -> None:
    (place.folder / "manifest").write_text("a\n")
    actions = asyncio.run(needed_actions(goal(KEEP), RunOptions(directory=str(place.folder))))
    assert [action.name for action in actions] == ["make a"]
    assert [path.name for path in place.folder.iterdir()] == ["manifest"]


def test_a_goal_that_can_not_say_is_an_error_without_its_secrets(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2-secret")
    plan = "echo looking; echo $TOKEN >&2; exit 3"
    with pytest.raises(TaskFailed) as caught:
        asyncio.run(needed_actions(goal(plan, secrets=("TOKEN",)), RunOptions(directory=str(place.folder))))
    assert caught.value.failure.exit_code == 3
    assert caught.value.failure.stderr_tail == "***\n"


def test_a_definition_that_holds_a_secret_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2-secret")
    with pytest.raises(DefinitionError):
        place.drive(goal("echo hunter2-secret", secrets=("TOKEN",)))
