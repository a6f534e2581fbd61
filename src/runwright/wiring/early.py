"""What takes a moment to come up is started before anything else is imported; so this imports next to nothing."""

import os

from runwright.adapters.warden_start import WardenHandle, start_warden

_SIGKILL = 9
_waiting: list[WardenHandle] = []


def start_early() -> None:
    """Start a warden; if that fails, whoever needs one tries again and reports it."""
    try:
        _waiting.append(start_warden())
    except OSError:
        return


def take_early() -> WardenHandle | None:
    """Return the warden that has been started, for the first who asks."""
    return _waiting.pop() if _waiting else None


def drop_early() -> None:
    """End the warden that nobody has taken; it has no tasks yet, so nothing is lost."""
    while _waiting:
        handle = _waiting.pop()
        os.close(handle.fd)
        os.kill(handle.pid, _SIGKILL)
        os.waitpid(handle.pid, 0)
