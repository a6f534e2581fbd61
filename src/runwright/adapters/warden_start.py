"""Start a warden; imports next to nothing, so that it can be done before anything else is loaded."""

import _socket
import os
import sys


class WardenHandle:
    """A warden that has been started: its pid, and our end of the socket to it (not inherited, blocking)."""

    __slots__ = ("fd", "pid")

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.fd = fd


def start_warden() -> WardenHandle:
    """Start a warden and return at once, while it comes up.

    It lives until the descriptor of the handle is closed or this process ends. Give the handle to
    `WardenProcesses`, which closes it.

    Raises:
        OSError: If no process can be started.
    """
    ours, theirs = _socket.socketpair()
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs 5 ms
    code = f"import sys;sys.path.append({folder!r});from warden.main import main;main({os.getpid()})"
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", code],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
            setsid=sys.platform == "linux",
            setsigmask=(),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return WardenHandle(pid, ours.detach())
