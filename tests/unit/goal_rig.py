"""Goals on fakes: scripted plans and actions, in memory and recorded."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from engine_bench import Bench, Seen

from runwright.core.errors import UsageError
from runwright.core.goal import GoalDefinition, GoalOptions, GoalOutcome
from runwright.core.options import RunOptions
from runwright.engines.course import Course
from runwright.engines.goal_functions import FunctionPerformer
from runwright.engines.goal_recorder import Report
from runwright.engines.reconcile import GoalEngine, pursue_unrecorded


class InLine:
    """Threads that are none: plain functions are called where they stand."""

    async def call(self, function: Callable[[], Any]) -> Any:
        return function()

    def close(self) -> None:
        """Do nothing."""


class Deed:
    """An action that writes down what it does.

    Args:
        log: Where.
        name: Of the action.
        fails: Hooks that raise, each with its error or none for the usual one.
        children: What `perform` returns.
        seconds: How long `perform` takes.
    """

    def __init__(
        self,
        log: list[str],
        name: str,
        *,
        fails: dict[str, BaseException] | str = "",
        children: Sequence[Any] | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.name = name
        self._log = log
        self._fails = (
            fails
            if isinstance(fails, dict)
            else {hook: ValueError(f"{name} {hook}") for hook in fails.split()}
        )
        self._children = children
        self._seconds = seconds

    async def pre(self) -> None:
        self._do("pre")

    async def perform(self) -> Sequence[Any] | None:
        self._do("perform")
        if self._seconds:
            try:
                await asyncio.sleep(self._seconds)
            except asyncio.CancelledError:
                self._log.append(f"{self.name} broken off")
                raise
        return self._children

    async def post(self) -> None:
        self._do("post")

    def _do(self, hook: str) -> None:
        self._log.append(f"{self.name} {hook}")
        if hook in self._fails:
            raise self._fails[hook]


class Rounds:
    """A goal whose plans are given; the last one stays.

    Args:
        plans: Each a list of actions, an error to raise, or anything else to return.

    Attributes:
        asked: How often it was asked.
    """

    def __init__(self, *plans: Any) -> None:
        self._plans = list(plans)
        self.asked = 0

    async def plan(self) -> Any:
        plan = self._plans[min(self.asked, len(self._plans) - 1)]
        self.asked += 1
        if isinstance(plan, BaseException):
            raise plan
        return plan


class Rig:
    """Pursues goals on a clock that jumps.

    Attributes:
        bench: Everything around.
        seen: What the store holds of the latest run; None if nothing is recorded.
        lines: What was logged, as level and text.
    """

    def __init__(self, *, recorded: bool, **bench: Any) -> None:
        self.bench = Bench(**bench)
        self.recorded = recorded
        self.seen: Seen | None = None
        self.lines: list[tuple[str, str]] = []

    def pursue(
        self,
        goal: object,
        during: Callable[[Callable[[str], None]], Awaitable[None]] | None = None,
        definition: GoalDefinition | None = None,
        run_options: RunOptions | None = None,
        resume: str = "",
        **options: Any,
    ) -> GoalOutcome:
        """Pursue a goal to its end.

        Args:
            goal: Which.
            during: Runs beside it, given what stops the loop.
            definition: What is recorded of it.
            run_options: Choices for the run.
            resume: Id of a run to continue.
            options: Fields of `GoalOptions`.
        """
        definition = definition or GoalDefinition(name="g", options=GoalOptions(**options))

        async def scenario() -> GoalOutcome:
            course = Course("")
            drive = self._recorded if self.recorded else self._in_memory
            driving = asyncio.ensure_future(
                drive(goal, definition, run_options or RunOptions(), course, resume)
            )
            if during is not None:
                await during(course.stop)
            return await driving

        return self.bench.run(scenario())

    async def _in_memory(
        self, goal: object, definition: GoalDefinition, run_options: RunOptions, course: Course, resume: str
    ) -> GoalOutcome:
        if resume:
            raise UsageError("nothing is recorded")
        performer = FunctionPerformer(goal, _threads())
        return await pursue_unrecorded(definition.options, performer, self.bench.clock, course, Report(self))

    async def _recorded(
        self, goal: object, definition: GoalDefinition, run_options: RunOptions, course: Course, resume: str
    ) -> GoalOutcome:
        engine = self.engine()
        course.steer(engine)
        make = maker(goal)
        if resume:
            outcome = await engine.resume(resume, definition, make, run_options)
        else:
            outcome = await engine.execute(definition, make, run_options)
        self.seen = await self.bench.see(outcome.run_id)
        assert self.seen.state is outcome.state
        assert self.bench.workspaces.discarded[-1] == outcome.run_id
        return outcome

    def engine(self, **changed: Any) -> GoalEngine:
        """Return an engine on the bench that tells its progress and its log."""
        return GoalEngine(
            self.bench.doors(**changed),
            listener=self.bench.events.append,
            report=Report(self),  # type: ignore[arg-type]
        )

    # The logger

    def debug(self, text: str, *values: object) -> None:
        self.lines.append(("debug", text % values))

    def info(self, text: str, *values: object) -> None:
        self.lines.append(("info", text % values))

    def warning(self, text: str, *values: object) -> None:
        self.lines.append(("warning", text % values))

    def error(self, text: str, *values: object) -> None:
        self.lines.append(("error", text % values))


class _Threads(dict[int, InLine]):
    def __missing__(self, worker: int) -> InLine:
        return self.setdefault(worker, InLine())


def _threads() -> _Threads:
    return _Threads()


def maker(goal: object) -> Any:
    """Return what makes the performer of a goal."""
    return lambda session, definition, options: FunctionPerformer(
        goal, _threads(), session, definition.max_log_bytes
    )
