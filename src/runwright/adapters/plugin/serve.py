"""The side of a plugin that is written in Python."""

import os
import sys
from typing import TYPE_CHECKING

from runwright.adapters.plugin.limits import SOCKET, require_grpc
from runwright.ports.executor import Executor

if TYPE_CHECKING:
    from msgspec import Struct


def serve(
    executor: Executor, *, name: str = "", version: str = "", args: "type[Struct] | None" = None
) -> None:
    """Execute tasks for Runwright until it ends this process; the whole main program of a plugin.

    Args:
        executor: Executes them.
        name: Of the plugin, for messages.
        version: Of the plugin.
        args: Record of the arguments of its tasks; then they are checked before a task begins. Without it the
            executor's own ``Args`` counts, if there is one.

    Raises:
        SystemExit: With status 2 if this process was not started as a plugin.
        UsageError: If the extra ``grpc`` is not installed.
    """
    socket = os.environ.pop(SOCKET, "")
    if not socket:
        sys.stderr.write(
            f"this is a plugin of Runwright, which starts it: [executors.NAME] with plugin = {_command()}\n"
        )
        raise SystemExit(2)
    require_grpc()
    from runwright.adapters.plugin.serving import Server  # noqa: PLC0415 - gRPC takes 100 ms to load

    Server(executor, socket, name, version, args or getattr(executor, "Args", None)).run()


def _command() -> str:
    return '["python3", "{}"]'.format(sys.argv[0] or "FILE")
