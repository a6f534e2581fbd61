"""Places at which a test can kill the process, to prove that the state on disk holds at each of them.

``RUNWRIGHT_FAILPOINT=NAME:COUNT``, set when the process starts, makes it send SIGKILL to itself at the COUNT-th time it
comes by. Without the variable `failpoint` is a function that does nothing.
"""

import os
import signal
from collections.abc import Callable

FAILPOINTS = (
    "store.before_commit",
    "store.after_commit",
    "store.before_migration",
    "store.after_migration",
)


def armed(setting: str) -> Callable[[str], None]:
    """Return the hook that a value of ``RUNWRIGHT_FAILPOINT`` asks for.

    Raises:
        ValueError: If the value is not ``NAME:COUNT`` with a name of `FAILPOINTS` and a count from 1.
    """
    if not setting:
        return _pass
    name, _, count = setting.rpartition(":")
    if name not in FAILPOINTS or not count.isdigit() or int(count) < 1:
        raise ValueError(
            f"RUNWRIGHT_FAILPOINT={setting}: expected NAME:COUNT with NAME one of {', '.join(FAILPOINTS)}"
        )
    left = int(count)

    def hook(place: str) -> None:
        nonlocal left
        left -= place == name
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _pass(place: str) -> None:
    del place


failpoint = armed(os.environ.get("RUNWRIGHT_FAILPOINT", ""))
"""Called with one of `FAILPOINTS` before and after each commit."""
