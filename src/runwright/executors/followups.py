"""Follow-ups: what a task asks for next runs as its children, until nothing is left."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context

from runwright.core.errors import (
    DefinitionError,
    Failure,
    TaskFailed,
    TasksFailed,
    UnopenedSession,
    UsageError,
)
from runwright.core.followups import adopt, combine, combine_many
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.slots import Held, Slots
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
        return combine(result, await self._run(session, _children(task, result)))

    async def _run(self, session: Session, tasks: Sequence[Task]) -> dict[TaskId, Result]:
        work = _Work(lambda task: self._inner.execute(session, task), self._slots)
        return await work.run(tasks)


class _Node:
    """A task of one call.

    Attributes:
        parent: Whose child it is.
        waiting: Siblings it waits for, and that have not ended.
        dependents: Siblings that wait for it.
        children: Children that have not ended.
        result: Of its own body, once that has succeeded.
    """

    __slots__ = ("children", "dependents", "parent", "result", "task", "waiting")

    def __init__(self, task: Task, parent: "_Node | None") -> None:
        self.task = task
        self.parent = parent
        self.waiting = 0
        self.dependents: list[_Node] = []
        self.children = 0
        self.result = Result()


class _Work:
    """The tasks of one call: a loop over what is ready, without recursion.

    Args:
        body: Runs one task.
        slots: Places for bodies, if they are counted.
    """

    def __init__(self, body: Callable[[Task], Awaitable[Result]], slots: Slots | None) -> None:
        self._body = body
        self._slots = slots
        self._nodes: list[_Node] = []
        self._ready: list[_Node] = []
        self._running = 0
        self._stopped = False
        self._errors: list[Exception] = []
        self._group = asyncio.TaskGroup()
        self._context: Context = copy_context()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, tasks: Sequence[Task]) -> dict[TaskId, Result]:
        """Run tasks and all that follows; returns the results by id, parents before children."""
        self._add(tasks, None)
        async with self._group:
            try:
                self._pump()
                await self._done
            finally:
                self._stop()  # before the group is shut down: what still ends must not start anything in it
        if self._errors:
            raise self._errors[0] if len(self._errors) == 1 else _together(self._errors)
        return {node.task.id: node.result for node in self._nodes}

    def _stop(self) -> None:
        self._stopped = True
        self._ready.clear()
        if self._slots is not None:
            self._slots.forget(self)

    def _add(self, tasks: Sequence[Task], parent: _Node | None) -> None:
        """Take up tasks; what can start does so in the order given, before anything that is ready already."""
        fresh = {task.id: _Node(task, parent) for task in tasks}
        for node in fresh.values():
            for name in dict.fromkeys(node.task.dependencies):
                fresh[name].dependents.append(node)
                node.waiting += 1
        if parent is not None:
            parent.children = len(fresh)
        self._nodes += fresh.values()
        self._ready += [node for node in reversed(fresh.values()) if not node.waiting]

    def _pump(self) -> None:
        """Start what is ready, as far as there are places."""
        while self._ready and not self._stopped:
            held = None
            if self._slots is not None and (held := self._slots.take()) is None:
                self._slots.call(self, self._pump)
                return
            self._start(self._ready.pop(), held)
        if not self._running and not self._done.done():
            self._done.set_result(None)

    def _start(self, node: _Node, held: Held | None) -> None:
        self._running += 1
        task = self._group.create_task(self._perform(node, held), context=self._context.copy())
        if held is not None:
            task.add_done_callback(lambda _: held.release())

    async def _perform(self, node: _Node, held: Held | None) -> None:
        if held is not None:
            held.enter()
        try:
            node.result = await self._body(node.task)
            children = _children(node.task, node.result)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                self._stopped = True
                raise
            message = "its executor cancelled it without being asked to"
            self._failed(node, TaskFailed(Failure(code="E_EXECUTOR", message=message)))
        except Exception as error:
            self._failed(node, error)
        else:
            self._succeeded(node, children)
        self._running -= 1
        self._pump()

    def _succeeded(self, node: _Node, children: Sequence[Task]) -> None:
        if self._stopped:
            return
        if children:
            self._add(children, node)
        else:
            self._settle(node)

    def _settle(self, node: _Node) -> None:
        """Note that a task and all its follow-ups have succeeded, and so perhaps its parent's."""
        ended: _Node | None = node
        while ended is not None:
            for dependent in reversed(ended.dependents):
                dependent.waiting -= 1
                if not dependent.waiting:
                    self._ready.append(dependent)
            ended = ended.parent
            if ended is not None:
                ended.children -= 1
                if ended.children:
                    return

    def _failed(self, node: _Node, error: Exception) -> None:
        error.add_note(f'in task "{node.task.id}"')
        self._errors.append(error)
        self._stop()


def _children(task: Task, result: Result) -> tuple[Task, ...]:
    """Return the follow-ups of a task as its children.

    Raises:
        TaskFailed: With code ``E_FOLLOWUPS`` if they can't be run.
    """
    try:
        return adopt(task.id, result.followups) if result.followups else ()
    except DefinitionError as error:
        raise TaskFailed(Failure(code="E_FOLLOWUPS", message=str(error))) from None


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _together(errors: Sequence[Exception]) -> TasksFailed:
    shown = [f"{error} ({error.__notes__[-1]})" for error in errors[:MOST_SHOWN]]
    more = len(errors) - MOST_SHOWN
    tail = f"; and {more} more" if more > 0 else ""
    return TasksFailed(f"{len(errors)} tasks failed: {'; '.join(shown)}{tail}", errors)
