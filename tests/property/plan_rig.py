"""A real engine that performs random plans, with all it does on a tape, and can die or be stopped anywhere."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from unittest import mock

from plan_cases import Case, ElementSpec, Entry, HookSpec, PlanSpec, Trouble

from runwright.core.events import AnyEvent, RunEnded, StateSaved, TaskEnded, TaskRetrying, TaskStarted
from runwright.core.options import RunOptions
from runwright.core.plan import Hook, PauseDefinition, PlanDefinition, PlanOutcome, StepDefinition
from runwright.core.planlog import CLEANUP_SUFFIX
from runwright.core.planstate import State
from runwright.core.run import Lease, Owner
from runwright.core.states import TaskRole
from runwright.engines.leasekeeper import LEASE_SECONDS
from runwright.engines.plan import PlanEngine
from runwright.engines.plan_driver import PlanDriver
from runwright.engines.plan_functions import FunctionHooks
from runwright.engines.prepare import Doors
from runwright.engines.session import RunSession
from runwright.executors.router import Router
from runwright.testing import FakeClock, FakeWorkspaces, MemoryLogs, MemoryStore

T = TypeVar("T")
OWNER = Owner(host="here", boot_id="1", pid=1, process_started="1")


class Killed(BaseException):
    """The engine dies."""


class Boom(Exception):
    """A hook fails."""


class InlineThreads:
    """Calls plain functions where it stands: a thread that takes no time."""

    async def call(self, function: Callable[[], T]) -> T:
        return function()

    def close(self) -> None:
        """Do nothing."""


class RiggedStore(MemoryStore):
    """A store that tells what it records, and around whose writes the engine can die."""

    def __init__(self, rig: "Rig") -> None:
        super().__init__(now=rig.clock.now)
        self._rig = rig

    def append(
        self, lease: Lease, events: Sequence[AnyEvent], *, lazy: bool = False
    ) -> "asyncio.Future[None]":
        self._rig.moment()
        future = super().append(lease, events, lazy=lazy)
        for event in events:
            self._rig.put(*_entry(event))
        self._rig.moment()
        return future

    async def create_run(self, *args: Any) -> Lease:
        lease = await super().create_run(*args)
        self._rig.put("start", "", None)
        self._rig.moment()
        return lease

    async def resume_run(self, *args: Any) -> None:
        self._rig.moment()
        await super().resume_run(*args)
        self._rig.put("start", "", self._rig.trouble.go_on)
        self._rig.moment()

    async def release_lease(self, lease: Lease) -> None:
        if not self._rig.is_dead:
            await super().release_lease(lease)


def _entry(event: AnyEvent) -> tuple[str, str, Any]:
    if isinstance(event, StateSaved):
        return "saved", event.task_id, int(event.values["n"])
    if isinstance(event, TaskRetrying):
        return "again", event.task_id, event.attempt
    if isinstance(event, RunEnded):
        return "finish", "", event.state.value
    assert isinstance(event, TaskStarted | TaskEnded)
    is_cleanup = event.role is TaskRole.CLEANUP
    name = event.task_id.removesuffix(CLEANUP_SUFFIX)
    if isinstance(event, TaskStarted):
        return "cleanup" if is_cleanup else "begin", name, event.attempt
    return (
        ("cleaned", name, event.state.value)
        if is_cleanup
        else ("end", name, (event.attempt, event.state.value))
    )


class Rig:
    """Everything around one case.

    Attributes:
        tape: What has happened in the current execution.
        calls: How often each hook was called.
        is_dead: The engine has died.
    """

    def __init__(self, case: Case, clock: FakeClock) -> None:
        self.plan = case.plan
        self.clock = clock
        self.definition = _definition(case.plan)
        self.store = RiggedStore(self)
        self.calls: Counter[str] = Counter()
        self.state = State()
        self.run_id = "00000001-0000-7000-8000-000000000000"
        self.prepare(Trouble())

    def prepare(self, trouble: Trouble) -> None:
        """Begin a new tape."""
        self.trouble = trouble
        self.tape: list[Entry] = []
        self.moments = 0
        self.is_dead = False
        self.task: asyncio.Task[PlanOutcome] | None = None
        self.stopper: asyncio.Task[None] | None = None
        self.engine = PlanEngine(self._doors())
        self.hooks: FunctionHooks | None = None

    async def perform(self, trouble: Trouble, *, is_first: bool) -> PlanOutcome | None:
        """Execute or resume the plan; return what came of it unless it died or its caller was cancelled.

        Raises:
            UsageError: If there is nothing to resume.
        """
        self.prepare(trouble)
        self.task = asyncio.ensure_future(self._drive(is_first))
        with listening(self):
            await asyncio.wait([self.task])
        if self.stopper is not None:
            self.stopper.cancel()
        if self.is_dead:
            self.put("crash")
            with suppress(Killed, asyncio.CancelledError):
                self.task.exception()
            await asyncio.sleep(LEASE_SECONDS + 1)
            return None
        return None if self.task.cancelled() else self.task.result()

    def _drive(self, is_first: bool) -> Coroutine[Any, Any, PlanOutcome]:
        self.state = State()
        if is_first:
            return self.engine.execute(self.definition, self._make_hooks, self.state, RunOptions())
        return self.engine.resume(
            self.run_id, None, self._make_hooks, self.state, RunOptions(), go_on=self.trouble.go_on
        )

    def put(self, kind: str, name: str = "", detail: Any = "") -> None:
        """Write on the tape, and stop the engine if it is time."""
        self.tape.append(Entry(kind, name, detail, self.clock.monotonic()))
        if len(self.tape) == self.trouble.stop:
            self.stopper = asyncio.ensure_future(self._stop_later())

    def moment(self) -> None:
        """Die if it is time; who is dead stays dead."""
        self.moments += 1
        self.is_dead = self.is_dead or self.moments == self.trouble.crash
        if self.is_dead:
            raise Killed

    async def _stop_later(self) -> None:
        for _ in range(self.trouble.turns):
            await asyncio.sleep(0)
        assert self.task is not None
        if self.trouble.how == "cancel":
            self.task.cancel()
        elif self.trouble.how == "stop":
            self.engine.stop("stopped")
        else:
            await self.store.request_cancel(self.run_id, self.clock.now(), "asked")

    def _doors(self) -> Doors:
        return Doors(
            store=self.store,
            logs=MemoryLogs(),
            workspaces=FakeWorkspaces(),
            clock=self.clock,
            executor=Router(),
            with_env=frozenset(),
            owner=OWNER,
            new_id=lambda: self.run_id,
            draw=lambda: 0.5,
            environ={},
            directory="/project",
            skip_grace=lambda: None,
        )

    def _make_hooks(self, session: RunSession, state: State) -> FunctionHooks:
        functions = {
            (element.name, Hook(hook)): self._function(f"{element.name}.{hook}", spec)
            for element in self.plan.elements
            for hook, spec in element.hooks.items()
        }
        return FunctionHooks(functions, state, InlineThreads(), session)

    def _function(self, name: str, spec: HookSpec) -> Callable[[State], Any]:
        def begin(state: State) -> int:
            self.calls[name] += 1
            if spec.writes:
                state["n"] = state.get("n", 0) + 1
            self.put("call", name, state.get("n", 0))
            self.moment()
            return self.calls[name]

        def end(number: int) -> None:
            self.put("done", name, "fail" if number in spec.bad else "ok")
            if number in spec.bad:
                raise Boom(name)

        def plain(state: State) -> None:
            end(begin(state))

        async def coroutine(state: State) -> None:
            number = begin(state)
            try:
                if spec.seconds:
                    await asyncio.sleep(spec.seconds)
            except asyncio.CancelledError:
                if not spec.stubborn:
                    self.put("done", name, "cut")
                    raise
            end(number)

        return plain if spec.plain else coroutine


@contextmanager
def listening(rig: Rig) -> Any:
    """Put every stop on the tape at the moment at which it reaches the driver."""
    original = PlanDriver.stop

    def stop(driver: PlanDriver, reason: str) -> None:
        rig.put("stop")
        original(driver, reason)

    with mock.patch.object(PlanDriver, "stop", stop):
        yield


def _definition(plan: PlanSpec) -> PlanDefinition:
    return PlanDefinition(
        name="plan",
        elements=tuple(map(_element, plan.elements)),
        continue_on_error=plan.goes_on,
        limit_duration=plan.limit,
        cleanup_timeout=plan.cleanup_limit,
    )


def _element(spec: ElementSpec) -> StepDefinition | PauseDefinition:
    if not spec.hooks:
        return PauseDefinition(name=spec.name, seconds=float(spec.seconds))
    return StepDefinition(
        name=spec.name,
        hooks={Hook(hook): () for hook in spec.hooks},
        retries=spec.retries,
        retry_delay=float(spec.delay),
        timeout=spec.timeout,
    )
