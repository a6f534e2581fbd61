"""What is kept of a command's output, and what its end means."""

from signal import Signals

from runwright.core.errors import Failure
from runwright.core.pattern import pattern
from runwright.ports.executor import LogWriter, Session, Stream
from runwright.ports.system import Exit

STDERR_BYTES = 4096
LINE_BYTES = 1 << 16
NOT_FOUND, NOT_EXECUTABLE = 127, 126
HINTS = {
    NOT_FOUND: ("command not found", pattern(r"([^\s:]+): (?:command )?not found")),
    NOT_EXECUTABLE: ("permission denied", pattern(r"([^\s:]+): (?i:permission denied)")),
}


class CommandOutput:
    """What must be kept of an output of any size: the last line and the end of the errors."""

    def __init__(self, log: LogWriter) -> None:
        self._log = log
        self._line = b""
        self._open = b""
        self._errors = b""

    def take(self, stream: Stream, data: bytes) -> None:
        """Pass a piece on to the log and keep what matters of it."""
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


def to_failure(exit_: Exit, output: CommandOutput, session: Session) -> Failure:
    """Return what the end of a command that did not succeed means."""
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
