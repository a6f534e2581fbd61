"""Goals that are made of commands: run by the `shell` executor, in any language.

The goal's own commands print the actions still needed, one JSON object a line. The commands of an action are run as they
were printed: nothing is filled in. An action's ``perform`` may ask for child actions in the same form, in the file that
``$RUNWRIGHT_ACTIONS`` names. Exit status 100 of any command is a `FatalError`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

from msgspec import Struct, structs

from runwright.core.body import command_filler, directory_filled, guarded
from runwright.core.errors import DefinitionError, Failure, FatalError, TaskFailed
from runwright.core.goal import FATAL_STATUS, ActionDefinition, ActionHook, GoalDefinition
from runwright.core.goal_document import decode_actions
from runwright.core.goalplace import Place
from runwright.core.options import RunOptions
from runwright.core.runvars import RunVariables
from runwright.core.task import Task, TaskId
from runwright.core.variables import fill
from runwright.engines.goal_driver import Named
from runwright.engines.goal_recorder import ATTEMPT
from runwright.engines.limits import Limit, limit_of, within
from runwright.engines.session import AttemptLog, RunSession
from runwright.executors.output_file import discard, take_text
from runwright.ports.executor import Executor, LogWriter, Session, Stream

ACTIONS = "RUNWRIGHT_ACTIONS"
ACTIONS_FOLDER = TaskId(".actions")
LONGEST_PLAN = 1 << 20
"""Most bytes that the commands of a plan may print on standard output."""

_numbers = count(1)

T = TypeVar("T")


class CommandPerformer:
    """Runs the commands of a goal and of its actions, one after another; the first that fails ends the hook.

    Args:
        goal: Whose commands.
        executor: Runs them, by the name ``shell``.
        session: Open on it.
        options: Choices for this run: variables, and whether the environment starts empty.
    """

    def __init__(
        self, goal: GoalDefinition, executor: Executor, session: RunSession, options: RunOptions
    ) -> None:
        self._goal = goal
        self._executor = executor
        self._session = session
        self._clean_env = options.clean_env
        self._variables = RunVariables(goal.variables, options.variables)
        self._limits: dict[str, Limit] = {}

    async def plan(self, place: Place) -> Sequence[Named]:
        """Return the actions that the goal's commands print, in order.

        Raises:
            TaskFailed: If a command did not succeed; with code ``E_OUTPUT`` if one printed something else or too much.
            FatalError: If a command ended with the status that says so.
        """
        self._session.begin(place.id, ATTEMPT, self._goal.max_log_bytes)
        printed = _Printed()
        session = _Listening(self._session, printed.take)
        lookup = self._variables.seen_by("", {})
        for text in self._goal.plan:
            command = guarded(lambda text=text: command_filler(text)(lookup))  # type: ignore[misc]
            await self._run(session, place, "plan", command, {})
        return _actions(printed.text(), "standard output")

    async def call(self, place: Place, hook: ActionHook) -> Sequence[Named]:
        """Run the commands of a hook; `perform` returns the children that they asked for.

        Raises:
            TaskFailed: If a command did not succeed, or the action took too long.
            FatalError: If a command ended with the status that says so.
        """
        action: ActionDefinition = place.action
        commands: tuple[str, ...] = getattr(action, hook)
        if not commands:
            return ()
        self._session.begin(place.id, ATTEMPT, self._goal.max_log_bytes)
        if hook is not ActionHook.PERFORM:
            await self._within(place, self._run_all(place, hook, commands, {}))
            return ()
        file = self._session.output_dir(ACTIONS_FOLDER) / str(next(_numbers))
        try:
            await self._within(place, self._run_all(place, hook, commands, {ACTIONS: str(file)}))
            return _actions(take_text(file, ACTIONS), f"${ACTIONS}")
        finally:
            discard(file)

    def close_log(self, place: Place) -> AttemptLog | None:
        """Close the log of an action or of a round's planning, and return it if anything was logged.

        Raises:
            StoreError: If the output can't be kept.
        """
        self._limits.pop(place.id, None)
        return self._session.end(place.id)

    async def _run_all(
        self, place: Place, hook: ActionHook, commands: Sequence[str], env: Mapping[str, str]
    ) -> None:
        for command in commands:
            await self._run(self._session, place, hook, command, {**place.action.env, **env})

    async def _run(
        self, session: Session, place: Place, what: str, command: str, env: Mapping[str, str]
    ) -> None:
        args = guarded(lambda: self._args(command))
        args["env"] |= {**env, **self._told(place)}
        args["unset"] = [] if ACTIONS in env else [ACTIONS]  # that of an outer goal is not ours
        try:
            await self._executor.execute(session, Task(id=TaskId(place.id), executor="shell", args=args))
        except TaskFailed as error:
            failure = error.failure
            if failure.exit_code == FATAL_STATUS:
                raise FatalError(f"{what}: exit status {FATAL_STATUS}: going on is useless") from error
            raise TaskFailed(structs.replace(failure, message=f"{what}: {failure.message}")) from None

    def _args(self, command: str) -> dict[str, Any]:
        goal, lookup = self._goal, self._variables.seen_by("", {})
        args: dict[str, Any] = {
            "cmd": command,
            "env": {
                **self._variables.exported({}),
                **{name: fill(text, lookup) for name, text in goal.env.items()},
            },
            "kill_grace": goal.kill_grace,
        }
        if self._clean_env:
            args["clean_env"] = True
        if goal.working_dir:
            args["working_dir"] = directory_filled(goal.working_dir, lookup)
        return args

    def _told(self, place: Place) -> dict[str, str]:
        return {
            "RUNWRIGHT_RUN_ID": self._session.id,
            "RUNWRIGHT_GOAL": self._goal.name,
            "RUNWRIGHT_ROUND": str(place.round),
            "RUNWRIGHT_TASK_ID": place.id,
            "RUNWRIGHT_ATTEMPT": str(ATTEMPT),
        }

    async def _within(self, place: Place, work: Awaitable[T]) -> T:
        """Do some work of an action within what is left of its time, which begins with its first hook."""
        seconds = place.action.timeout
        if not seconds:
            return await work
        limit = self._limits.get(place.id)
        if limit is None:
            limit = self._limits[place.id] = limit_of(seconds)
        return await within(work, limit)


class _Printed:
    """What commands print on standard output, whole up to a limit."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._size = 0

    def take(self, stream: Stream, data: bytes) -> None:
        """Keep what comes, but no more than the limit."""
        if stream == "stdout":
            self._data += data[: LONGEST_PLAN - len(self._data)]
            self._size += len(data)

    def text(self) -> str:
        """Return all of it.

        Raises:
            TaskFailed: With code ``E_OUTPUT`` if there is too much, or it is not UTF-8.
        """
        if self._size > LONGEST_PLAN:
            raise _refused(f"standard output: it is longer than {LONGEST_PLAN} bytes")
        try:
            return self._data.decode()
        except UnicodeDecodeError as error:
            line = self._data.count(b"\n", 0, error.start) + 1
            raise _refused(f"standard output: line {line}: it is not UTF-8") from None


class _Listening:
    """A session in which somebody listens to what is logged.

    Args:
        session: To which all else goes.
        listen: Given each piece of output, before it is redacted.
    """

    def __init__(self, session: RunSession, listen: Callable[[Stream, bytes], None]) -> None:
        self._session = session
        self._listen = listen
        self.id = session.id
        self.source = session.source
        self.redactor = session.redactor
        self.captures = session.captures
        self.output_dir = session.output_dir
        self.redact = session.redact
        self.tell = session.tell

    def log(self, task_id: TaskId) -> LogWriter:
        """Return where this task's output goes."""
        return _Tee(self._session.log(task_id), self._listen)


class _Tee(Struct, frozen=True):
    log: LogWriter
    listen: Callable[[Stream, bytes], None]

    def write(self, stream: Stream, data: bytes) -> None:
        self.listen(stream, data)
        self.log.write(stream, data)


def _actions(text: str, source: str) -> Sequence[Named]:
    try:
        return [(action.name, action) for action in decode_actions(text)]
    except DefinitionError as error:
        first, *others = error.problems
        more = f"; {len(others)} more faults" if others else ""
        raise _refused(f"{source}: {first.message}; {first.suggestion}{more}") from error


def _refused(message: str) -> TaskFailed:
    return TaskFailed(Failure(code="E_OUTPUT", message=message))
