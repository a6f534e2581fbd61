"""Tasks that follow from one another: a loop over what is ready, without recursion, however deep."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, copy_context

from runwright.core.errors import DefinitionError, Failure, TaskFailed
from runwright.core.followups import adopt
from runwright.core.task import Result, Task, TaskId
from runwright.engines.groups import cancel_once, is_being_cancelled
from runwright.engines.slots import Held, Slots

Body = Callable[[Task], Awaitable[Result]]
"""Runs one task to its end."""


class Member:
    """A task of a family.

    Attributes:
        parent: Whose child it is.
        waiting: Siblings it waits for, and that have not ended.
        dependents: Siblings that wait for it.
        children: Children that have not ended.
        result: Of its own body, once that has succeeded.
        error: Of its body, if that failed.
        is_whole: True once it and everything that follows from it has succeeded.
    """

    __slots__ = ("children", "dependents", "error", "is_whole", "parent", "result", "task", "waiting")

    def __init__(self, task: Task, parent: "Member | None") -> None:
        self.task = task
        self.parent = parent
        self.waiting = 0
        self.dependents: list[Member] = []
        self.children = 0
        self.result: Result | None = None
        self.error: Exception | None = None
        self.is_whole = False


def _ignore(member: Member) -> None:
    """Need nothing."""


class Family:
    """The tasks of one call, with their follow-ups.

    What was asked for last goes first, siblings in their order. A task is whole when its body and all its follow-ups
    have succeeded; what depends on it waits for that.

    Args:
        body: Runs one task.
        slots: Places for bodies, if they are counted.
        pool: Most bodies of this family at a time; 0 means no limit.
        keeps_going: True if a failure stops only what needs what failed; else nothing new starts after it.
        halts: Asked before each start; once it says yes nothing new starts.
        on_whole: Told of each task that is whole.

    Attributes:
        members: All tasks, parents before children.
        errors: In the order in which they came, each with a note that names its task.
    """

    def __init__(
        self,
        body: Body,
        slots: Slots | None,
        *,
        pool: int = 0,
        keeps_going: bool = False,
        halts: Callable[[], bool] = lambda: False,
        on_whole: Callable[[Member], None] = _ignore,
    ) -> None:
        self.members: list[Member] = []
        self.errors: list[Exception] = []
        self._body = body
        self._slots = slots
        self._pool = pool
        self._keeps_going = keeps_going
        self._halts = halts
        self._on_whole = on_whole
        self._ready: list[Member] = []
        self._running = 0
        self._stopped = False
        self._aborted = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._context: Context = copy_context()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, tasks: Sequence[Task]) -> None:
        """Run tasks and all that follows; a cancellation comes out when nothing of them runs any more."""
        self._add(tasks, None)
        async with self._group:
            try:
                self._pump()
                await self._done
            finally:
                self._stop()  # before the group is shut down: what still ends must not start anything in it

    def abort(self) -> None:
        """Start nothing more, and cancel what runs but for the caller; it has no result and no error then."""
        self._aborted = True
        self._stop()
        loop, caller = asyncio.get_running_loop(), asyncio.current_task()
        for task in self._tasks - {caller}:
            loop.call_soon(
                cancel_once, task
            )  # after its first step, or it would never get to say that it has ended

    def results(self) -> Mapping[TaskId, Result]:
        """Return the results of all bodies that succeeded, by id."""
        return {one.task.id: one.result for one in self.members if one.result is not None}

    def _stop(self) -> None:
        self._stopped = True
        self._ready.clear()
        if self._slots is not None:
            self._slots.forget(self)

    def _add(self, tasks: Sequence[Task], parent: Member | None) -> None:
        """Take up tasks; what can start does so in the order given, before anything that is ready already."""
        fresh = {task.id: Member(task, parent) for task in tasks}
        for member in fresh.values():
            for name in dict.fromkeys(member.task.dependencies):
                fresh[name].dependents.append(member)
                member.waiting += 1
        if parent is not None:
            parent.children = len(fresh)
        self.members += fresh.values()
        self._ready += [member for member in reversed(fresh.values()) if not member.waiting]

    def _pump(self) -> None:
        """Start what is ready, as far as there are places."""
        while self._ready and not self._stopped and not (self._pool and self._running >= self._pool):
            if self._halts():
                self._stop()
                break
            held = None
            if self._slots is not None and (held := self._slots.take()) is None:
                self._slots.call(self, self._pump)
                return
            self._start(self._ready.pop(), held)
        if not self._running and not self._done.done():
            self._done.set_result(None)

    def _start(self, member: Member, held: Held | None) -> None:
        self._running += 1
        task = self._group.create_task(self._perform(member, held), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if held is not None:
            task.add_done_callback(lambda _: held.release())

    async def _perform(self, member: Member, held: Held | None) -> None:
        if held is not None:
            held.enter()
        try:
            result = await self._body(member.task)
            children = children_of(member.task, result)
        except asyncio.CancelledError:
            if is_being_cancelled() and not self._aborted:
                raise
            if not self._aborted:
                message = "its executor cancelled it without being asked to"
                self._failed(member, TaskFailed(Failure(code="E_EXECUTOR", message=message)))
        except Exception as error:
            self._failed(member, error)
        else:
            self._succeeded(member, result, children)
        self._running -= 1
        self._pump()

    def _succeeded(self, member: Member, result: Result, children: Sequence[Task]) -> None:
        member.result = result
        if not children:
            self._settle(member)
        elif not self._stopped:
            self._add(children, member)

    def _settle(self, member: Member) -> None:
        """Note that a task and all its follow-ups have succeeded, and so perhaps its parent's."""
        whole: Member | None = member
        while whole is not None:
            whole.is_whole = True
            self._on_whole(whole)
            for dependent in reversed(whole.dependents):
                dependent.waiting -= 1
                if not dependent.waiting and not self._stopped:
                    self._ready.append(dependent)
            whole = whole.parent
            if whole is not None:
                whole.children -= 1
                if whole.children:
                    return

    def _failed(self, member: Member, error: Exception) -> None:
        error.add_note(f'in task "{member.task.id}"')
        member.error = error
        self.errors.append(error)
        if not self._keeps_going:
            self._stop()


def children_of(task: Task, result: Result) -> tuple[Task, ...]:
    """Return the follow-ups of a task as its children.

    Raises:
        TaskFailed: With code ``E_FOLLOWUPS`` if they can't be run.
    """
    try:
        return adopt(task.id, result.followups) if result.followups else ()
    except DefinitionError as error:
        raise TaskFailed(Failure(code="E_FOLLOWUPS", message=str(error))) from None
