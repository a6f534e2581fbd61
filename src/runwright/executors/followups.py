"""Follow-ups: what a task asks for next runs as its children, until nothing is left."""

from collections.abc import Mapping, Sequence

from runwright.core.errors import TasksFailed, UnopenedSession, UsageError
from runwright.core.followups import adopt, combine, combine_many
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.engines.family import Family, children_of
from runwright.engines.slots import Slots
from runwright.ports.executor import Executor, Session

MOST_SHOWN = 3
"""Errors told in the message of several; the others are in the group."""


class Followups:
    """Runs the follow-ups of a task as its children, and theirs, however many and however deep.

    A child has the id ``parent.child``. Its dependencies name siblings, and are met when those and all of their own
    follow-ups have succeeded. Without a limit whatever is ready starts at once; with one, what was asked for last goes
    first, siblings in their order, so that little waits.

    A parent takes no place while it waits for its children, so no limit can come to a standstill; a body that calls
    this executor again lends out its place for that time.

    The result is that of the task itself, with `children`: the results of all follow-ups by id. After a failure what
    runs goes on to its end and nothing new starts. The error comes out as it is, or a `TasksFailed` if there are
    several; each has a note that names its task.

    Args:
        inner: Runs the tasks, one at a time for each.
        limit: Most tasks that run at the same time, in all sessions and calls together; None means no limit.
    """

    def __init__(self, inner: Executor, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise UsageError(f"limit must be at least 1, not {limit}")
        self._inner = inner
        self._slots = None if limit is None else Slots(limit)
        self._sessions: set[SessionId] = set()

    async def open_session(self, session: Session) -> None:
        """Open the session on the inner executor."""
        await self._inner.open_session(session)
        self._sessions.add(session.id)

    async def execute(self, session: Session, task: Task) -> Result:
        """Run a task and everything that follows from it.

        Raises:
            TaskFailed: Of the task or of the only child that failed; with code ``E_FOLLOWUPS`` if what it asked for
                can't be run: ids that come twice, dependencies that are no siblings or form a circle.
            TasksFailed: If several children failed.
            UnopenedSession: If the session is not open.
        """
        self._check(session)
        if self._slots is None:
            result = await self._inner.execute(session, task)
            return await self._follow(session, task, result) if result.followups else result
        async with self._slots.lent():
            async with self._slots.held():
                result = await self._inner.execute(session, task)
            return await self._follow(session, task, result) if result.followups else result

    async def execute_many(self, session: Session, tasks: Sequence[Task]) -> Result:
        """Run several tasks, whose dependencies may name each other, and everything that follows from them.

        Returns:
            One result: `value` is a dictionary of the tasks' own values by id, `children` has the results of these
            tasks and of all follow-ups by id.

        Raises:
            DefinitionError: If ids come twice, or dependencies are not among the tasks or form a circle.
            TaskFailed: If one task failed.
            TasksFailed: If several did.
            UnopenedSession: If the session is not open.
        """
        self._check(session)
        adopted = adopt("", tasks)
        if self._slots is None:
            return combine_many(adopted, await self._run(session, adopted))
        async with self._slots.lent():
            return combine_many(adopted, await self._run(session, adopted))

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on the inner executor."""
        self._sessions.discard(session_id)
        await self._inner.close_session(session_id)

    def _check(self, session: Session) -> None:
        if session.id not in self._sessions:
            raise UnopenedSession(session.id)

    async def _follow(self, session: Session, task: Task, result: Result) -> Result:
        return combine(result, await self._run(session, children_of(task, result)))

    async def _run(self, session: Session, tasks: Sequence[Task]) -> Mapping[TaskId, Result]:
        family = Family(lambda task: self._inner.execute(session, task), self._slots)
        await family.run(tasks)
        if family.errors:
            raise family.errors[0] if len(family.errors) == 1 else _together(family.errors)
        return family.results()


def _together(errors: Sequence[Exception]) -> TasksFailed:
    shown = [f"{error} ({error.__notes__[-1]})" for error in errors[:MOST_SHOWN]]
    more = len(errors) - MOST_SHOWN
    tail = f"; and {more} more" if more > 0 else ""
    return TasksFailed(f"{len(errors)} tasks failed: {'; '.join(shown)}{tail}", errors)
