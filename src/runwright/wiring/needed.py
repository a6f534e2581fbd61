"""Asking a goal once what it needs, without recording or performing anything."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from runwright.adapters.ids import new_id
from runwright.adapters.process import WardenProcesses
from runwright.adapters.workspace import DirectoryWorkspaces
from runwright.core.errors import TaskFailed
from runwright.core.goal import ActionDefinition, GoalDefinition
from runwright.core.goalplace import Place
from runwright.core.options import RunOptions
from runwright.core.redact import Redactor
from runwright.engines.failures import redacted
from runwright.engines.session import RunSession
from runwright.executors.goal_commands import CommandPerformer
from runwright.ports.executor import Stream
from runwright.ports.system import LogChunk
from runwright.wiring.early import take_early
from runwright.wiring.stack import shell_stack


async def needed_actions(goal: GoalDefinition, options: RunOptions) -> tuple[ActionDefinition, ...]:
    """Run the commands that print which actions a goal still needs, and return the actions.

    Raises:
        TaskFailed: If a command did not succeed, or printed something else.
        FatalError: If a command says that going on is useless.
    """
    processes = WardenProcesses(take_early())
    redactor = Redactor([os.environ.get(name, "") for name in goal.secrets])
    directory = Path(options.directory or Path.cwd())
    with TemporaryDirectory(prefix="runwright-") as folder:
        workspaces = DirectoryWorkspaces(Path(folder))
        session = RunSession(new_id(), directory, _NoLogs(), workspaces, redactor, capture=False)
        stack = shell_stack(processes)
        await stack.open_session(session)
        try:
            performer = CommandPerformer(goal, stack, session, options)
            needed = await performer.plan(Place(round=1, id="1", name="round 1"))
            return tuple(action for _, action in needed)
        except TaskFailed as error:
            raise TaskFailed(redacted(error.failure, redactor.text)) from None
        finally:
            await stack.close_session(session.id)
            await processes.close()
            workspaces.discard(session.id)


class _NoLogs:
    """Keeps no output."""

    def open(self, run_id: str, task_id: str, attempt: int, max_bytes: int) -> "_NoLog":
        return _NoLog()

    def read(self, run_id: str, task_id: str, attempt: int, offset: int = 0) -> Iterator[LogChunk]:
        return iter(())

    def path(self, run_id: str, task_id: str, attempt: int) -> Path:
        return Path(os.devnull)


class _NoLog:
    def write(self, stream: Stream, data: bytes) -> None:
        """Drop it."""

    def close(self) -> None:
        """Do nothing."""
