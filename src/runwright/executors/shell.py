"""Commands as tasks: a command line for the shell, or a program with its arguments."""

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import msgspec
from msgspec import Struct, field

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.calls import Calls
from runwright.executors.command_output import CommandOutput, to_failure
from runwright.executors.output_file import discard, take_variables
from runwright.ports.executor import NoSessions, Session
from runwright.ports.system import Command, Processes

OUTPUT_FOLDER = TaskId(".outputs")
_numbers = count(1)


class ShellArgs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of the ``shell`` executor: `cmd` or `argv`, and how it runs.

    Attributes:
        cmd: Command line for ``/bin/sh -c``.
        argv: Program, looked up on PATH, and its arguments; no shell takes part.
        env: Variables on top of the inherited environment, or all of them if `clean_env`.
        unset: Names taken out of the inherited environment.
        clean_env: Start from an empty environment.
        working_dir: Absolute, or relative to the session's source tree.
        kill_grace: Seconds between SIGTERM and SIGKILL when it is stopped.
    """

    cmd: str = ""
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    clean_env: bool = False
    working_dir: str = ""
    kill_grace: float = 10.0

    def __post_init__(self) -> None:
        if bool(self.cmd) == bool(self.argv):
            raise ValueError("exactly one of `cmd` and `argv` is needed, and it must not be empty")


class Shell(NoSessions):
    """Runs commands.

    The last non-empty line of standard output is the value, and what the command writes to the file named by
    ``$RUNWRIGHT_OUTPUT`` are the variables: ``NAME=value`` lines or one JSON object.

    Args:
        processes: Starts them.
    """

    Args = ShellArgs

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._folders: dict[SessionId, Path] = {}
        self._calls = Calls()

    async def execute(self, session: Session, task: Task) -> Result:
        """Run the command to its end.

        Raises:
            TaskFailed: With code ``E_EXIT`` or ``E_SIGNAL`` if it did not succeed; ``E_SPAWN`` if it could not be
                started; ``E_OUTPUT`` if it wrote nonsense to ``$RUNWRIGHT_OUTPUT``; ``E_ARGS`` if the arguments are
                wrong; ``E_SESSION`` if its session was closed meanwhile.
        """
        with self._calls.of(session.id):
            return await self._execute(session, task)

    async def _execute(self, session: Session, task: Task) -> Result:
        args = _to_args(task)
        file = self._output_folder(session) / f"{os.getpid()}-{next(_numbers)}"
        output = CommandOutput(session.log(task.id))
        try:
            exit_ = await self._processes.run(_to_command(session, args, file), output.take)
            if exit_.code:
                raise TaskFailed(to_failure(exit_, output, session))
        except BaseException:
            discard(file)
            raise
        return Result(value=output.last_line(), variables=take_variables(file))

    async def close_session(self, session_id: SessionId) -> None:
        """End what still runs, and forget where the session's commands left their values."""
        await self._calls.end(session_id)
        self._folders.pop(session_id, None)

    def _output_folder(self, session: Session) -> Path:
        """Return one directory for all commands of a session: a file system call less for each of them."""
        folder = self._folders.get(session.id)
        if folder is None:
            folder = self._folders[session.id] = session.output_dir(OUTPUT_FOLDER)
        return folder


def _to_args(task: Task) -> ShellArgs:
    try:
        return msgspec.convert(task.args, ShellArgs)
    except msgspec.ValidationError as error:
        raise TaskFailed(Failure(code="E_ARGS", message=f"executor shell: {error}")) from None


def _to_command(session: Session, args: ShellArgs, output_file: Path) -> Command:
    source = str(session.source)
    return Command(
        argv=args.argv or ("/bin/sh", "-c", args.cmd),
        cwd=os.path.join(source, args.working_dir) if args.working_dir else source,  # noqa: PTH118 - the fast way
        env={**args.env, "RUNWRIGHT_OUTPUT": str(output_file)},
        unset=args.unset,
        clean_env=args.clean_env,
        kill_grace=args.kill_grace,
    )
