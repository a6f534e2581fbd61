"""Listeners hear everything, in order, and do no harm, however slow or broken they are."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runwright import (
    Followups,
    NoSessions,
    Observe,
    Result,
    Router,
    Session,
    Task,
    UnopenedSession,
    UsageError,
)
from runwright.core.errors import Failure, TaskFailed
from runwright.core.states import TaskState
from runwright.core.task import SessionId, TaskId
from runwright.executors.observe import BATCH, TaskEvent
from runwright.testing import LocalSession

TASK = Task(id=TaskId("t"))


class Inner(NoSessions):
    """Runs a function of the test for each task."""

    def __init__(self, work: Callable[[Task], Any] = lambda _: None) -> None:
        self.work = work
        self.calls: list[str] = []

    async def open_session(self, session: Session) -> None:
        self.calls.append("open")

    async def execute(self, session: Session, task: Task) -> Result:
        await asyncio.sleep(0)
        found = self.work(task)
        return found if isinstance(found, Result) else Result(value=found)

    async def close_session(self, session_id: SessionId) -> None:
        self.calls.append("close")


@pytest.fixture
def session(tmp_path: Path) -> LocalSession:
    return LocalSession(tmp_path)


def watch(
    session: LocalSession,
    inner: Any,
    *listeners: Callable[[TaskEvent], Any],
    tasks: int = 1,
    on_error: Any = None,
    ignoring: type[BaseException] | None = None,
) -> None:
    """Run tasks in one session, and see that nothing of it is left."""

    async def main() -> None:
        observe = Observe(inner, on_error=on_error)
        for listener in listeners:
            observe.listen(listener)
        await observe.open_session(session)
        for number in range(tasks):
            try:
                await observe.execute(session, Task(id=TaskId(f"t{number}")))
            except BaseException as error:
                if ignoring is None or not isinstance(error, ignoring):
                    raise
        await observe.close_session(session.id)
        assert len(asyncio.all_tasks()) == 1
        assert not listener_threads()

    asyncio.run(main())


def listener_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("runwright-listener")]


def states(events: list[TaskEvent]) -> list[tuple[str, str]]:
    return [(event.task_id, event.state.value) for event in events]


def fails(_: Task) -> None:
    raise TaskFailed(Failure(code="E_X", message="no", exit_code=3))


def is_cancelled(_: Task) -> None:
    raise asyncio.CancelledError


def test_an_event_says_what_happened(session: LocalSession) -> None:
    heard: list[TaskEvent] = []
    before = datetime.now(UTC)
    watch(session, Inner(), heard.append)
    assert states(heard) == [("t0", "running"), ("t0", "succeeded")]
    assert {event.session_id for event in heard} == {session.id}
    assert before <= heard[0].at <= heard[1].at <= datetime.now(UTC)
    assert [event.error for event in heard] == [None, None]
    assert heard[0].state == "running"


@pytest.mark.parametrize(
    ("work", "state", "error"),
    [(fails, "failed", TaskFailed), (is_cancelled, "cancelled", asyncio.CancelledError)],
)
def test_an_error_is_in_its_event(
    session: LocalSession, work: Any, state: str, error: type[BaseException]
) -> None:
    heard: list[TaskEvent] = []
    watch(session, Inner(work), heard.append, ignoring=error)
    assert states(heard) == [("t0", "running"), ("t0", state)]
    assert isinstance(heard[1].error, error)
    if isinstance(heard[1].error, TaskFailed):
        assert heard[1].error.failure.exit_code == 3


def test_all_of_a_subtree_is_heard_in_order(session: LocalSession) -> None:
    def work(task: Task) -> Result:
        depth = task.id.count(".")
        more = (Task(id=TaskId("a")), Task(id=TaskId("b"), dependencies=(TaskId("a"),)))
        return Result(followups=more if depth < 6 else ())

    heard: list[TaskEvent] = []
    late: list[TaskEvent] = []

    async def listen(event: TaskEvent) -> None:
        await asyncio.sleep(0)
        late.append(event)

    async def main() -> None:
        observe = Observe(Router({"": Inner(work)}))
        observe.listen(heard.append)
        observe.listen(listen)
        tree = Followups(observe, 3)
        await tree.open_session(session)
        await tree.execute(session, Task(id=TaskId("root")))
        await tree.close_session(session.id)

    asyncio.run(main())
    assert len(heard) == 2 * (2**7 - 1)
    assert heard == late
    place = {one: number for number, one in enumerate(states(heard))}
    for name, _ in place:
        assert place[name, "running"] < place[name, "succeeded"]
        if name.endswith(".b"):
            assert place[f"{name[:-1]}a", "succeeded"] < place[name, "running"]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_listener_delays_nobody_and_loses_nothing(session: LocalSession, blocking: bool) -> None:
    quick: list[TaskEvent] = []
    slow: list[TaskEvent] = []
    here, there = asyncio.Event(), threading.Event()

    def block(event: TaskEvent) -> None:
        assert there.wait(30)
        slow.append(event)

    async def wait(event: TaskEvent) -> None:
        await here.wait()
        slow.append(event)

    async def main() -> None:
        observe = Observe(Inner())
        observe.listen(block if blocking else wait)
        observe.listen(quick.append)
        await observe.open_session(session)
        for _ in range(BATCH):
            await observe.execute(session, TASK)
        assert not slow
        closing = asyncio.create_task(observe.close_session(session.id))
        done, _ = await asyncio.wait([closing], timeout=0.05)
        assert not done, "closing waits for what was not told yet"
        here.set()
        there.set()
        await closing
        assert not listener_threads()

    asyncio.run(main())
    assert slow == quick
    assert len(slow) == 2 * BATCH


@pytest.mark.parametrize("is_async", [True, False])
def test_a_failing_listener_hears_on_and_does_no_harm(session: LocalSession, is_async: bool) -> None:
    heard: list[TaskEvent] = []
    told: list[tuple[str, str]] = []

    def broken(event: TaskEvent) -> None:
        heard.append(event)
        raise ValueError(event.state.value)

    async def broken_too(event: TaskEvent) -> None:
        broken(event)

    others: list[TaskEvent] = []
    watch(
        session,
        Inner(),
        broken_too if is_async else broken,
        others.append,
        tasks=3,
        on_error=lambda error, event: told.append((event.task_id, str(error))),
    )
    assert heard == others
    assert told == states(heard)
    assert len(told) == 6


@pytest.mark.parametrize("on_error", [None, lambda error, _: 1 / 0])
def test_errors_of_listeners_go_to_the_loop(session: LocalSession, on_error: Any) -> None:
    def broken(event: TaskEvent) -> None:
        raise ValueError("broken")

    async def main() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
        observe = Observe(Inner(), on_error=on_error)
        observe.listen(broken)
        await observe.open_session(session)
        await observe.execute(session, TASK)
        await observe.close_session(session.id)
        return found

    found = asyncio.run(main())
    assert [str(one["exception"]) for one in found] == ["division by zero" if on_error else "broken"] * 2
    assert found[0]["message"] == 'a listener failed on event "running" of task "t"'


def test_a_function_that_returns_a_coroutine_is_awaited(session: LocalSession) -> None:
    heard: list[TaskEvent] = []
    told: list[str] = []

    async def later(event: TaskEvent) -> None:
        await asyncio.sleep(0)
        heard.append(event)
        if event.state is TaskState.SUCCEEDED:
            raise ValueError("late")

    class Called:
        async def __call__(self, event: TaskEvent) -> None:
            await later(event)

    def returns(event: TaskEvent) -> Awaitable[None]:
        return later(event)

    for listener in (returns, Called()):
        heard.clear()
        watch(session, Inner(), listener, tasks=3, on_error=lambda error, _: told.append(str(error)))
        assert [one for _, one in states(heard)] == ["running", "succeeded"] * 3
    assert told == ["late"] * 6


def test_listening_begins_and_ends_at_any_time(session: LocalSession) -> None:
    heard: dict[str, list[TaskEvent]] = {name: [] for name in ("first", "later", "block")}

    async def main() -> None:
        observe = Observe(Inner())
        observe.listen(heard["first"].append)
        await observe.open_session(session)
        await observe.execute(session, Task(id=TaskId("1")))
        observe.listen(heard["later"].append)
        with observe.listen(heard["block"].append) as listening:
            await observe.execute(session, Task(id=TaskId("2")))
        listening.stop()
        observe.unlisten(heard["first"].append)
        await observe.execute(session, Task(id=TaskId("3")))
        await observe.close_session(session.id)
        with pytest.raises(UsageError, match="does not listen"):
            observe.unlisten(heard["first"].append)

    asyncio.run(main())
    found = {name: [event.task_id for event in events][::2] for name, events in heard.items()}
    assert found == {"first": ["1", "2"], "later": ["2", "3"], "block": ["2"]}


def test_sessions_are_apart(tmp_path: Path) -> None:
    gate = threading.Event()
    heard: list[str] = []

    async def main() -> None:
        one, two = LocalSession(tmp_path), LocalSession(tmp_path)

        def listen(event: TaskEvent) -> None:
            if event.session_id == one.id:
                assert gate.wait(30)
            heard.append(event.session_id)

        observe = Observe(Inner())
        observe.listen(listen)
        for session in (one, two):
            await observe.open_session(session)
            await observe.execute(session, TASK)
        await observe.close_session(two.id)
        assert heard == [two.id] * 2, "closing one session waits for its own events alone"
        gate.set()
        await observe.close_session(one.id)
        assert heard == [two.id] * 2 + [one.id] * 2

    asyncio.run(main())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_session_must_be_open(session: LocalSession, when: str) -> None:
    heard: list[TaskEvent] = []

    async def main() -> None:
        observe = Observe(Inner())
        observe.listen(heard.append)
        if when == "after":
            await observe.open_session(session)
            await observe.close_session(session.id)
        with pytest.raises(UnopenedSession, match=session.id):
            await observe.execute(session, TASK)
        await observe.close_session(session.id)

    asyncio.run(main())
    assert heard == []


def test_a_task_over_which_the_session_was_closed_tells_no_more(session: LocalSession) -> None:
    heard: list[TaskEvent] = []

    async def main() -> None:
        observe = Observe(Inner())
        observe.listen(heard.append)
        await observe.open_session(session)
        work = asyncio.create_task(observe.execute(session, TASK))
        await asyncio.sleep(0)
        await observe.close_session(session.id)
        await work
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert states(heard) == [("t", "running")]


def test_an_opening_that_fails_opens_nothing(session: LocalSession) -> None:
    class Refuses(Inner):
        async def open_session(self, session: Session) -> None:
            raise OSError("can't open")

    async def main() -> None:
        observe = Observe(Refuses())
        with pytest.raises(OSError, match="can't open"):
            await observe.open_session(session)
        with pytest.raises(UnopenedSession):
            await observe.execute(session, TASK)

    asyncio.run(main())


def test_an_error_of_closing_comes_out_when_all_is_told(session: LocalSession) -> None:
    class Sticks(Inner):
        async def close_session(self, session_id: SessionId) -> None:
            raise OSError("can't close")

    heard: list[TaskEvent] = []
    with pytest.raises(OSError, match="can't close"):
        watch(session, Sticks(), heard.append)
    assert len(heard) == 2


@pytest.mark.parametrize("kind", ["async", "returns", "blocks"])
def test_a_cancelled_closing_leaves_nothing(session: LocalSession, kind: str) -> None:
    gate = threading.Event()
    heard: list[TaskEvent] = []

    async def for_ever(event: TaskEvent) -> None:
        heard.append(event)
        await asyncio.Event().wait()

    def returns(event: TaskEvent) -> Awaitable[None]:
        return for_ever(event)

    def blocks(event: TaskEvent) -> None:
        heard.append(event)
        assert gate.wait(30)

    async def main() -> None:
        observe = Observe(Inner())
        for _ in range(2):
            observe.listen({"async": for_ever, "returns": returns, "blocks": blocks}[kind])
        await observe.open_session(session)
        for _ in range(3):
            await observe.execute(session, TASK)
        closing = asyncio.create_task(observe.close_session(session.id))
        await asyncio.sleep(0)
        while len(heard) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(2):
            closing.cancel()
            await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert not listener_threads()

    asyncio.run(main())
    assert len(heard) == 2, "what was not told yet is not told any more"
