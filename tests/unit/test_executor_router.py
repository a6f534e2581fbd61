"""Which executor a task goes to, and on which a session is open."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from runwright.core.errors import DuplicateExecutor, NoExecutorFound, UnopenedSession
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
        ("build", 'no executor "build"; known: build.linux, shell'),
        ("build.mac", 'no executor "build.mac"; known: build.linux, shell'),
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
        ("build.linux", 'there is an executor "build.linux" already; known: build.linux, shell'),
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


async def refuse_too() -> None:
    raise ValueError("won't open")


def test_an_opening_that_fails_closes_what_was_opened(session: LocalSession) -> None:
    good, bad, other = Leaf(), Leaf(opening=refuse), Leaf()
    router = Router({"good": good, "bad": bad, "other": other})

    async def run() -> None:
        with pytest.raises(OSError, match="can't open"):
            await router.open_session(session)
        with pytest.raises(UnopenedSession):
            await value(router, session, "good")

    asyncio.run(run())
    assert good.log == other.log == ["open", "opened", "close"]
    assert bad.log == ["open"]


def test_errors_of_opening_come_out_together(session: LocalSession) -> None:
    good = Leaf()
    good.close_error = OSError("can't close either")
    router = Router({"a": Leaf(opening=refuse), "b": good, "c.d": Leaf(opening=refuse_too)})
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(router.open_session(session))
    assert [str(e) for e in caught.value.exceptions] == ["can't open", "won't open", "can't close either"]


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


def test_a_task_without_its_session_is_refused(session: LocalSession, tmp_path: Path) -> None:
    other = LocalSession(tmp_path)

    async def run() -> None:
        router = Router({"a": leaf})
        for no_more in (False, True):
            with pytest.raises(UnopenedSession, match=session.id) as caught:
                await value(router, session, "a")
            assert (caught.value.session_id, caught.value.code) == (session.id, "E_SESSION")
            await router.open_session(session if not no_more else other)
            await router.close_session(session.id)

    leaf = Leaf("a")
    asyncio.run(run())
    assert "execute" not in leaf.log


def test_a_task_that_comes_while_the_session_opens_is_refused(session: LocalSession) -> None:
    async def run() -> None:
        gate = asyncio.Event()
        router = Router({"slow": Leaf(opening=gate.wait), "a": Leaf()})  # type: ignore[arg-type]
        opening = asyncio.create_task(router.open_session(session))
        await asyncio.sleep(0)
        with pytest.raises(UnopenedSession):
            await value(router, session, "a")
        gate.set()
        await opening
        assert await value(router, session, "a") == ("", "")

    asyncio.run(run())


TREE = {
    "build.linux": "linux",
    "build.*": "build-any",
    "build.": "build",
    "test.*.fast": "fast",
    "test.unit.slow": "slow",
    "deep.a.b.c": "c",
    "deep.*": "deep-any",
}


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("build.linux.arm", ("linux", "arm")),
        ("build.mac.arm", ("build-any", "mac.arm")),
        ("build", ("build", "")),
        ("test.e2e.fast.x", ("fast", "x")),
        ("test.unit.fast", ("fast", "")),
        ("test.unit.slow", ("slow", "")),
        ("deep.a.b.c.d", ("c", "d")),
        ("deep.a.b.x", ("deep-any", "a.b.x")),
        ("deep.a", ("deep-any", "a")),
        ("test.unit.none", None),
        ("test", None),
        ("", None),
    ],
)
def test_any_at_every_level(session: LocalSession, route: str, expected: tuple[str, str] | None) -> None:
    async def run(extra: dict[str, Leaf]) -> object:
        router = Router({**{name: Leaf(leaf) for name, leaf in TREE.items()}, **extra})
        await router.open_session(session)
        return await value(router, session, route)

    if expected is None:
        with pytest.raises(NoExecutorFound, match=r"known: build\., build\.\*, build\.linux"):
            asyncio.run(run({}))
    assert asyncio.run(run({"*": Leaf("root-any")})) == (expected or ("root-any", route))


def test_one_executor_at_several_levels_is_opened_once(session: LocalSession) -> None:
    leaf = Leaf("x")

    async def run() -> None:
        strict = Strict(leaf)
        router = Router({"x": strict, "a.x": strict})
        await router.open_session(session)
        router.register("a.b.x", strict)
        for route in ("x", "a.x", "a.b.x"):
            await value(router, session, route)
        router.unregister("x", "a.x")
        await value(router, session, "a.b.x")
        await router.close_session(session.id)

    asyncio.run(run())
    assert leaf.log == ["open", "opened", *["execute"] * 4, "close"]


def test_a_router_in_a_router(session: LocalSession) -> None:
    inner = Router({"x": Leaf("x"), "": Leaf("default")})
    router = Router({"a.in": inner})
    router.register("a.in.y.z", Leaf("z"))
    router.replace("a.in.x", Leaf("new"))
    assert router.names() == ("a.in", "a.in.x", "a.in.y.z")
    assert router.executor("a.in") is inner
    assert router.executor("a.in.x") is inner.executor("x")
    with pytest.raises(DuplicateExecutor, match='"x" already'):
        router.register("a.in.x", Leaf())
    with pytest.raises(NoExecutorFound, match=r'no executor "a\.in\.no"; known: a\.in'):
        router.executor("a.in.no")

    async def run() -> list[object]:
        await router.open_session(session)
        found = [await value(router, session, route) for route in ("a.in.x.1", "a.in.y.z", "a.in")]
        await router.close_session(session.id)
        return found

    assert asyncio.run(run()) == [("new", "1"), ("z", ""), ("default", "")]
    router.unregister("a.in.y.z", "a.in.x")
    assert inner.names() == ("",)


def test_names_of_any_length(session: LocalSession) -> None:
    name = ".".join(["a"] * 5000)

    async def run() -> object:
        router = Router({name: Leaf("far"), "a.*": Leaf("near")})
        await router.open_session(session)
        found = [await value(router, session, route) for route in (name, name[:-2])]
        router.unregister(name)
        assert router.names() == ("a.*",)
        return found

    assert asyncio.run(run()) == [("far", ""), ("near", name[2:-2])]


def test_executors_come_and_go_while_tasks_run(session: LocalSession) -> None:
    async def run() -> None:
        router = Router()
        await router.open_session(session)
        leaves = [Leaf(str(number), opening=lambda: asyncio.sleep(0)) for number in range(50)]

        async def use(number: int) -> None:
            router.register(f"a.{number}", Strict(leaves[number]))
            tasks = [asyncio.create_task(value(router, session, f"a.{number}.x")) for _ in range(3)]
            await asyncio.sleep(0)
            router.unregister(f"a.{number}")
            assert await asyncio.gather(*tasks) == [(str(number), "x")] * 3

        await asyncio.gather(*map(use, range(50)))
        assert router.names() == ()
        await router.close_session(session.id)
        assert {tuple(leaf.log) for leaf in leaves} == {
            ("open", "opened", "execute", "execute", "execute", "close")
        }

    asyncio.run(run())


def test_a_branch_is_no_executor() -> None:
    router = Router({"a.b": Leaf()})
    for refused in (lambda: router.executor("a"), lambda: router.unregister("a")):
        with pytest.raises(NoExecutorFound, match=r'no executor "a"; known: a\.b'):
            refused()
    with pytest.raises(DuplicateExecutor, match='below "a"'):
        router.replace("a", Leaf())
