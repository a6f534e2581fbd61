"""Which executor a task goes to, and on which a session is open."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from runwright.core.errors import DuplicateExecutor, NoExecutorFound
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.router import Router
from runwright.ports.executor import Session
from runwright.testing import LocalSession, Strict, cancelled_at


class Leaf:
    """Answers with its name and the rest of the route; opens and closes as it is told."""

    def __init__(self, name: str = "", opening: Callable[[], Awaitable[None]] | None = None) -> None:
        self.name = name
        self.opening = opening
        self.close_error: BaseException | None = None
        self.log: list[str] = []

    async def open_session(self, session: Session) -> None:
        self.log.append("open")
        if self.opening is not None:
            await self.opening()
        self.log.append("opened")

    async def execute(self, session: Session, task: Task) -> Result:
        self.log.append("execute")
        return Result(value=(self.name, task.executor))

    async def close_session(self, session_id: SessionId) -> None:
        self.log.append("close")
        if self.close_error is not None:
            raise self.close_error


def at(route: str) -> Task:
    return Task(id=TaskId("t"), executor=route)


@pytest.fixture
def session(tmp_path: Path) -> LocalSession:
    return LocalSession(tmp_path)


async def value(router: Router, session: Session, route: str) -> object:
    return (await router.execute(session, at(route))).value


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("shell", ("shell", "")),
        ("shell.fast.x", ("shell", "fast.x")),
        ("", ("default", "")),
        ("build.linux", ("linux", "")),
        ("build.linux.arm", ("linux", "arm")),
        ("build.mac.arm", ("mac-arm", "")),
        ("other", ("any", "other")),
        ("other.way", ("any", "other.way")),
    ],
)
def test_routes(session: LocalSession, route: str, expected: tuple[str, str]) -> None:
    router = Router(
        {
            "shell": Leaf("shell"),
            "": Leaf("default"),
            "build.linux": Leaf("linux"),
            "build.mac.arm": Leaf("mac-arm"),
            "*": Leaf("any"),
        }
    )

    async def run() -> object:
        await router.open_session(session)
        found = await value(router, session, route)
        await router.close_session(session.id)
        return found

    assert asyncio.run(run()) == expected
    assert router.names() == ("", "*", "build.linux", "build.mac.arm", "shell")


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("nobody", 'no executor "nobody"; known: build.linux, shell'),
        ("", 'no executor ""; known: build.linux, shell'),
        ("build", 'no executor "build."; known: build.linux'),
        ("build.mac", 'no executor "build.mac"; known: build.linux'),
    ],
)
def test_an_unknown_route_names_who_is_known(session: LocalSession, route: str, message: str) -> None:
    router = Router({"shell": Leaf(), "build.linux": Leaf()})
    with pytest.raises(NoExecutorFound) as caught:
        asyncio.run(router.execute(session, at(route)))
    assert str(caught.value) == message
    assert caught.value.code == "E_NO_EXECUTOR"


def test_an_empty_router_knows_none(session: LocalSession) -> None:
    with pytest.raises(NoExecutorFound, match='no executor "x"; known: none'):
        asyncio.run(Router().execute(session, at("x")))
    with pytest.raises(NoExecutorFound, match=r'no executor "x"; known: \(nameless\)'):
        asyncio.run(Router({"": Leaf()}).execute(session, at("x")))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shell", 'there is an executor "shell" already; known: build.linux, shell'),
        ("build", 'there is an executor "build" already'),
        ("build.linux", 'there is an executor "build.linux" already; known: build.linux'),
        ("shell.fast", 'there is an executor "shell", so none can be "shell.fast"'),
        ("build.linux.arm", 'there is an executor "build.linux", so none can be "build.linux.arm"'),
    ],
)
def test_a_name_is_taken_once(name: str, message: str) -> None:
    router = Router({"shell": Leaf(), "build.linux": Leaf()})
    with pytest.raises(DuplicateExecutor) as caught:
        router.register(name, Leaf())
    assert str(caught.value).startswith(message)
    assert caught.value.exit_status == 2


def test_a_name_that_was_given_back_can_be_taken_again() -> None:
    first, second = Leaf(), Leaf()
    router = Router({"a": first, "b.c": first, "b.d": first})
    router.unregister("a", "b.c", "b.c")
    assert router.names() == ("b.d",)
    router.register("a", second)
    assert router.executor("a") is second
    router.unregister("b.d")
    assert router.names() == ("a",)
    router.register("b", second)
    assert router.executor("b") is second


def test_taking_out_what_is_not_there_changes_nothing() -> None:
    router = Router({"a": Leaf()})
    for names in (("a", "b"), ("a", "a.b"), ("x.y",)):
        with pytest.raises(NoExecutorFound, match="known: a"):
            router.unregister(*names)
    assert router.names() == ("a",)


def test_a_router_somebody_made_stays_even_if_empty() -> None:
    inner = Router({"x": Leaf()})
    router = Router({"in": inner})
    router.unregister("in.x")
    assert router.names() == ("in",)
    assert router.executor("in") is inner


def test_replacing() -> None:
    new = Leaf()
    router = Router({"a": Leaf(), "b.c": Leaf()})
    router.replace("a", new)
    router.replace("b.c", new)
    router.replace("d", new)
    assert [router.executor(name) for name in ("a", "b.c", "d")] == [new, new, new]
    with pytest.raises(DuplicateExecutor):
        router.replace("a.b", new)


def test_one_executor_under_two_names_is_opened_once(session: LocalSession) -> None:
    leaf = Leaf()

    async def run() -> None:
        router = Router({"a": Strict(leaf), "b": Leaf()})
        router.register("c", router.executor("a"))
        await router.open_session(session)
        await router.close_session(session.id)
        await router.close_session(session.id)

    asyncio.run(run())
    assert leaf.log == ["open", "opened", "close"]


def test_an_executor_added_later_is_open_before_any_task_of_many(session: LocalSession) -> None:
    async def run() -> list[str]:
        gate = asyncio.Event()

        async def slow() -> None:
            await gate.wait()

        leaf = Leaf(opening=slow)
        router = Router()
        await router.open_session(session)
        router.register("late", Strict(leaf))
        work = [asyncio.create_task(router.execute(session, at("late"))) for _ in range(3)]
        while "open" not in leaf.log:  # noqa: ASYNC110 - the opening is already under way
            await asyncio.sleep(0)
        assert leaf.log == ["open"]
        gate.set()
        await asyncio.gather(*work)
        await router.close_session(session.id)
        return leaf.log

    assert asyncio.run(run()) == ["open", "opened", "execute", "execute", "execute", "close"]


def test_an_executor_taken_out_finishes_and_is_closed(session: LocalSession) -> None:
    leaf = Leaf("a")

    async def run() -> None:
        router = Router({"a": Strict(leaf)})
        await router.open_session(session)
        work = asyncio.create_task(value(router, session, "a"))
        await asyncio.sleep(0)
        router.unregister("a")
        assert await work == ("a", "")
        with pytest.raises(NoExecutorFound):
            await value(router, session, "a")
        await router.close_session(session.id)

    asyncio.run(run())
    assert leaf.log == ["open", "opened", "execute", "close"]


async def refuse() -> None:
    raise OSError("can't open")


def test_an_opening_that_fails_closes_what_was_opened(session: LocalSession) -> None:
    good, bad, never = Leaf(), Leaf(opening=refuse), Leaf()
    with pytest.raises(OSError, match="can't open"):
        asyncio.run(Router({"good": good, "bad": bad, "never": never}).open_session(session))
    assert (good.log, bad.log, never.log) == (["open", "opened", "close"], ["open"], [])


def test_a_late_opening_that_fails_is_tried_again(session: LocalSession) -> None:
    async def run() -> None:
        leaf = Leaf(opening=refuse)
        router = Router()
        await router.open_session(session)
        router.register("a", Strict(leaf))
        with pytest.raises(OSError, match="can't open"):
            await value(router, session, "a")
        router.replace("a", leaf)
        leaf.opening = None
        await value(router, session, "a")
        await router.close_session(session.id)
        assert leaf.log == ["open", "open", "opened", "execute", "close"]

    asyncio.run(run())


def test_errors_of_closing_come_out_together(session: LocalSession) -> None:
    leaves = {"a": Leaf(), "b": Leaf(), "c": Leaf()}
    leaves["a"].close_error = OSError("one")
    leaves["c"].close_error = ValueError("two")

    async def run() -> None:
        router = Router(leaves)
        await router.open_session(session)
        await router.close_session(session.id)

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(run())
    assert [str(error) for error in caught.value.exceptions] == ["two", "one"]
    assert [leaf.log[-1] for leaf in leaves.values()] == ["close"] * 3
    leaves["c"].close_error = None
    with pytest.raises(OSError, match="one"):
        asyncio.run(run())


def test_a_cancelled_closing_still_closes_the_others(session: LocalSession) -> None:
    first, last = Leaf(), Leaf()
    last.close_error = asyncio.CancelledError()

    async def run() -> None:
        router = Router({"first": first, "last": last})
        await router.open_session(session)
        with pytest.raises(asyncio.CancelledError):
            await router.close_session(session.id)

    asyncio.run(run())
    assert first.log[-1] == "close"


def test_a_cancelled_opening_leaves_nothing_open(session: LocalSession) -> None:
    good = Leaf()

    async def run() -> None:
        router = Router({"good": good, "slow": Leaf(opening=asyncio.Event().wait)})  # type: ignore[arg-type]
        reached, work = cancelled_at(0, router.open_session(session))
        with pytest.raises(asyncio.CancelledError):
            await work
        assert reached()

    asyncio.run(run())
    assert good.log == ["open", "opened", "close"]


def test_without_a_session_tasks_are_passed_on_as_they_are(session: LocalSession) -> None:
    leaf = Leaf("a")
    assert asyncio.run(value(Router({"a": leaf}), session, "a")) == ("a", "")
    assert leaf.log == ["execute"]
