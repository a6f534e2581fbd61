"""Steps that tell what is done with them, and plans of them on fakes."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from engine_bench import Bench, HeldStore, Seen

from runwright import Plan, PlanOutcome, State, Step
from runwright.core.errors import UsageError
from runwright.core.events import AnyEvent
from runwright.core.options import RunOptions
from runwright.core.plan import Element, Hook, PlanDefinition
from runwright.core.run import Lease
from runwright.engines.leasekeeper import LEASE_SECONDS
from runwright.engines.plan import PlanEngine
from runwright.engines.plan_functions import FunctionHooks
from runwright.engines.plan_prepare import Resumption
from runwright.engines.session import RunSession
from runwright.engines.steps import Elements
from runwright.testing import FakeClock

ALL = ("pre_exec", "exec", "post_exec", "cleanup")
ALWAYS = frozenset(range(1, 100))


class Boom(Exception):
    """What a hook raises that is told to fail."""


class Story:
    """Makes steps, and remembers the calls of their hooks as ``step.hook``.

    Attributes:
        calls: In order.
        cut: The calls that were cancelled.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.cut: list[str] = []
        self._counts: Counter[str] = Counter()

    def step(
        self,
        name: str,
        hooks: Collection[str] = ALL,
        *,
        fails: Mapping[str, Collection[int]] | None = None,
        takes: Mapping[str, float] | None = None,
        **fields: Any,
    ) -> Step:
        """Return a step with these hooks, which fail in the calls with these numbers and take so many seconds."""
        made = {
            hook: self.hook(f"{name}.{hook}", (fails or {}).get(hook, ()), (takes or {}).get(hook, 0.0))
            for hook in hooks
        }
        return Step(name, **made, **fields)

    def hook(self, call: str, fails: Collection[int] = (), takes: float = 0.0) -> Any:
        """Return a coroutine function."""

        async def function(_state: State) -> None:
            self.calls.append(call)
            self._counts[call] += 1
            try:
                await asyncio.sleep(takes)
            except asyncio.CancelledError:
                self.cut.append(call)
                raise
            if self._counts[call] in fails:
                raise Boom(call)

        return function

    def of(self, hook: str) -> list[str]:
        """Return the names of the steps of which a hook was called, in order."""
        return [call.removesuffix(f".{hook}") for call in self.calls if call.endswith(f".{hook}")]


def tidy(story: Story, call: str, takes: float) -> Any:
    """Return a hook that tidies up, which takes a second, when it is cancelled."""

    async def function(_state: State) -> None:
        story.calls.append(call)
        try:
            await asyncio.sleep(takes)
        finally:
            await asyncio.sleep(1)
            story.cut.append(call)

    return function


def executed(plan: Plan, clock: FakeClock | None = None) -> PlanOutcome:
    """Execute a plan whose hooks are coroutine functions, on a clock that jumps."""
    return (clock or FakeClock()).run(plan.execute())


def work(*names: str) -> list[str]:
    """Return the calls of a step's three hooks, for each of the steps."""
    return [f"{name}.{hook}" for name in names for hook in ALL[:3]]


class InlineThreads:
    """Calls plain functions where it stands."""

    async def call(self, function: Any) -> Any:
        return function()

    def close(self) -> None:
        """Do nothing."""


class Died(BaseException):
    """The engine dies."""


class MortalStore(HeldStore):
    """A store to which the dead don't give their leases back."""

    is_dead = False
    dies_before: type | None = None
    number = 0

    def append(
        self, lease: Lease, events: Sequence[AnyEvent], *, lazy: bool = False
    ) -> "asyncio.Future[None]":
        if self.dies_before is not None and isinstance(events[0], self.dies_before):
            self.number -= 1
            if not self.number:
                raise Died
        return super().append(lease, events, lazy=lazy)

    async def release_lease(self, lease: Lease) -> None:
        if not self.is_dead:
            await super().release_lease(lease)


class PlanBench(Bench):
    """A bench whose plans are recorded.

    Args:
        steps: Steps, or numbers of seconds for pauses.
        fields: Of the plan.
    """

    def __init__(self, *steps: Any, environ: Mapping[str, str] | None = None, **fields: Any) -> None:
        super().__init__(environ=environ)
        self.store: MortalStore = MortalStore(now=self.clock.now)
        self.state = State()
        self.fields = fields
        self.change(*steps)

    def change(self, *steps: Any) -> None:
        """Let the plan consist of other steps from now on."""
        elements = Elements()
        for step in steps:
            if isinstance(step, int | float):
                elements.add_pause(step)
            else:
                elements.add_step(step)
        self.functions_of = elements.functions
        self.plan = PlanDefinition(
            name="p", elements=tuple[Element, ...](elements.definitions), **self.fields
        )

    def plan_engine(self, **changed: Any) -> PlanEngine:
        """Return an engine on this bench."""
        return PlanEngine(self.doors(**changed), listener=self.events.append)

    def hooks(self, session: RunSession, state: State) -> FunctionHooks:
        """Make the hooks of an execution."""
        return FunctionHooks(self.functions_of, state, InlineThreads(), session)

    def perform(self, **options: Any) -> "tuple[PlanOutcome, Seen]":
        """Execute the plan; return what came of it and what the store holds."""
        return self.run(self.performed(**options))

    async def performed(self, engine: PlanEngine | None = None, **options: Any) -> "tuple[PlanOutcome, Seen]":
        outcome = await (engine or self.plan_engine()).execute(
            self.plan, self.hooks, self.state, RunOptions(**options)
        )
        return outcome, await self.see(outcome.run_id)

    def take_up(
        self, run_id: str = "latest", *, go_on: bool = False, **options: Any
    ) -> "tuple[PlanOutcome, Seen]":
        """Resume a run of the plan as it is now."""

        async def scenario() -> tuple[PlanOutcome, Seen]:
            outcome = await self.plan_engine().resume(
                run_id, self.plan, self.hooks, self.state, RunOptions(**options), go_on=go_on
            )
            return outcome, await self.see(outcome.run_id)

        return self.run(scenario())

    def decide(self, *, go_on: bool) -> Resumption:
        """Return what a resume would do."""
        return self.run(self.plan_engine().plan_resume("latest", self.plan, RunOptions(), go_on=go_on))

    def refusal(self, *, go_on: bool = False) -> str:
        """Return why a resume is refused."""
        try:
            self.take_up(go_on=go_on)
        except UsageError as error:
            return error.with_advice
        raise AssertionError("it was not refused")

    def die_at(self, call: str) -> None:
        """Execute the plan until a hook is called, and die there."""
        name, _, hook = call.rpartition(".")
        alive = self.functions_of[name, Hook(hook)]

        async def dies(_state: State) -> None:
            raise Died

        self.functions_of[name, Hook(hook)] = dies
        self._die()
        self.functions_of[name, Hook(hook)] = alive

    def die_before(self, kind: type, number: int = 1) -> None:
        """Execute the plan, and die before an event of a kind is recorded."""
        self.store.dies_before, self.store.number = kind, number
        self._die()
        self.store.dies_before = None

    def _die(self) -> None:
        self.store.is_dead = True
        try:
            self.perform()
        except Died:
            self.clock.advance(LEASE_SECONDS + 1)
        else:
            raise AssertionError("it did not come to that")
        self.store.is_dead = False
