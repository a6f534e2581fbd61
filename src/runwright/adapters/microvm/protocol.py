"""What is said between a worker and the agent in a machine.

Three lines lead into a machine, each a port of its own: orders and answers, the steps' output, and their errors. A step
can't reach the first, and on the others its bytes travel as they are. When a step and all it started are gone, the agent
ends both with a mark that is drawn anew for each step and that no step can read; so whatever a step prints is output.
"""

import shlex
from collections.abc import Mapping, Sequence

from msgspec import Struct

RUN = "/run/runwright"
"""Where the agent puts the files of a step, in the guest."""

TOOLS = "/runwright/bin"
"""Where the agent's own tools are, in the guest."""

LINE_BYTES = 256
READY = "ready"
ENDED = "ended"


class Ending(Struct, frozen=True):
    """How a step ended: its exit status, and how many of its processes were killed for want of memory."""

    code: int
    killed: int


class Setting(Struct, frozen=True, kw_only=True):
    """What the agent must know before the first step.

    Attributes:
        memory_bytes: Of the steps.
        pids: Processes and threads of the steps; 0 for no bound.
        cpus: Processors that they keep busy; 0 for no bound.
        network: True if the machine has a network.
    """

    memory_bytes: int
    pids: int = 0
    cpus: float = 0.0
    network: bool = False


class AgentFault(Exception):
    """The agent said what it never says."""


def setup_order(setting: Setting) -> bytes:
    """Return the first order."""
    pids = setting.pids or "max"
    quota = round(setting.cpus * 100_000) or "max"
    return f"setup {setting.memory_bytes} {pids} {quota} {int(setting.network)}\n".encode()


def step_order(nonce: str, launcher: str, script: str) -> bytes:
    """Return the order to run a step.

    Args:
        nonce: Drawn for this step.
        launcher: Shell script that runs the step as its user.
        script: The step's own; it is beside the launcher under the name ``script``.
    """
    first, second = (text.encode("utf-8", "surrogateescape") for text in (launcher, script))
    return f"step {nonce} {len(first)} {len(second)}\n".encode() + first + second


def mark_of(nonce: str) -> bytes:
    """Return what ends the output and the errors of a step."""
    return f"\0{nonce}\0".encode()


def launcher(folder: str, env: Mapping[str, str], command: Sequence[str]) -> str:
    """Return the script that enters a directory and becomes the command of a step.

    Args:
        folder: Absolute, in the guest.
        env: The whole environment.
        command: Program and arguments.
    """
    variables = [f"{name}={value}" for name, value in env.items()]
    started = shlex.join([f"{TOOLS}/setpriv", "--nnp", f"{TOOLS}/env", "-i", *variables, *command])
    return f"cd {shlex.quote(folder)} || exit\nexec {started}\n"


def read_ending(line: bytes, nonce: str) -> Ending:
    """Return what an answer says of a step.

    Raises:
        AgentFault: If it is none.
    """
    words = line.decode("ascii", "replace").split(" ")
    if (
        len(words) != 4
        or words[:2] != [ENDED, nonce]
        or not all(word.strip().isdigit() for word in words[2:])
    ):
        raise AgentFault(f"instead of a step's end it said {line[:LINE_BYTES]!r}")
    code, killed = (int(word[:10]) for word in words[2:])
    return Ending(min(code, 255), killed)


class Marked:
    """Bytes up to a mark, which may come in pieces.

    Attributes:
        is_done: True if the mark has come.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._held = b""
        self.is_done = False

    def take(self, data: bytes) -> bytes:
        """Return what is certain to stand before the mark.

        Raises:
            AgentFault: If something follows the mark.
        """
        data = self._held + data
        before, mark, after = data.partition(self._mark)
        if mark:
            if after:
                raise AgentFault("output goes on after its end")
            self.is_done = True
            return before
        self._held = self._start_of_mark(data)
        return data[: len(data) - len(self._held)]

    def rest(self) -> bytes:
        """Return what has been kept because the mark might have begun with it; for an end without a mark."""
        held, self._held = self._held, b""
        return held

    def _start_of_mark(self, data: bytes) -> bytes:
        at = data.find(self._mark[:1], max(0, len(data) - len(self._mark) + 1))
        while at >= 0 and not self._mark.startswith(data[at:]):
            at = data.find(self._mark[:1], at + 1)
        return data[at:] if at >= 0 else b""
