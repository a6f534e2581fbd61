"""The cache as an executor: what is skipped, restored, run, kept and refused, in real trees."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runwright.core.cachekey import PARTS
from runwright.core.errors import Failure, StoreError, TaskFailed, UnopenedSession
from runwright.core.task import CacheUse, Result, SessionId, Task, TaskId
from runwright.core.values import Form, StoredValue
from runwright.executors import cache_files, cache_threads
from runwright.executors.cache import Cache
from runwright.executors.cache_files import Budget, Files, TooMuch
from runwright.ports.executor import Reuse, Session
from runwright.testing import LocalSession, MemoryCache, cancelled_at

DAY = 24 * 3600.0
TASK = Task(id=TaskId("t"), executor="x", args={"a": 1}, inputs=("*.in",), outputs=("out",))


class Upper:
    """Writes the inputs in capitals into ``out``, and counts."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.sessions: list[str] = []
        self.before: Callable[[Session], object] = lambda _: None
        self.result = Result()

    async def open_session(self, session: Session) -> None:
        self.sessions.append("open")

    async def close_session(self, session_id: SessionId) -> None:
        self.sessions.append("close")

    async def execute(self, session: Session, task: Task) -> Result:
        self.ran.append(task.id)
        self.before(session)
        await asyncio.sleep(0)
        texts = [path.read_text().upper() for path in sorted(session.source.glob("*.in"))]
        (session.source / "out").write_text("".join(texts))
        return self.result


class Bench:
    """A cache around `Upper` in a session of its own."""

    def __init__(self, folder: Path, store: Any = None, **options: Any) -> None:
        self.store = store or MemoryCache()
        self.inner = Upper()
        self.options = options
        self.folder = folder
        self.cache = Cache(self.inner, lambda _: self.store, **options)
        self.session = LocalSession(folder)
        self.source = self.session.source

    def write(self, name: str, text: str) -> Path:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, name: str = "out") -> str:
        return (self.source / name).read_text()

    async def run(self, task: Task = TASK) -> Result:
        return await self.cache.execute(self.session, task)

    def why(self, task: Task = TASK) -> tuple[str, ...]:
        decision = self.cache.decision(self.session.id, task.id)
        assert decision is not None
        return (decision.reason, *decision.details)

    def parts(self, task: Task = TASK) -> tuple[str, ...]:
        return self.cache.mismatches(self.session, task)


def run(folder: Path, work: Callable[[Bench], Coroutine[Any, Any, None]], **options: Any) -> Bench:
    bench = Bench(folder, **options)

    async def inside() -> None:
        await bench.cache.open_session(bench.session)
        try:
            await work(bench)
        finally:
            await bench.cache.close_session(bench.session.id)

    asyncio.run(inside())
    return bench


def test_an_unchanged_task_does_not_run(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        assert bench.parts() == PARTS
        bench.inner.result = Result(
            value={"n": 1}, variables={"v": "2"}, followups=(Task(id=TaskId("next")),)
        )
        first = await bench.run()
        assert bench.why() == ("not in the cache",)
        assert bench.parts() == ()
        assert await bench.cache.mismatches(bench.session, TASK) == ()
        assert await bench.run() == first
        assert bench.why() == ("up to date",)
        assert bench.inner.ran == ["t"]

    run(tmp_path, work)


@pytest.mark.parametrize("use", [CacheUse.USE, CacheUse.KEEP])
def test_a_value_that_is_stored_elsewhere_is_refused_and_never_replayed(
    tmp_path: Path, use: CacheUse
) -> None:
    task = replace(TASK, cache=use)

    async def work(bench: Bench) -> None:
        stored = StoredValue(digest="0" * 64, size_bytes=70_000, form=Form.JSON)
        bench.inner.result = Result(value=stored.recorded())
        for _ in range(2):
            with pytest.raises(TaskFailed) as caught:
                await bench.run(task)
            assert caught.value.failure.code == "E_VALUE"
            assert "70000 bytes (json) and is stored by digest" in caught.value.failure.message
            assert bench.cache.at_once(bench.session, task) is None
        assert bench.inner.ran == ["t", "t"]
        assert list(bench.store.items()) == []
        bench.inner.result = Result(value="small")
        await bench.run(task)
        assert bench.why()[0] == (
            "its last attempt did not succeed"
            if use is CacheUse.USE
            else "asked to run, whatever the cache holds"
        )

    run(tmp_path, work)


CHANGES: dict[str, tuple[Callable[[Bench], object], Task, str]] = {
    "executor": (lambda _: None, replace(TASK, executor="y"), 'executor changed from "x" to "y"'),
    "args": (lambda _: None, replace(TASK, args={"a": 2}), 'argument a changed from "1" to "2"'),
    "inputs": (lambda bench: bench.write("b.in", "b"), TASK, "input b.in is new"),
    "input content": (lambda bench: bench.write("a.in", "b"), TASK, "input a.in changed"),
    "env": (
        lambda _: os.environ.update(CACHE_TEST="2"),
        replace(TASK, env=("CACHE_TEST",)),
        'variable CACHE_TEST changed from "1" to "2"',
    ),
    "outputs": (lambda _: None, replace(TASK, outputs=("out", "*.more")), "declared output *.more is new"),
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_makes_it_run_again(tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_TEST", "1")
    change, changed, text = CHANGES[part]
    before = changed if part == "env" else TASK

    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        await bench.run(before)
        bench.why()
        change(bench)
        assert bench.parts(changed) == (part,)
        await bench.run(changed)
        assert bench.why() == (text, text)
        assert bench.parts(changed) == ()
        assert len(bench.inner.ran) == 2

    run(tmp_path, work)


def test_the_right_to_execute_an_input_counts(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        path = bench.write("a.in", "a")
        await bench.run()
        path.chmod(0o755)
        assert bench.parts() == ("input content",)

    run(tmp_path, work)


def test_what_an_engine_sets_does_not_count(tmp_path: Path) -> None:
    def task(run_id: str, cc: str) -> Task:
        return replace(TASK, args={"env": {"RUNWRIGHT_RUN_ID": run_id, "CC": cc}}, env=("RUNWRIGHT_VAR_X",))

    async def work(bench: Bench) -> None:
        await bench.run(task("1", "gcc"))
        assert bench.parts(task("2", "gcc")) == ()
        assert bench.parts(task("1", "clang")) == ("env",)
        named = replace(task("1", "gcc"), args={"env": {"CC": "gcc", "RUNWRIGHT_VAR_X": "1"}})
        assert bench.parts(named) == ("env",)

    run(tmp_path, work)


def test_an_env_that_is_no_table_is_an_argument(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.run(replace(TASK, args={"env": "prod"}))
        assert bench.parts(replace(TASK, args={"env": "test"})) == ("args",)

    run(tmp_path, work)


def test_what_is_configured_for_its_executor_counts(tmp_path: Path) -> None:
    store = MemoryCache()

    async def work(bench: Bench) -> None:
        await bench.run()

    first = run(tmp_path, work, store=store, configured={"x": {"image": "1"}})
    same = run(tmp_path, work, store=store, configured={"x": {"image": "1"}, "y": {}})
    other = run(tmp_path, work, store=store, configured={"x": {"image": "2"}})
    assert [len(bench.inner.ran) for bench in (first, same, other)] == [1, 0, 1]


@pytest.mark.parametrize("harm", ["missing", "altered", "mode", "link", "folder"])
def test_outputs_are_restored_without_a_run(tmp_path: Path, harm: str) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        await bench.run()
        out = bench.source / "out"
        if harm == "altered":
            bench.write("out", "B")
        elif harm == "mode":
            out.chmod(0o600)
        else:
            out.unlink()
        if harm == "link":
            out.symlink_to("a.in")
        if harm == "folder":
            bench.write("out/inside", "x")
        assert bench.parts() == ("outputs",)
        bench.why()
        await bench.run()
        told = {"missing": "is missing", "mode": "has another mode"}.get(harm, "was altered")
        assert bench.why() == ("restored from the cache", f"output out {told}")
        assert bench.inner.ran == ["t"]
        assert not out.is_symlink()
        assert bench.read() == "A"
        assert bench.read("a.in") == "a"

    run(tmp_path, work)


def test_a_former_state_is_restored(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        for text, expected, runs in (("a", "A", 1), ("b", "B", 2), ("a", "A", 2), ("b", "B", 2)):
            bench.write("a.in", text)
            await bench.run()
            assert (bench.read(), len(bench.inner.ran)) == (expected, runs)
        assert bench.why() == ("restored from the cache", "input a.in changed")

    run(tmp_path, work)


def test_an_unchanged_output_needs_no_restoring(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        await bench.run()
        bench.write("a.in", "A")
        await bench.run()
        before = (bench.source / "out").stat().st_mtime_ns
        bench.write("a.in", "a")
        await bench.run()
        assert bench.why() == ("up to date", "input a.in changed")
        assert (bench.source / "out").stat().st_mtime_ns == before

    run(tmp_path, work)


def test_a_failure_is_never_kept(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        def fail(session: Session) -> None:
            raise TaskFailed(Failure(code="E_X", message="no"))

        bench.write("a.in", "a")
        bench.inner.before = fail
        for _ in range(2):
            with pytest.raises(TaskFailed, match="no"):
                await bench.run()
        assert bench.store.entries == {}
        assert bench.parts() == ("outputs",)
        bench.inner.before = lambda _: None
        await bench.run()
        assert bench.why() == ("its last attempt did not succeed",)
        assert bench.inner.ran == ["t"] * 3

    run(tmp_path, work)


def test_what_failed_after_a_success_does_not_pass_for_it(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        await bench.run()

        def spoil(session: Session) -> None:
            bench.write("out", "half")
            raise TaskFailed(Failure(code="E_X", message="no"))

        bench.inner.before = spoil
        bench.write("a.in", "b")
        with pytest.raises(TaskFailed):
            await bench.run()
        bench.write("a.in", "a")
        assert bench.parts() == ("outputs",)
        await bench.run()
        assert bench.read() == "A"

    run(tmp_path, work)


def test_cancellation_at_every_await_keeps_nothing_wrong(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        for number in range(20):
            bench.write("a.in", f"text{number}")
            reached, task = cancelled_at(number, bench.run())
            await asyncio.wait([task])
            await bench.run()
            assert bench.read() == f"TEXT{number}"
            if not reached():
                return
        raise AssertionError("it waits too often")

    run(tmp_path, work)


def test_an_input_that_changes_meanwhile_keeps_nothing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        bench.inner.before = lambda _: bench.write("a.in", "b")
        await bench.run()
        assert bench.why() == ("not in the cache; not kept: input a.in changed while it ran",)
        assert bench.store.entries == {}

    run(tmp_path, work)


def test_an_output_that_is_not_made_fails_the_task(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(TaskFailed, match='did not make its output "none" and 1 more') as caught:
            await bench.run(replace(TASK, outputs=("none", "out", "nope")))
        assert caught.value.failure.code == "E_OUTPUT"
        bench.inner.result = Result(outputs=("lost",))
        with pytest.raises(TaskFailed, match='named the output "lost"'):
            await bench.run()
        assert bench.store.entries == {}

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (("../out",), "leads out of"),
        (("/out",), "is absolute"),
        (("a/..",), "as a whole"),
        ((".runwright/x",), "is not for tasks"),
        (("link/out",), "leads out of the tree by a link"),
        (("a.in",), '"a.in" is an input and an output'),
        (("*.in",), '"a.in" is an input and an output'),
    ],
)
def test_outputs_that_would_do_harm_are_refused(
    tmp_path: Path, outputs: tuple[str, ...], message: str
) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        (bench.source / "link").symlink_to(tmp_path)
        with pytest.raises(TaskFailed, match=message) as caught:
            await bench.run(replace(TASK, outputs=outputs))
        assert caught.value.failure.code == "E_CACHE"
        assert bench.inner.ran == []
        assert bench.read("a.in") == "a"

    run(tmp_path, work)


def test_an_output_that_its_own_inputs_match_is_refused_after_the_first_run(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(TaskFailed, match='take it out of the inputs with "!out"'):
            await bench.run(replace(TASK, inputs=("*",)))
        (bench.source / "out").unlink()
        await bench.run(replace(TASK, inputs=("*", "!out")))

    run(tmp_path, work)


def test_what_is_made_is_removed_before_the_next_run(tmp_path: Path) -> None:
    task = replace(TASK, outputs=("out", "many/*", "whole"))

    async def work(bench: Bench) -> None:
        def make(session: Session) -> None:
            for text in bench.read("a.in"):
                bench.write(f"many/{text}", text)
                bench.write(f"whole/{text}/x", text)
            (bench.source / "whole").mkdir(exist_ok=True)
            (bench.source / "whole" / "link").symlink_to("nowhere")

        def made() -> set[str]:
            folders = [bench.source / name for name in ("many", "whole")]
            return {str(path.relative_to(bench.source)) for one in folders for path in one.rglob("*")}

        bench.inner.before = make
        bench.write("many/precious", "x")
        bench.write("a.in", "ab")
        await bench.run(task)
        two = made()
        assert "many/precious" in two
        bench.write("a.in", "b")
        await bench.run(task)
        one = {"many/b", "whole/b", "whole/b/x", "whole/link"}
        assert made() == one
        bench.write("a.in", "ab")
        await bench.run(task)
        assert made() == two
        bench.write("a.in", "b")
        await bench.run(task)
        assert made() == one
        bench.write("whole/b/extra", "x")
        assert bench.parts(task) == ("outputs",)
        await bench.run(task)
        assert made() == one
        assert len(bench.inner.ran) == 2

    run(tmp_path, work)


@pytest.mark.parametrize("harm", ["missing", "other", "file"])
def test_links_are_restored_as_links(tmp_path: Path, harm: str) -> None:
    async def work(bench: Bench) -> None:
        link = bench.source / "link"
        bench.inner.before = lambda _: link.symlink_to("out")
        task = replace(TASK, outputs=("out", "link"))
        await bench.run(task)
        link.unlink()
        if harm == "other":
            link.symlink_to("elsewhere")
        elif harm == "file":
            link.write_text("x")
        assert bench.parts(task) == ("outputs",)
        await bench.run(task)
        assert str(link.readlink()) == "out"
        assert len(bench.inner.ran) == 1

    run(tmp_path, work)


def test_what_was_there_before_is_nobody_s_to_remove(tmp_path: Path) -> None:
    """A directory becomes an output, in this tree or in one that shares the cache: what is in it stays."""
    task = replace(TASK, outputs=("out", "whole"))
    store = MemoryCache()

    async def first(bench: Bench) -> None:
        bench.inner.before = lambda _: bench.write("whole/made", "made")
        await bench.run()
        bench.write("whole/precious", "mine")
        await bench.run(task)
        assert bench.read("whole/precious") == "mine"

    async def second(bench: Bench) -> None:
        bench.inner.before = lambda _: bench.write("whole/made", "made")
        bench.write("whole/other", "mine")
        bench.write("out", "")
        await bench.run(task)
        assert bench.read("whole/other") == "mine"
        assert bench.parts(task) == ()

    for name, work in (("one", first), ("two", second)):
        (tmp_path / name).mkdir()
        run(tmp_path / name, work, store=store)


def test_a_value_that_is_not_plain_is_no_secret_either(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.session = LocalSession(tmp_path, secrets=("s3cret-word",))
    bench.inner.result = Result(value=object())

    async def work() -> None:
        await bench.cache.open_session(bench.session)
        await bench.run()
        assert "not kept: " in bench.why()[0]
        await bench.cache.close_session(bench.session.id)

    asyncio.run(work())


def test_outputs_in_the_task_s_own_directory_are_kept_too(tmp_path: Path) -> None:
    store = MemoryCache()

    async def work(bench: Bench) -> None:
        def make(session: Session) -> None:
            (session.output_dir(TASK.id) / "own").write_text("mine")

        bench.inner.before, bench.inner.result = make, Result(outputs=("own",))
        result = await bench.run()
        assert result.outputs == ("own",)
        own = bench.session.output_dir(TASK.id) / "own"
        assert own.read_text() == "mine"
        own.unlink()
        assert bench.parts() == ("outputs",)
        await bench.run()
        assert own.read_text() == "mine"

    assert run(tmp_path, work, store=store).inner.ran == ["t"]
    assert run(tmp_path, work, store=store).inner.ran == []


@pytest.mark.parametrize("lose", ["blob", "entry"])
def test_what_the_cache_has_lost_is_made_again(tmp_path: Path, lose: str) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        await bench.run()
        bench.store.blobs.clear()
        if lose == "entry":
            bench.store.entries.clear()
        assert await bench.run() is not None
        assert len(bench.inner.ran) == 1
        (bench.source / "out").unlink()
        bench.why()
        await bench.run()
        assert bench.why()[1:] == ("output out is missing", "the cache has lost what it was")
        assert bench.read() == "A"
        (bench.source / "out").unlink()
        await bench.run()
        assert len(bench.inner.ran) == 2

    run(tmp_path, work)


def test_damaged_content_is_made_again(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        await bench.run()
        for digest in bench.store.blobs:
            bench.store.blobs[digest] = b"wrong"
        (bench.source / "out").unlink()
        await bench.run()
        assert (bench.read(), len(bench.inner.ran)) == ("A", 2)

    run(tmp_path, work)


def test_a_forced_task_runs_and_is_kept(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.run()
        bench.why()
        await bench.run(replace(TASK, cache=CacheUse.KEEP))
        assert bench.why() == ("asked to run, whatever the cache holds",)
        await bench.run()
        assert len(bench.inner.ran) == 2

    run(tmp_path, work)


def test_a_task_that_must_not_be_cached_passes_through(tmp_path: Path) -> None:
    task = replace(TASK, cache=CacheUse.OFF)

    async def work(bench: Bench) -> None:
        await bench.run(task)
        await bench.run(task)
        assert len(bench.inner.ran) == 2
        assert bench.store.entries == {}
        assert bench.cache.decision(bench.session.id, task.id) is None
        assert bench.cache.at_once(bench.session, task) is None

    run(tmp_path, work)


def test_arguments_that_are_not_plain_are_not_cached(tmp_path: Path) -> None:
    task = replace(TASK, args={"a": object()})

    async def work(bench: Bench) -> None:
        await bench.run(task)
        await bench.run(task)
        assert bench.why() == ("not cached: object is not plain data",)
        assert len(bench.inner.ran) == 2
        assert bench.cache.at_once(bench.session, task) is None

    run(tmp_path, work)


def test_a_value_that_is_not_plain_is_not_kept(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.inner.result = Result(value=object())
        await bench.run()
        assert "not kept: " in bench.why()[0]
        assert bench.store.entries == {}

    run(tmp_path, work)


def test_a_store_that_can_not_be_written_is_told_and_harms_nothing(tmp_path: Path) -> None:
    class Full(MemoryCache):
        def keep_file(self, path: Path) -> tuple[str, int]:
            raise StoreError("can't write to the cache at /x: no space left")

    async def work(bench: Bench) -> None:
        await bench.run()
        assert bench.why()[0].endswith("not kept: can't write to the cache at /x: no space left")
        assert bench.read() == ""

    run(tmp_path, work, store=Full())


def test_a_result_that_holds_a_secret_is_not_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.session = LocalSession(tmp_path, secrets=("s3cret-word",))

    async def work() -> None:
        await bench.cache.open_session(bench.session)
        bench.inner.result = Result(value="it is s3cret-word")
        await bench.run()
        assert bench.why() == ("not in the cache; not kept: its result holds a secret",)
        assert bench.store.entries == {}
        bench.inner.result = Result(value="harmless")
        task = replace(TASK, args={"p": "s3cret-word"})
        await bench.run(task)
        assert len(bench.store.entries) == 1
        assert not any(b"s3cret" in data for data in bench.store.entries.values())
        await bench.cache.close_session(bench.session.id)

    asyncio.run(work())


def test_one_makes_it_and_the_others_find_it(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        tasks = [replace(TASK, id=TaskId(f"t{number}")) for number in range(5)]
        await asyncio.gather(*map(bench.run, tasks))
        assert len(bench.inner.ran) == 1
        assert sorted(bench.why(task)[0] for task in tasks) == ["not in the cache"] + ["up to date"] * 4

    run(tmp_path, work)


def test_the_next_one_tries_if_the_first_failed(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        def fail_once(session: Session) -> None:
            if len(bench.inner.ran) == 1:
                raise TaskFailed(Failure(code="E_X", message="no"))

        bench.inner.before = fail_once
        found = await asyncio.gather(*(bench.run() for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [TaskFailed, Result, Result]
        assert len(bench.inner.ran) == 2

    run(tmp_path, work)


def test_a_cache_in_a_cache_does_not_wait_for_itself(tmp_path: Path) -> None:
    async def work() -> None:
        store, inner, session = MemoryCache(), Upper(), LocalSession(tmp_path)
        cache = Cache(Cache(inner, lambda _: store), lambda _: store)
        await cache.open_session(session)
        await asyncio.wait_for(cache.execute(session, TASK), 30)
        await cache.execute(session, TASK)
        await cache.close_session(session.id)
        assert len(inner.ran) == 1

    asyncio.run(work())


def test_a_store_that_can_not_be_opened_closes_what_is_below(tmp_path: Path) -> None:
    def fails(session: Session) -> Any:
        raise StoreError("no")

    inner = Upper()
    with pytest.raises(StoreError):
        asyncio.run(Cache(inner, fails).open_session(LocalSession(tmp_path)))
    assert inner.sessions == ["open", "close"]


def test_at_once_says_what_is_up_to_date_and_nothing_else(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        assert isinstance(bench.cache, Reuse)
        path = bench.write("a.in", "a")

        def at_once() -> Result | None:
            return bench.cache.at_once(bench.session, TASK)

        assert at_once() is None
        bench.inner.result = Result(value=3)
        await bench.run()
        bench.why()
        with bench.cache.sweep():
            assert at_once() == at_once() == Result(value=3)
            bench.write("a.in", "b")
            assert at_once() == Result(value=3)
        assert bench.why() == ("up to date",)
        assert at_once() is None
        bench.write("a.in", "a")
        assert at_once() is not None
        bench.write("out", "B")
        assert at_once() is None
        bench.write("out", "A")
        path.unlink()
        path.mkdir()
        assert at_once() is None
        assert bench.cache.at_once(LocalSession(tmp_path), TASK) is None

    run(tmp_path, work)


def test_large_files_are_for_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runwright.executors.cache.IN_PASSING_BYTES", 10)
    monkeypatch.setattr(cache_threads, "IN_PASSING_BYTES", 10)
    monkeypatch.setattr("runwright.executors.cache_tree.LARGE_BYTES", 10)

    async def work(bench: Bench) -> None:
        bench.write("a.in", "a" * 20)
        await bench.run()
        bench.write("a.in", "b" * 20)
        assert bench.cache.at_once(bench.session, TASK) is None
        await bench.run()
        bench.write("a.in", "a" * 20)
        await bench.run()
        assert (bench.read(), len(bench.inner.ran)) == ("A" * 20, 2)

    run(tmp_path, work)


def test_a_cancellation_waits_for_the_thread() -> None:
    from threading import Event

    begun, go, ended = Event(), Event(), []

    def slow() -> None:
        begun.set()
        go.wait(30)
        ended.append(1)

    async def work() -> None:
        task = asyncio.ensure_future(cache_threads.in_thread(slow, large=True))
        await asyncio.to_thread(begun.wait, 30)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go.set()
        await asyncio.wait([task])
        assert (task.cancelled(), ended) == (True, [1])

    asyncio.run(work())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_input_that_can_not_be_read_fails_the_task(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.write("a.in", "a").chmod(0)
        with pytest.raises(TaskFailed, match=r"a\.in: Permission denied"):
            await bench.run()

    run(tmp_path, work)


def test_what_goes_wrong_with_files_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> str:
        raise OSError(5, "Input/output error", "/x/a.in")

    monkeypatch.setattr(Files, "_read", fails)

    async def work(bench: Bench) -> None:
        bench.write("a.in", "a")
        with pytest.raises(TaskFailed, match=r"/x/a\.in: Input/output error"):
            await bench.run()
        assert bench.inner.ran == []

    run(tmp_path, work)


def test_an_entry_in_use_does_not_grow_old(tmp_path: Path) -> None:
    used: list[str] = []

    class Watched(MemoryCache):
        def used(self, entry: Any, now: float) -> None:
            used.append(entry.task_id)

    async def work(bench: Bench) -> None:
        await bench.run()
        await bench.run()
        assert used == []
        bench.cache._trees[bench.session.id]._now = time.time() + 2 * DAY
        await bench.run()
        assert bench.cache.at_once(bench.session, TASK) is not None
        assert used == ["t", "t"]

    run(tmp_path, work, store=Watched())


# -- files -----------------------------------------------------------------------------------------------------


def old(path: Path) -> None:
    """Let a file look as if it had been written a while ago, to the nanosecond."""
    then = time.time_ns() - 10_000_000_001
    os.utime(path, ns=(then, then))


class Reads:
    """Counts how often files are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        real = Files._read

        def read(files: Files, path: str) -> str:
            self.paths.append(path)
            return real(files, path)

        monkeypatch.setattr(Files, "_read", read)


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch)
    (tmp_path / "a").write_text("a")
    marks: dict[str, Any] = {}
    files = Files(str(tmp_path), marks)
    first = files.mark("a", Budget(100))
    deadline = time.monotonic() + 30
    while not marks and time.monotonic() < deadline:  # until it is old enough to be trusted
        assert files.mark("a", Budget(100)) == first
    assert len(reads.paths) >= 2
    reads.paths.clear()
    assert files.mark("a", Budget(0)) == first
    assert reads.paths == []
    (tmp_path / "a").write_text("b")
    assert files.mark("a", Budget(100)) != first


def test_a_file_that_may_still_change_unseen_is_read_again(tmp_path: Path) -> None:
    """The control: with no slack a change within one tick of the clock would not be seen."""
    path = tmp_path / "a"
    path.write_text("a")
    files = Files(str(tmp_path), marks := {})
    files.mark("a", Budget(100))
    assert marks == {}
    coarse = 10**18
    os.utime(path, ns=(coarse, coarse))
    status = path.stat()
    now = max(status.st_mtime_ns, status.st_ctime_ns)
    assert cache_files._is_racy(status, now + 1_000_000_000)
    assert not cache_files._is_racy(status, now + 3_000_000_000)
    old(path)
    status = path.stat()
    assert not cache_files._is_racy(status, status.st_ctime_ns + 30_000_000)
    assert cache_files._is_racy(status, status.st_ctime_ns + 1)


def test_patterns(tmp_path: Path) -> None:
    for name in ("a.c", "b.c", "d/c.c", "d/e/f.c", ".hidden.c", ".runwright/x.c", "odd[1].c"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "dangling.c").symlink_to("none")
    os.mkfifo(tmp_path / "pipe.c")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_text("x")

    def matched(*patterns: str) -> set[str]:
        return set(Files(str(tmp_path), {}).matches(patterns, Budget(1000)))

    assert matched("*.c") == {"a.c", "b.c", "odd[1].c", "pipe.c"}
    assert matched("**/*.c", "!odd*") == {"a.c", "b.c", "d/c.c", "d/e/f.c", "pipe.c"}
    assert matched("**/*.c", "!d", "!*.c") == set()
    assert matched("d") == {"d/c.c", "d/e/f.c"}
    assert matched("d/") == {"d/c.c", "d/e/f.c"}
    assert matched("d*") == set()
    assert matched("none", "a.c/x", "dangling.c") == set()
    assert matched("odd[[]1].c") == {"odd[1].c"}
    assert matched(".hidden.c", "a.c", "!a.c") == {".hidden.c"}
    assert matched(str(outside)) == {str(outside)}


def test_a_budget_is_for_all_files_together(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("12345")
    files = Files(str(tmp_path), {})
    assert len(files.matches(["a", "b"], Budget(10))) == 2
    with pytest.raises(TooMuch):
        files.matches(["a", "b"], Budget(9))


def test_special_files_are_neither_read_nor_kept(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.inner.before = lambda _: os.mkfifo(bench.source / "made.pipe")
        task = replace(TASK, outputs=("out", "made.*"))
        await bench.run(task)
        (entry,) = (bench.store.entry(key) for key in bench.store.entries)
        assert [output.path for output in entry.outputs] == ["out"]

    run(tmp_path, work)


def test_modes_of_directories_come_last(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        def make(session: Session) -> None:
            bench.write("dir/x", "x")
            (bench.source / "dir").chmod(0o555)

        bench.inner.before = make
        task = replace(TASK, outputs=("dir",))
        await bench.run(task)
        (bench.source / "dir").chmod(0o755)
        (bench.source / "dir" / "x").unlink()
        (bench.source / "dir").rmdir()
        await bench.run(task)
        assert (bench.source / "dir").stat().st_mode & 0o777 == 0o555
        assert len(bench.inner.ran) == 1
        (bench.source / "dir").chmod(0o755)

    run(tmp_path, work)


def test_the_public_cache_finds_its_store(tmp_path: Path) -> None:
    from runwright import Cache as PublicCache

    async def twice(store: Any, folder: Path) -> int:
        inner, session = Upper(), LocalSession(folder)
        for _ in range(2):
            cache = PublicCache(inner, store=store)
            await cache.open_session(session)
            await cache.execute(session, TASK)
            await cache.close_session(session.id)
        return len(inner.ran)

    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert asyncio.run(twice(None, one)) == 1
    assert (one / "source" / ".runwright" / "cache" / "entries").is_dir()
    assert asyncio.run(twice(str(tmp_path / "team"), one)) == 1
    assert asyncio.run(twice(tmp_path / "team", two)) == 0
    assert asyncio.run(twice(MemoryCache(), two)) == 1


def test_a_session_that_is_not_open_is_refused(tmp_path: Path) -> None:
    cache, session = Cache(Upper(), lambda _: MemoryCache()), LocalSession(tmp_path)
    with pytest.raises(UnopenedSession):
        asyncio.run(cache.execute(session, TASK))
    with pytest.raises(UnopenedSession):
        cache.mismatches(session, TASK)
