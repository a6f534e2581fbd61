"""Follow-ups run as children: order, limits, failures, cancellation, and any depth."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from runwright import (
    DefinitionError,
    Followups,
    NoSessions,
    Result,
    Router,
    Session,
    Task,
    TaskFailed,
    TasksFailed,
    UnopenedSession,
    UsageError,
)
from runwright.core.errors import Failure
from runwright.core.task import TaskId
from runwright.testing import LocalSession, cancelled_at

ROOT = Task(id=TaskId("root"))
LIMITS = [None, 1, 2, 7]


def task(name: str, *needs: str, **args: Any) -> Task:
    return Task(id=TaskId(name), dependencies=tuple(map(TaskId, needs)), args=args)


class Tree(NoSessions):
    """Runs tasks that are named in a table: follow-ups by id; notes when bodies begin and end."""

    def __init__(self, followups: dict[str, Sequence[Task]] | None = None) -> None:
        self.followups = dict(followups or {})
        self.works: dict[str, Callable[[], Awaitable[object]]] = {}
        self.began: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.running = 0
        self.most = 0

    async def execute(self, session: Session, task: Task) -> Result:
        self.began.append(task.id)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if task.id in self.works:
                await self.works[task.id]()
        except asyncio.CancelledError:
            self.cancelled.append(task.id)
            raise
        finally:
            self.running -= 1
        self.ended.append(task.id)
        outputs, variables = (f"{task.id}.out",), {"ID": task.id}
        return Result(
            value=f"<{task.id}>",
            outputs=outputs,
            variables=variables,
            followups=tuple(self.followups.get(task.id, ())),
        )


async def fail() -> None:
    raise TaskFailed(Failure(code="E_X", message="no good", exit_code=7))


async def for_ever() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def session(tmp_path: Path) -> LocalSession:
    return LocalSession(tmp_path)


def run(session: Session, inner: Any, limit: int | None = None, tasks: Sequence[Task] = ()) -> Result:
    async def main() -> Result:
        followups = Followups(inner, limit)
        await followups.open_session(session)
        try:
            async with asyncio.timeout(30):
                if tasks:
                    return await followups.execute_many(session, tasks)
                return await followups.execute(session, ROOT)
        finally:
            await followups.close_session(session.id)
            assert len(asyncio.all_tasks()) == 1

    return asyncio.run(main())


# -- what runs, and what comes of it ---------------------------------------------------------------------------


@pytest.mark.parametrize("limit", LIMITS)
def test_children_run_under_their_parents(session: LocalSession, limit: int | None) -> None:
    tree = Tree({"root": [task("a"), task("root.b")], "root.a": [task("x"), task("y")]})
    result = run(session, tree, limit)
    assert set(tree.ended) == {"root", "root.a", "root.b", "root.a.x", "root.a.y"}
    assert result.value == "<root>"
    assert (result.outputs, result.variables, result.followups) == (("root.out",), {"ID": "root"}, ())
    assert list(result.children) == ["root.a", "root.b", "root.a.x", "root.a.y"]
    child = result.children[TaskId("root.a.x")]
    assert (child.value, child.outputs) == ("<root.a.x>", ("root.a.x.out",))
    assert child.variables == {"ID": "root.a.x"}
    assert not result.children[TaskId("root.a")].followups


@pytest.mark.parametrize("limit", LIMITS)
def test_dependencies_wait_for_whole_subtrees(session: LocalSession, limit: int | None) -> None:
    tree = Tree(
        {
            "root": [task("c", "a", "root.b"), task("a"), task("b", "a", "a")],
            "root.a": [task("x"), task("y", "x")],
            "root.a.y": [task("z")],
        }
    )
    run(session, tree, limit)
    order = ["root", "root.a", "root.a.x", "root.a.y", "root.a.y.z", "root.b", "root.c"]
    assert tree.began == tree.ended == order


def test_with_one_place_what_was_asked_for_last_goes_first(session: LocalSession) -> None:
    tree = Tree({"root": [task("a"), task("b")], "root.a": [task("x"), task("y")]})
    run(session, tree, 1)
    assert tree.began == ["root", "root.a", "root.a.x", "root.a.y", "root.b"]


def test_several_tasks(session: LocalSession) -> None:
    tree = Tree({"b": [task("x")]})
    result = run(session, tree, 2, [task("a", "b"), task("b")])
    assert tree.ended == ["b", "b.x", "a"]
    assert result.value == {"a": "<a>", "b": "<b>"}
    assert set(result.children) == {"a", "b", "b.x"}
    assert (result.outputs, result.variables) == ((), {})


def test_several_tasks_may_be_none(session: LocalSession) -> None:
    async def main() -> Result:
        followups = Followups(Tree())
        await followups.open_session(session)
        return await followups.execute_many(session, [])

    assert asyncio.run(main()) == Result(value={})


def test_a_tree_below_a_tree(session: LocalSession) -> None:
    tree = Tree({"root": [task("a")], "root.a": [task("b")], "root.a.b": [task("c")]})
    result = run(session, Followups(Followups(tree, 1), 1), 1)
    assert list(result.children) == ["root.a", "root.a.b", "root.a.b.c"]
    assert len(tree.ended) == 4


def test_the_task_itself_is_not_changed(session: LocalSession) -> None:
    class Same(NoSessions):
        async def execute(self, session: Session, task: Task) -> Result:
            assert task is ROOT
            return result

    result = Result(value=1)
    assert run(session, Same()) is result


# -- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_holds_over_calls_and_sessions(tmp_path: Path, limit: int) -> None:
    tree = Tree({f"t{n}": [task(f"c{m}") for m in range(5)] for n in range(6)})

    async def main() -> None:
        followups = Followups(tree, limit)
        sessions = [LocalSession(tmp_path) for _ in range(2)]
        for session in sessions:
            await followups.open_session(session)
        calls = [followups.execute(sessions[n % 2], task(f"t{n}")) for n in range(6)]
        await asyncio.gather(*calls)

    asyncio.run(main())
    assert tree.most == limit
    assert len(tree.ended) == 36


def test_without_a_limit_all_start_at_once(session: LocalSession) -> None:
    tree = Tree({"root": [task(str(n)) for n in range(100)]})
    run(session, tree)
    assert tree.most == 100


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_one(limit: int) -> None:
    with pytest.raises(UsageError, match="limit must be at least 1"):
        Followups(Tree(), limit)


class Calls(NoSessions):
    """Bodies that call the executor they run under, several at once, to some depth."""

    def __init__(self) -> None:
        self.followups: Followups | None = None
        self.running = self.most = self.count = 0

    async def execute(self, session: Session, one: Task) -> Result:
        assert self.followups is not None
        depth = one.args["depth"]
        self.count += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if depth:
            calls = [self.followups.execute(session, task(f"{one.id}.{n}", depth=depth - 1)) for n in "ab"]
            await asyncio.gather(*calls, self.followups.execute_many(session, [task("c", depth=0)]))
        more = (task("f", depth=depth - 1),) if depth else ()
        return Result(followups=more)


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("twice", [False, True])
def test_bodies_that_call_in_again_do_not_stand_still(session: LocalSession, limit: int, twice: bool) -> None:
    inner = Calls()
    outer = Followups(Followups(inner, 1) if twice else inner, limit)
    inner.followups = outer

    async def main() -> None:
        await outer.open_session(session)
        async with asyncio.timeout(30):
            await outer.execute(session, task("root", depth=3))
            again = [outer.execute(session, task(f"{n}", depth=0)) for n in range(5)]
            inner.most = 0
            await asyncio.gather(*again)

    asyncio.run(main())
    assert inner.count == 1 + 3 + 9 + 27 + (1 + 3 + 9) + 5
    assert inner.most == (1 if twice else limit), "a place was lost or made up on the way"


def test_a_limit_without_lending_stands_still(session: LocalSession) -> None:
    """The control: a plain semaphore in the same place can't do it."""

    class Plain(NoSessions):
        async def execute(self, session: Session, one: Task) -> Result:
            async with gate:
                if one.args["depth"]:
                    await self.execute(session, task("x", depth=one.args["depth"] - 1))
            return Result()

    async def main() -> None:
        async with asyncio.timeout(0.05):
            await Plain().execute(session, task("root", depth=1))

    gate = asyncio.Semaphore(1)
    with pytest.raises(TimeoutError):
        asyncio.run(main())


# -- failures ----------------------------------------------------------------------------------------------------


def test_the_only_failure_comes_out_as_it_is(session: LocalSession) -> None:
    tree = Tree({"root": [task("a"), task("b"), task("c", "a")]})
    tree.works["root.a"] = fail
    with pytest.raises(TaskFailed) as caught:
        run(session, tree)
    assert caught.value.failure.exit_code == 7
    assert caught.value.__notes__ == ['in task "root.a"']
    assert tree.ended == ["root", "root.b"]


def test_what_runs_goes_on_and_nothing_new_starts(session: LocalSession) -> None:
    tree = Tree({"root": [task("slow"), task("bad"), task("next", "slow")], "root.slow": [task("more")]})

    async def slow() -> None:
        while "root.bad" not in tree.began or tree.running > 1:  # noqa: ASYNC110
            await asyncio.sleep(0)

    tree.works = {"root.slow": slow, "root.bad": fail}
    with pytest.raises(TaskFailed):
        run(session, tree, 2)
    assert tree.ended == ["root", "root.slow"]
    assert "root.slow.more" not in tree.began


def test_errors_of_several_come_out_together(session: LocalSession) -> None:
    tree = Tree({"root": [task(name) for name in "abcde"]})

    async def odd() -> None:
        raise ValueError("odd")

    tree.works = {"root.a": fail, "root.b": odd, "root.d": fail, "root.e": fail}
    with pytest.raises(TasksFailed) as caught:
        run(session, tree)
    assert caught.value.code == "E_TASKS"
    assert str(caught.value).startswith(
        '4 tasks failed: no good (in task "root.a"); odd (in task "root.b"); '
        'no good (in task "root.d"); and 1 more'
    )
    assert [type(error).__name__ for error in caught.value.exceptions] == [
        "TaskFailed",
        "ValueError",
        "TaskFailed",
        "TaskFailed",
    ]
    some, rest = caught.value.split(TaskFailed)
    assert isinstance(some, TasksFailed)
    assert isinstance(rest, TasksFailed)


def test_a_failing_task_has_no_children(session: LocalSession) -> None:
    tree = Tree()
    tree.works["root"] = fail
    with pytest.raises(TaskFailed, match="no good"):
        run(session, tree, 1)


@pytest.mark.parametrize(
    ("tasks", "messages"),
    [
        ([task("a", "b"), task("b", "c"), task("c", "a")], ["circle: {0}a -> {0}b -> {0}c -> {0}a"]),
        ([task("a", "a")], ["circle: {0}a -> {0}a"]),
        ([task("z"), task("a", "b", "z"), task("b", "a")], ["circle: {0}a -> {0}b -> {0}a"]),
        (
            [task("a", "x"), task("a"), task("b", "y")],
            ['two with the id "{0}a"', '"{0}a" depends on "{0}x"', '"{0}b" depends on "{0}y"'],
        ),
        ([task("")], ["one has no id"]),
        (["a"], ["each must be a Task"]),
    ],
)
def test_what_can_not_be_run_is_told(session: LocalSession, tasks: list[Any], messages: list[str]) -> None:
    with pytest.raises(DefinitionError) as caught:
        run(session, Tree(), None, tasks)
    assert [message.format("") in str(caught.value) for message in messages] == [True] * len(messages)
    with pytest.raises(TaskFailed) as failed:
        run(session, Tree({"root": tasks}))
    assert failed.value.failure.code == "E_FOLLOWUPS"
    told = str(failed.value)
    assert told.startswith('follow-ups of task "root": ')
    assert [message.format("root.") in told for message in messages] == [True] * len(messages)
    with pytest.raises(TaskFailed, match="follow-ups of task"):
        run(session, Tree({"root": [task("deep")], "root.deep": tasks}))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_session_must_be_open(session: LocalSession, when: str, limit: int | None) -> None:
    tree = Tree()

    async def main() -> None:
        followups = Followups(tree, limit)
        if when == "after":
            await followups.open_session(session)
            await followups.close_session(session.id)
        with pytest.raises(UnopenedSession):
            await followups.execute(session, ROOT)
        with pytest.raises(UnopenedSession):
            await followups.execute_many(session, [ROOT])

    asyncio.run(main())
    assert not tree.began


# -- cancellation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", LIMITS)
def test_cancellation_reaches_all(session: LocalSession, limit: int | None) -> None:
    tree = Tree({"root": [task(str(n)) for n in range(10)], "root.0": [task("deep")]})
    names = ["root.0.deep", *(f"root.{n}" for n in range(1, 10))]
    tree.works = dict.fromkeys(names, for_ever)

    async def main() -> None:
        followups = Followups(tree, limit)
        await followups.open_session(session)
        work = asyncio.create_task(followups.execute(session, ROOT))
        while tree.running < min(limit or 10, 10) or "root.0.deep" not in tree.began:  # noqa: ASYNC110
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert len(asyncio.all_tasks()) == 1
        assert tree.running == 0
        tree.works.clear()
        tree.followups.clear()
        await asyncio.gather(*(followups.execute(session, ROOT) for _ in range(5)))

    asyncio.run(main())
    assert len(tree.cancelled) == (limit or 10)


@pytest.mark.parametrize("limit", [None, 1])
def test_cancelled_at_each_await_nothing_is_left(session: LocalSession, limit: int | None) -> None:
    tree = Tree({"root": [task("a"), task("b", "a")], "root.a": [task("x")]})

    async def main() -> int:
        followups = Followups(tree, limit)
        await followups.open_session(session)
        for number in range(100):
            reached, work = cancelled_at(number, followups.execute(session, ROOT))
            await asyncio.wait([work])
            assert tree.running == 0
            assert len(asyncio.all_tasks()) == 1
            if not reached():
                return number
            assert work.cancelled()
        return 100

    assert 1 < asyncio.run(main()) < 100


def test_who_waits_for_a_place_can_be_cancelled(session: LocalSession) -> None:
    tree = Tree()
    gate = asyncio.Event()
    tree.works["root"] = gate.wait

    async def main() -> None:
        followups = Followups(tree, 1)
        await followups.open_session(session)
        first = asyncio.create_task(followups.execute(session, ROOT))
        waiting = [asyncio.create_task(followups.execute(session, task(str(n)))) for n in range(4)]
        await asyncio.sleep(0)
        for number in (0, 2):
            waiting[number].cancel()
        await asyncio.sleep(0)
        gate.set()
        await first
        waiting[1].cancel()  # the place may have been passed to it just now
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in results] == [True, True, True, False]
        await followups.execute(session, ROOT)

    asyncio.run(main())


def test_who_is_cancelled_does_not_wait_for_its_place(session: LocalSession) -> None:
    class Nests(Tree):
        async def execute(self, session: Session, one: Task) -> Result:
            if one.id == "outer":
                await followups.execute(session, task("inner"))
            return await super().execute(session, one)

    tree = Nests()
    tree.works = {"inner": for_ever, "other": for_ever}
    followups = Followups(tree, 1)

    async def main() -> None:
        await followups.open_session(session)
        outer = asyncio.create_task(followups.execute(session, task("outer")))
        while "inner" not in tree.began:  # noqa: ASYNC110
            await asyncio.sleep(0)
        other = asyncio.create_task(followups.execute(session, task("other")))
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(30):
                await outer
        while "other" not in tree.began:  # noqa: ASYNC110
            await asyncio.sleep(0)
        other.cancel()
        await asyncio.wait([other])
        await followups.execute(session, task("last"))

    asyncio.run(main())


def test_an_executor_that_cancels_itself_fails(session: LocalSession) -> None:
    async def cancel() -> None:
        raise asyncio.CancelledError

    tree = Tree({"root": [task("a")]})
    tree.works["root.a"] = cancel
    with pytest.raises(TaskFailed, match="without being asked") as caught:
        run(session, tree)
    assert caught.value.failure.code == "E_EXECUTOR"


# -- size and chance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 1, 50])
def test_ten_thousand_to_a_depth_of_a_thousand(session: LocalSession, limit: int | None) -> None:
    class Deep(NoSessions):
        count = 0

        async def execute(self, session: Session, one: Task) -> Result:
            self.count += 1
            left, wide = one.args["left"], one.args["wide"]
            children = [task(str(n), left=left - 1, wide=1) for n in range(wide)] if left else []
            return Result(followups=tuple(children))

    deep = Deep()

    async def main() -> Result:
        followups = Followups(Router({"": deep}), limit)
        await followups.open_session(session)
        return await followups.execute(session, task("root", left=1000, wide=10))

    began = time.perf_counter()
    result = asyncio.run(main())
    assert deep.count == 10_001
    assert len(result.children) == 10_000
    assert max(name.count(".") for name in result.children) == 1000
    assert time.perf_counter() - began < 20


def random_tree(random: Random, name: str, depth: int) -> dict[str, list[Task]]:
    """Return follow-ups by id; dependencies point backwards in a shuffled order, so there are no circles."""
    tree: dict[str, list[Task]] = {}
    if not depth:
        return tree
    children = [str(n) for n in range(random.randrange(5))]
    tasks = []
    for place, child in enumerate(children):
        needs = random.sample(children[:place], random.randint(0, place))
        tasks.append(task(child, *needs))
        tree.update(random_tree(random, f"{name}.{child}", depth - 1))
    random.shuffle(tasks)
    tree[name] = tasks
    return tree


@pytest.mark.parametrize("seed", range(30))
def test_random_trees_keep_the_order_and_the_limit(session: LocalSession, seed: int) -> None:
    random = Random(seed)  # the seed is in the test's name
    table = random_tree(random, "root", 4)
    tree = Tree(table)

    def pause(times: int) -> Callable[[], Coroutine[Any, Any, None]]:
        async def work() -> None:
            for _ in range(times):
                await asyncio.sleep(0)

        return work

    everyone = ["root", *(f"{name}.{child.id}" for name, tasks in table.items() for child in tasks)]
    tree.works = {name: pause(random.randrange(4)) for name in everyone}
    limit = random.choice(LIMITS)
    result = run(session, tree, limit)
    assert sorted(tree.ended) == sorted(everyone)
    assert set(result.children) == set(everyone) - {"root"}
    assert tree.most <= (limit or len(everyone))
    began = {name: tree.began.index(name) for name in everyone}
    for name, tasks in table.items():
        for child in tasks:
            for need in child.dependencies:
                needed = f"{name}.{need}"
                subtree = [one for one in everyone if one == needed or one.startswith(f"{needed}.")]
                assert all(began[one] < began[f"{name}.{child.id}"] for one in subtree)
