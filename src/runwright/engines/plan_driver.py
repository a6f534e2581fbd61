"""The loop of one plan: ask what is next, perform it, record it, ask again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from runwright.core.errors import Failure, RunwrightError
from runwright.core.plan import (
    Abandon,
    Again,
    Begin,
    Call,
    CleanUp,
    End,
    Finish,
    Hook,
    PlanOutcome,
    PlanProgress,
    Stage,
    StepDefinition,
    Wait,
    next_action,
    timeout_reason,
)
from runwright.core.planlog import row_id
from runwright.engines.failures import (
    BROKEN_OFF,
    TASK_CANCELLED,
    cancelled_itself,
    exited,
    redacted,
    to_failure,
    told,
)
from runwright.engines.limits import Limit, limit_of, within
from runwright.engines.plan_recorder import Recorder, Silence
from runwright.engines.session import AttemptLog
from runwright.ports.system import Clock


class Hooks(Protocol):
    """Performs the hooks of a plan's steps."""

    async def call(self, step: StepDefinition, hook: Hook, attempt: int) -> None:
        """Perform a hook that the step has; whatever it raises is how it failed."""
        ...

    def close_log(self, step: StepDefinition, hook: Hook) -> AttemptLog | None:
        """Close the log of an attempt at the step, or of its cleanup, and return it if anything was logged.

        Raises:
            StoreError: If the output can't be kept.
        """
        ...


class PlanDriver:
    """Drives one execution of a plan.

    Everything happens in one task, cleanups included, so that what one hook opens another may close.

    Args:
        progress: What the execution begins with.
        hooks: Performs.
        recorder: Records and tells.
        clock: Time.
        redact: Masks secrets in the messages of errors.

    Attributes:
        progress: What has happened so far.
    """

    def __init__(
        self,
        progress: PlanProgress,
        hooks: Hooks,
        recorder: Recorder | Silence,
        clock: Clock,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.progress = progress
        self._plan = progress.plan
        self._hooks = hooks
        self._recorder = recorder
        self._clock = clock
        self._redact = redact
        self._task: asyncio.Task[object] | None = None
        self._limit: Limit | None = None
        self._errors: dict[int, Exception] = {}
        self._cleanup_errors: dict[int, Exception] = {}
        self._is_open = False
        self._is_cleaning_up = False
        self._has_cancelled = False
        self._broken: Exception | None = None

    def stop(self, reason: str) -> None:
        """Break off what runs, start nothing more, and clean up; changes nothing once cleanup has begun."""
        if not self.progress.is_cleaning:
            self.progress.stop(reason)
            if not self._is_cleaning_up:
                self._break_off()

    def fail(self, error: Exception) -> None:
        """Give up at once: the run can't be recorded any more."""
        self._broken = self._broken or error
        self._break_off()

    async def drive(self) -> Finish:
        """Drive the plan to its end.

        Raises:
            ConflictError: If the right to the run has passed on.
            StoreError: If the run can't be recorded.
        """
        self._task = asyncio.current_task()
        limit = self._plan.limit_duration
        late = timeout_reason(limit)
        timer = asyncio.get_running_loop().call_later(limit, self.stop, late) if limit else None
        try:
            while not isinstance(action := next_action(self.progress), Finish):
                await self._perform(action)
                if self._broken is not None:
                    raise self._broken
            await self._recorder.finish(action)
            return action
        finally:
            if timer is not None:
                timer.cancel()

    def outcome(self, finish: Finish, run_id: str = "") -> PlanOutcome:
        """Return what came of it, with the errors themselves."""
        elements = self._plan.elements
        return PlanOutcome(
            state=finish.state,
            reason=finish.reason,
            errors={elements[index].name: self._errors[index] for index in self.progress.errors},
            cleanup_errors={elements[index].name: error for index, error in self._cleanup_errors.items()},
            run_id=run_id,
        )

    async def _perform(self, action: Begin | Call | Wait | Again | End | Abandon | CleanUp) -> None:
        progress, recorder = self.progress, self._recorder
        if isinstance(action, Call):
            await self._call(action)
        elif isinstance(action, Begin):
            await recorder.begin(action)
            progress.begun()
            self._limit = self._limit_of(action.index)
        elif isinstance(action, End):
            recorder.end(action)
            progress.ended(action)
        elif isinstance(action, CleanUp):
            await self._clean_up(action.index)
        elif isinstance(action, Again):
            await self._wait_and_retry(action)
        elif isinstance(action, Wait):
            broken_off = await self._attempt(self._clock.sleep(action.seconds), None)
            progress.waited() if broken_off is None else progress.interrupted()
        else:
            recorder.abandon(action)
            progress.abandoned()

    async def _call(self, action: Call) -> None:
        progress, index = self.progress, action.index
        step = self._step(index)
        attempt = progress.attempts[index]
        error = await self._attempt(self._hooks.call(step, action.hook, attempt), self._limit)
        if self._broken is not None:
            return
        await self._recorder.save(index)
        if error is BROKEN_OFF:
            progress.interrupted()
        else:
            self._hook_ended(index, error)
        if progress.stage is not Stage.RUNNING:
            self._close_log(index, step, action.hook, attempt)

    def _hook_ended(self, index: int, error: Exception | None) -> None:
        if error is None:
            self.progress.hook_ended(None)
            return
        self._errors.pop(index, None)
        self._errors[index] = told(error)
        self.progress.hook_ended(self._to_failure(error))

    def _close_log(self, index: int, step: StepDefinition, hook: Hook, attempt: int) -> None:
        """Close the log of an attempt; output that can't be kept is a failure of a step that succeeded otherwise."""
        error = self._closed(step, hook, attempt)
        if error is not None and self.progress.stage is Stage.PASSED:
            self._hook_ended(index, error)
        elif self.progress.stage is Stage.PASSED:
            self._errors.pop(index, None)

    def _closed(self, step: StepDefinition, hook: Hook, attempt: int) -> Exception | None:
        try:
            log = self._hooks.close_log(step, hook)
        except RunwrightError as error:
            return error
        if log is not None and log.captured:
            self._recorder.output(row_id(step, hook), attempt, log)
        return None

    async def _clean_up(self, index: int) -> None:
        step = self._step(index)
        attempt = await self._recorder.begin_cleanup(index)
        limit = limit_of(self._plan.cleanup_timeout)
        self._is_cleaning_up = True
        error = await self._attempt(self._hooks.call(step, Hook.CLEANUP, attempt), limit)
        self._is_cleaning_up = False
        if self._broken is not None:
            return
        await self._recorder.save(index)
        error = self._closed(step, Hook.CLEANUP, attempt) or error
        failure = None if error is None else self._to_failure(error)
        if error is not None:
            self._cleanup_errors[index] = told(error)
        self._recorder.end_cleanup(index, failure)
        self.progress.cleaned(index, failure)

    async def _wait_and_retry(self, action: Again) -> None:
        self._recorder.again(action)
        if action.delay and await self._attempt(self._clock.sleep(action.delay), None) is not None:
            return  # the plan is stopped, and the failure stands
        self.progress.retrying()

    async def _attempt(self, work: Awaitable[None], limit: Limit | None) -> Exception | None:
        """Do some work that can be broken off; return its error."""
        self._is_open = True
        try:
            if limit is None:
                await work
            else:
                await within(work, limit)
        except asyncio.CancelledError:
            return BROKEN_OFF if self._is_cancelled else cancelled_itself()
        except (Exception, SystemExit) as error:
            return error if isinstance(error, Exception) else exited(error)
        finally:
            self._is_open = False
            if self._has_cancelled and self._task is not None:
                self._task.uncancel()
                self._has_cancelled = False
            elif self._is_cancelled:
                self.progress.stop(TASK_CANCELLED)
        return None

    @property
    def _is_cancelled(self) -> bool:
        return self._task is not None and self._task.cancelling() > 0

    def _break_off(self) -> None:
        """Cancel the work that is being done; one that stops its own plan comes to its end by itself."""
        task = self._task
        if task is None or not self._is_open or self._has_cancelled or asyncio.current_task() is task:
            return
        self._has_cancelled = True
        task.cancel()

    def _step(self, index: int) -> StepDefinition:
        step = self._plan.elements[index]
        assert isinstance(step, StepDefinition)
        return step

    def _limit_of(self, index: int) -> Limit | None:
        element = self._plan.elements[index]
        seconds = element.timeout if isinstance(element, StepDefinition) else 0.0
        return limit_of(seconds) if seconds else None

    def _to_failure(self, error: Exception) -> Failure:
        return redacted(to_failure(error), self._redact)
