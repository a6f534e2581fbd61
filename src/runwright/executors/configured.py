"""An executor under a name of its own, with defaults for its arguments."""

from collections.abc import Mapping
from typing import Any

from runwright.core.task import Result, SessionId, Task, replace
from runwright.ports.executor import Executor, Session


class Configured:
    """Passes tasks on with defaults filled into their arguments; what a task says itself wins.

    Tables, such as ``env``, are merged name by name.

    Args:
        inner: Runs the tasks.
        defaults: Arguments for tasks that don't give them.
    """

    def __init__(self, inner: Executor, defaults: Mapping[str, Any]) -> None:
        self._inner = inner
        self._defaults = dict(defaults)

    async def open_session(self, session: Session) -> None:
        """Open the session on the inner executor."""
        await self._inner.open_session(session)

    async def execute(self, session: Session, task: Task) -> Result:
        """Run a task with the defaults filled in."""
        return await self._inner.execute(session, replace(task, args=_merged(self._defaults, task.args)))

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on the inner executor."""
        await self._inner.close_session(session_id)


def _merged(defaults: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **args}
    for name in defaults.keys() & args.keys():
        if isinstance(defaults[name], Mapping) and isinstance(args[name], Mapping):
            merged[name] = {**defaults[name], **args[name]}
    return merged
