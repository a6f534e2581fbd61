"""Random plans on the real engine, stopped and killed anywhere and resumed, against a model in plain code.

`RUNWRIGHT_SEED` and `RUNWRIGHT_PLAN_CASE` repeat a case that failed; `RUNWRIGHT_PLAN_CASES` is how many there are.
"""

import os
from collections.abc import Callable, Iterable
from random import Random
from typing import Any
from unittest import mock

import pytest
from plan_cases import Case, Entry, Trouble, random_case
from plan_model import Model
from plan_rig import Rig

from runwright.core import plan
from runwright.core.errors import Failure, UsageError
from runwright.core.events import TaskEnded, TaskStarted
from runwright.core.plan import CleanUp, End, PlanOutcome, PlanProgress, has_cleanup, next_action
from runwright.core.planlog import CLEANUP_SUFFIX, PlanLog, Standing
from runwright.core.states import FINAL_RUN_STATES, FINAL_TASK_STATES, TaskRole, TaskState
from runwright.engines import plan_driver
from runwright.engines.plan_driver import PlanDriver
from runwright.testing import FakeClock

CASES = int(os.environ.get("RUNWRIGHT_PLAN_CASES", "10000"))
SEED = int(os.environ.get("RUNWRIGHT_SEED", "20260401"))
ONE = os.environ.get("RUNWRIGHT_PLAN_CASE")
PARTS = 4
FEW = 1_000
QUIET = 3


def case_of(number: int) -> Case:
    return random_case(Random(f"{SEED}/{number}"))


class Follower:
    """Compares one case with the model, execution by execution.

    Args:
        case: What is done.
        clock: Time.
    """

    def __init__(self, case: Case, clock: FakeClock) -> None:
        self.case = case
        self.rig = Rig(case, clock)
        self.model = Model(case.plan)
        self.tape: list[Entry] = []
        self.outcomes: dict[tuple[str, int], str] = {}

    async def follow(self) -> None:
        """Perform the plan with its troubles, and then resume it a few times without any."""
        first, *resumes = self.case.troubles
        await self.execute(first, is_first=True)
        for trouble in [*resumes, *(Trouble() for _ in range(QUIET))]:
            if self.model.decide(trouble.go_on) is None:
                await self.is_refused(trouble)
            else:
                await self.execute(trouble)
        check_cleanups(
            self.tape, {element.name for element in self.case.plan.elements if "cleanup" in element.hooks}
        )

    async def execute(self, trouble: Trouble, *, is_first: bool = False) -> None:
        rig, model = self.rig, self.model
        outcome = await rig.perform(trouble, is_first=is_first)
        self.tape += rig.tape
        model.follow(rig.tape, None if is_first else trouble.go_on)
        run = await rig.store.find_run(rig.run_id)
        assert run.state.value == model.run
        integrity = await rig.store.verify(rig.run_id)
        assert integrity.ok, integrity.problem
        await self.check_attempts()
        if run.state in FINAL_RUN_STATES:
            await self.check_states()
        if outcome is not None:
            self.check_outcome(outcome)

    async def is_refused(self, trouble: Trouble) -> None:
        with pytest.raises(UsageError):
            await self.rig.perform(trouble, is_first=False)
        assert self.rig.tape == []

    async def check_states(self) -> None:
        rows = {row.id: row for row in await self.rig.store.tasks(self.rig.run_id)}
        assert all(row.state in FINAL_TASK_STATES for row in rows.values())
        assert {name: rows[name].state.value for name in self.model.states} == self.model.states

    async def check_attempts(self) -> None:
        """Check that the outcome of an attempt is written once."""
        for attempt in await self.rig.store.attempts(self.rig.run_id):
            if attempt.state in FINAL_TASK_STATES:
                key = (attempt.task_id, attempt.number)
                assert self.outcomes.setdefault(key, attempt.state.value) == attempt.state.value, key

    def check_outcome(self, outcome: PlanOutcome) -> None:
        assert outcome.state.value == self.model.run
        assert list(outcome.errors) == self.model.errors
        unclean = {
            entry.name: 0 for entry in self.rig.tape if entry.kind == "cleaned" and entry.detail == "failed"
        }
        assert list(outcome.cleanup_errors) == list(unclean)
        assert bool(outcome.reason) == (self.model.run != "succeeded" or bool(unclean))


def check_cleanups(tape: Iterable[Entry], steps: set[str]) -> None:
    """Check without the model that no cleanup was lost, and none run again after it had succeeded.

    Args:
        tape: All executions of a run.
        steps: Names of the steps that have a cleanup.
    """
    running: set[str] = set()
    due: set[str] = set()
    failed: set[str] = set()
    clean: set[str] = set()
    for kind, name, detail, _ in tape:
        if kind == "begin":
            assert name not in due, f"{name} begins before it was cleaned up"
            clean.discard(name)
        if kind in ("begin", "again", "end"):
            running = running | {name} if kind == "begin" else running - {name}
        if kind == "crash":
            due |= running & steps
            running = set()
        elif kind == "end" and name in steps and detail[1] == "succeeded":
            due.add(name)
        elif kind == "cleanup":
            assert name not in clean, f"{name} is clean already"
        elif kind == "cleaned":
            due.discard(name)
            failed.discard(name)
            (clean if detail == "succeeded" else failed).add(name)
        elif kind == "start":
            due |= failed
            failed = set()
        elif kind == "finish":
            assert not due, f"nobody has cleaned up {due}"


def run_cases(numbers: Iterable[int]) -> None:
    clock = FakeClock(patience=float("inf"))

    async def all_of_them() -> None:
        for number in numbers:
            follower = Follower(case_of(number), clock)
            try:
                await follower.follow()
            except BaseException as error:
                told = "\n".join(f"  {entry}" for entry in follower.rig.tape)
                error.add_note(f"repeat with RUNWRIGHT_SEED={SEED} RUNWRIGHT_PLAN_CASE={number}")
                error.add_note(f"{follower.case}\nthe last tape:\n{told}")
                raise

    clock.run(all_of_them())


@pytest.mark.parametrize("part", range(PARTS))
def test_plans_do_what_the_model_does(part: int) -> None:
    print(f"RUNWRIGHT_SEED={SEED} RUNWRIGHT_PLAN_CASES={CASES}")
    run_cases([int(ONE)] if ONE else range(part, CASES, PARTS))


# -- controls: an engine that is broken must be found out ------------------------------------------------------


def cleans_first_to_last() -> Any:
    def broken(progress: PlanProgress) -> Any:
        action = next_action(progress)
        return CleanUp((progress.undo or progress.due)[0]) if isinstance(action, CleanUp) else action

    return mock.patch.object(plan_driver, "next_action", broken)


def cleans_nothing_when_stopped() -> Any:
    def broken(progress: PlanProgress) -> Any:
        if progress.stop_reason and progress.is_cleaning:
            progress.due.clear()
        return next_action(progress)

    return mock.patch.object(plan_driver, "next_action", broken)


def cleans_failed_steps() -> Any:
    def broken(progress: PlanProgress, end: End) -> None:
        ENDED(progress, end)
        if end.state is TaskState.FAILED and has_cleanup(progress.plan, end.index):
            progress.due.append(end.index)

    return mock.patch.object(PlanProgress, "ended", broken)


def stops_at_a_failed_cleanup() -> Any:
    def broken(progress: PlanProgress, index: int, failure: Failure | None) -> None:
        CLEANED(progress, index, failure)
        if failure is not None:
            progress.due.clear()

    return mock.patch.object(PlanProgress, "cleaned", broken)


def never_tries_again() -> Any:
    return mock.patch.object(plan, "is_worth_another", return_value=False)


def breaks_nothing_off() -> Any:
    return mock.patch.object(PlanDriver, "_break_off", return_value=None)


def forgets_what_is_in_doubt() -> Any:
    def broken(log: PlanLog, event: TaskStarted) -> None:
        STARTED(log, event)
        if event.role is TaskRole.TASK:
            log.standing[event.task_id] = Standing.NOTHING

    return mock.patch.object(PlanLog, "_start", broken)


def forgets_failed_cleanups() -> Any:
    def broken(log: PlanLog, event: TaskEnded) -> None:
        LOGGED_END(log, event)
        if event.role is TaskRole.CLEANUP:
            log.standing[event.task_id.removesuffix(CLEANUP_SUFFIX)] = Standing.NOTHING

    return mock.patch.object(PlanLog, "_end", broken)


def forgets_that_it_has_cleaned() -> Any:
    def broken(log: PlanLog, event: TaskEnded) -> None:
        if event.role is not TaskRole.CLEANUP:
            LOGGED_END(log, event)

    return mock.patch.object(PlanLog, "_end", broken)


def forgets_the_state() -> Any:
    return mock.patch.object(PlanLog, "_save", return_value=None)


ENDED, CLEANED = PlanProgress.ended, PlanProgress.cleaned
STARTED, LOGGED_END = PlanLog._start, PlanLog._end
BROKEN = [
    cleans_first_to_last,
    cleans_nothing_when_stopped,
    cleans_failed_steps,
    stops_at_a_failed_cleanup,
    never_tries_again,
    breaks_nothing_off,
    forgets_what_is_in_doubt,
    forgets_failed_cleanups,
    forgets_that_it_has_cleaned,
    forgets_the_state,
]


@pytest.mark.parametrize("breaks", BROKEN)
def test_a_broken_engine_is_found_out(breaks: Callable[[], Any]) -> None:
    with breaks(), pytest.raises((AssertionError, UsageError, pytest.fail.Exception)):
        run_cases(range(FEW))
