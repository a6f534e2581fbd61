"""An engine on fakes: scripted commands, a clock that jumps, a store in memory whose commits can be held back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from runwright.core.errors import Failure
from runwright.core.events import AnyEvent, AttemptsReserved, ProgressEvent, TaskEnded, TaskStarted
from runwright.core.options import RunOptions, Strategy
from runwright.core.run import Attempt, Lease, Owner, Run, TaskRow
from runwright.core.states import RunState, TaskState
from runwright.core.task import Result, Task
from runwright.core.workflow import TaskDefinition, TaskType, Workflow
from runwright.engines.prepare import Doors
from runwright.engines.workflow import WorkflowEngine
from runwright.executors.router import Router
from runwright.executors.shell import Shell
from runwright.ports.executor import Executor, NoSessions, Session
from runwright.ports.system import Command, Exit
from runwright.testing import FakeClock, FakeProcesses, FakeWorkspaces, MemoryLogs, MemoryStore, Script
from runwright.testing.processes import command_text

_Value = TypeVar("_Value")

OWNER = Owner(host="here", boot_id="1", pid=1, process_started="1")
OTHER = Owner(host="there", boot_id="2", pid=2, process_started="2")

SUCCEEDED, FAILED, SKIPPED, CANCELLED = (
    TaskState.SUCCEEDED,
    TaskState.FAILED,
    TaskState.SKIPPED,
    TaskState.CANCELLED,
)
STRATEGIES = [(Strategy.SEQUENTIAL, 1), (Strategy.LEVELS, 3), (Strategy.WORK_STEALING, 3)]


def fails(code: int = 1, *, stderr: str = "", seconds: float = 0.0) -> Script:
    """Return a command that fails."""
    output = (("stderr", stderr.encode()),) if stderr else ()
    return Script(output=output, exit=Exit(code=code), seconds=seconds)  # type: ignore[arg-type]


def prints(text: str, *, seconds: float = 0.0) -> Script:
    """Return a command that prints."""
    return Script(output=(("stdout", text.encode()),), seconds=seconds)


def takes(seconds: float) -> Script:
    """Return a command that takes its time."""
    return Script(seconds=seconds)


def flow(tasks: Mapping[str, Mapping[str, Any] | str] | Iterable[str], **fields: Any) -> Workflow:
    """Return a workflow: fields by key, what a task needs as a text of keys, or keys alone.

    A task's command is its key, unless it has an executor, `cmd` or `argv`.
    """
    table = tasks if isinstance(tasks, Mapping) else dict.fromkeys(tasks, "")
    made = {key: _task(key, spec) for key, spec in table.items()}
    return Workflow(name=fields.pop("name", "w"), tasks=made, **fields)


def _task(key: str, spec: Mapping[str, Any] | str) -> TaskDefinition:
    given = {"needs": spec} if isinstance(spec, str) else dict(spec)
    needs = tuple(given.pop("needs", "").split())
    if not {"cmd", "argv", "executor"} & given.keys():
        given["cmd"] = key
    return TaskDefinition(key=key, name=key, depends_on=needs, **given)


def handler(**fields: Any) -> dict[str, Any]:
    """Return the fields of a handler."""
    return {"type": TaskType.FORENSIC, **fields}


class Functions(NoSessions):
    """An executor whose tasks call functions of the test, by the rest of the route."""

    def __init__(self) -> None:
        self.by_name: dict[str, Callable[[Session, Task], Awaitable[Result]]] = {}

    async def execute(self, session: Session, task: Task) -> Result:
        return await self.by_name[task.executor](session, task)


class HeldStore(MemoryStore):
    """A store in memory whose appends become durable only when the test says so.

    Attributes:
        holding: While true, appends wait.
        held: What waits, in order.
    """

    def __init__(self, **doors: Any) -> None:
        super().__init__(**doors)
        self.holding = False
        self.held: list[tuple[Sequence[AnyEvent], asyncio.Future[None], asyncio.Future[None]]] = []
        self.renewed = 0
        self.released: list[Lease] = []

    def append(
        self, lease: Lease, events: Sequence[AnyEvent], *, lazy: bool = False
    ) -> "asyncio.Future[None]":
        done = super().append(lease, events, lazy=lazy)
        if not self.holding:
            return done
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held.append((events, gate, done))
        return gate

    def let_go(self) -> None:
        """Let everything that waits become durable."""
        held, self.held = self.held, []
        for _, gate, done in held:
            done.cancel()
            if not gate.done():
                gate.set_result(None)

    def refuse(self, error: Exception) -> None:
        """Let everything that waits fail."""
        held, self.held = self.held, []
        for _, gate, done in held:
            done.cancel()
            if not gate.done():
                gate.set_exception(error)

    async def renew_lease(self, lease: Lease, lease_seconds: float, now: Any) -> Lease:
        self.renewed += 1
        return await super().renew_lease(lease, lease_seconds, now)

    async def release_lease(self, lease: Lease) -> None:
        self.released.append(lease)
        await super().release_lease(lease)


class Bench:
    """Everything around an engine, and what can be seen of its runs.

    Args:
        scripts: What commands do, by text: a script, or a list with one for each time the command is started, the last
            one for all that follow.
        root: Where workspaces are really made; None means that there are none.
        environ: The engine's environment.
        draw: What chance says.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script | list[Script]] | None = None,
        *,
        root: Path | None = None,
        environ: Mapping[str, str] | None = None,
        draw: float = 0.5,
        on_command: Callable[[Command], None] = lambda _: None,
    ) -> None:
        self.scripts = dict(scripts or {})
        self.on_command = on_command
        self.clock = FakeClock()
        self.alive: dict[str, bool] = {}
        self.store = HeldStore(now=self.clock.now, is_alive=lambda owner: self.alive.get(owner.host))
        self.logs = MemoryLogs()
        self.processes = FakeProcesses(self._script)
        self.workspaces = FakeWorkspaces(root)
        self.functions = Functions()
        self.events: list[ProgressEvent] = []
        self._numbers = count(1)
        self._played: dict[str, int] = {}
        self._environ = dict(environ or {})
        self._draw = draw

    def _script(self, command: Command) -> Script:
        self.on_command(command)
        text = command_text(command)
        found = self.scripts.get(text, Script())
        if isinstance(found, Script):
            return found
        number = self._played[text] = self._played.get(text, -1) + 1
        return found[min(number, len(found) - 1)]

    def doors(self, **changed: Any) -> Doors:
        """Return the doors of an engine."""
        router: Executor = Router({"shell": Shell(self.processes), "call": self.functions})
        found: dict[str, Any] = {
            "store": self.store,
            "logs": self.logs,
            "workspaces": self.workspaces,
            "clock": self.clock,
            "executor": router,
            "with_env": frozenset({"shell"}),
            "owner": OWNER,
            "new_id": lambda: f"{next(self._numbers):08x}-0000-7000-8000-000000000000",
            "draw": lambda: self._draw,
            "environ": self._environ,
            "directory": "/project",
            "skip_grace": self.processes.skip_grace,
        }
        return Doors(**{**found, **changed})

    def engine(
        self, strategy: Strategy | None = None, workers: int | None = None, **changed: Any
    ) -> WorkflowEngine:
        """Return an engine on this bench that tells its progress to `events`."""
        return WorkflowEngine(
            self.doors(**changed), strategy=strategy, workers=workers, listener=self.events.append
        )

    def run(self, main: Coroutine[Any, Any, _Value]) -> _Value:
        """Run a coroutine on the bench's clock."""
        return self.clock.run(main)

    def execute(
        self,
        workflow: Workflow,
        strategy: Strategy | None = None,
        workers: int | None = None,
        **options: Any,
    ) -> "Seen":
        """Execute a workflow and return what can be seen of the run."""

        async def scenario() -> Seen:
            run = await self.engine(strategy, workers).execute(workflow, RunOptions(**options))
            return await self.see(run)

        return self.run(scenario())

    def resume(self, run: "Seen", workflow: Workflow | None = None, **options: Any) -> "Seen":
        """Resume a run and return what can be seen of it."""

        async def scenario() -> Seen:
            return await self.see(await self.engine().resume(run.id, RunOptions(**options), workflow))

        return self.run(scenario())

    async def see(self, run: Run | str) -> "Seen":
        """Return what the store holds of a run."""
        run_id = run if isinstance(run, str) else run.id
        store = self.store
        rows = await store.tasks(run_id)
        events = [stored.event for stored in await store.events(run_id)]
        values = {one.name: one.value for one in await store.variables(run_id)}
        integrity = await store.verify(run_id)
        assert integrity.ok, integrity.problem
        return Seen(await store.find_run(run_id), rows, await store.attempts(run_id), events, values)

    def commands(self) -> list[str]:
        """Return the texts of all commands, in the order of their starts."""
        return [command_text(command) for command in self.processes.ran]

    def command(self, text: str) -> Command:
        """Return the last command with this text."""
        return next(c for c in reversed(self.processes.ran) if command_text(c) == text)

    def stopped(self) -> list[str]:
        """Return the texts of the commands that were stopped."""
        return [command_text(command) for command in self.processes.cancelled]


class Seen:
    """What the store holds of a run."""

    def __init__(
        self,
        run: Run,
        rows: list[TaskRow],
        attempts: list[Attempt],
        events: list[AnyEvent],
        variables: dict[str, str],
    ) -> None:
        self.run = run
        self.id = run.id
        self.state: RunState = run.state
        self.reason = run.reason
        self.rows = {row.id: row for row in rows}
        self.attempts = attempts
        self.events = events
        self.variables = variables

    def states(self, *keys: str) -> dict[str, TaskState]:
        """Return the states of all ordinary tasks, or of these."""
        return {i: row.state for i, row in self.rows.items() if (i in keys if keys else row.level >= 0)}

    def failure(self, task_id: str) -> Failure:
        """Return how a task failed."""
        found = self.rows[task_id].failure
        assert found is not None
        return found

    def numbers(self, task_id: str) -> list[tuple[int, TaskState]]:
        """Return numbers and states of a task's attempts."""
        return [(one.number, one.state) for one in self.attempts if one.task_id == task_id]

    def position(self, kind: type, task_id: str) -> int:
        """Return where the first event of a kind about a task stands in the log."""
        for number, event in enumerate(self.events):
            if type(event) is kind and _is_about(event, task_id):
                return number
        raise AssertionError(f"no {kind.__name__} of {task_id}")


def _is_about(event: AnyEvent, task_id: str) -> bool:
    if isinstance(event, AttemptsReserved):
        return task_id in event.attempts
    return isinstance(event, TaskStarted | TaskEnded) and event.task_id == task_id


async def turns(number: int = 20) -> None:
    """Let the loop turn a few times, without any time passing."""
    for _ in range(number):
        await asyncio.sleep(0)
