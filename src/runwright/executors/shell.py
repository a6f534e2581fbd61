"""Commands as tasks: a command line for the shell, or a program with its arguments."""

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from signal import Signals

import msgspec
from msgspec import Struct, field

from runwright.core.errors import Failure, TaskFailed
from runwright.core.pattern import pattern
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.output_file import discard, take_variables
from runwright.ports.executor import LogWriter, NoSessions, Session, Stream
from runwright.ports.system import Command, Exit, Processes

STDERR_BYTES = 4096
LINE_BYTES = 1 << 16
OUTPUT_FOLDER = TaskId(".outputs")
NOT_FOUND, NOT_EXECUTABLE = 127, 126
HINTS = {
    NOT_FOUND: ("command not found", pattern(r"([^\s:]+): (?:command )?not found")),
    NOT_EXECUTABLE: ("permission denied", pattern(r"([^\s:]+): (?i:permission denied)")),
}
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

    async def execute(self, session: Session, task: Task) -> Result:
        """Run the command to its end.

        Raises:
            TaskFailed: With code ``E_EXIT`` or ``E_SIGNAL`` if it did not succeed; ``E_SPAWN`` if it could not be
                started; ``E_OUTPUT`` if it wrote nonsense to ``$RUNWRIGHT_OUTPUT``; ``E_ARGS`` if the arguments are
                wrong.
        """
        args = _to_args(task)
        file = self._output_folder(session) / f"{os.getpid()}-{next(_numbers)}"
        output = _Output(session.log(task.id))
        try:
            exit_ = await self._processes.run(_to_command(session, args, file), output.take)
            if exit_.code:
                raise TaskFailed(_to_failure(exit_, output, session))
        except BaseException:
            discard(file)
            raise
        return Result(value=output.last_line(), variables=take_variables(file))

    async def close_session(self, session_id: SessionId) -> None:
        """Forget where the session's commands left their values."""
        self._folders.pop(session_id, None)

    def _output_folder(self, session: Session) -> Path:
        """Return one directory for all commands of a session: a file system call less for each of them."""
        folder = self._folders.get(session.id)
        if folder is None:
            folder = self._folders[session.id] = session.output_dir(OUTPUT_FOLDER)
        return folder


class _Output:
    """What must be kept of an output of any size: the last line and the end of the errors."""

    def __init__(self, log: LogWriter) -> None:
        self._log = log
        self._line = b""
        self._open = b""
        self._errors = b""

    def take(self, stream: Stream, data: bytes) -> None:
        self._log.write(stream, data)
        if stream == "stderr":
            self._errors = (self._errors + data)[-2 * STDERR_BYTES :]
        else:
            self._take_lines(data)

    def _take_lines(self, data: bytes) -> None:
        ended, newline, rest = data.rpartition(b"\n")
        if newline:
            ended = (self._open + ended).rstrip()
            if ended:
                self._line = ended[ended.rfind(b"\n") + 1 :][:LINE_BYTES]
            self._open = b""
        self._open += rest[: LINE_BYTES - len(self._open)]

    def last_line(self) -> str:
        """Return the last line that is not empty, without the white space around it."""
        return (self._open.strip() or self._line.strip()).decode("utf-8", "replace")

    def errors(self, session: Session) -> str:
        """Return the end of standard error, at most 4 KiB.

        Twice as much is redacted, because a secret that the beginning of our piece cuts in two is not recognised;
        what comes before the first line break in the older half is dropped.
        """
        data = self._errors
        if len(data) == 2 * STDERR_BYTES:
            data = data[data.find(b"\n", 0, STDERR_BYTES) + 1 :]
        text = session.redact(data.decode("utf-8", "replace"))
        return text.encode()[-STDERR_BYTES:].decode("utf-8", "ignore")


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


def _to_failure(exit_: Exit, output: _Output, session: Session) -> Failure:
    errors = output.errors(session)
    if exit_.signal is not None:
        code, message = "E_SIGNAL", f"killed by {_signal_name(exit_.signal)}"
    else:
        code, message = "E_EXIT", f"exit status {exit_.code}{_hint(exit_.code, errors)}"
    return Failure(code=code, message=message, exit_code=exit_.code, signal=exit_.signal, stderr_tail=errors)


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _hint(code: int, errors: str) -> str:
    """Return what the shell meant by its two special codes."""
    if code not in HINTS:
        return ""
    what, form = HINTS[code]
    names = form.findall(errors)
    return f" ({what}: {names[-1]})" if names else f" ({what})"
