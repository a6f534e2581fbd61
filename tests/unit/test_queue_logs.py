"""Logs of jobs: read, and followed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from queue_bench import Bench

from runwright.core.errors import JobNotFound
from runwright.core.job_rows import JobLease, Verdict
from runwright.core.job_wire import ExecutionLogEntry
from runwright.core.states import JobState
from runwright.engines import job_logs
from runwright.engines.job_logs import EndNews, EntryNews, News, OutNews


async def entry(bench: Bench, lease: JobLease, out: str, key: str = "step.docker.0") -> int:
    number = await bench.queue.add_entry(lease, ExecutionLogEntry(key=key, command=("sh", "a\0b")))
    await bench.queue.update_entry(lease, number, ExecutionLogEntry(key=key, out=out))
    return number


async def leased(bench: Bench, **more: object) -> JobLease:
    given = await bench.given() if more.pop("again", False) else None
    if given is None:
        await bench.submit(**more)
        given = await bench.given()
    return JobLease(given.job.id, given.attempt)


def test_the_log_of_the_newest_attempt_is_read_unless_another_is_asked_for() -> None:
    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        job_id = lease.job_id
        assert await bench.queue.log(job_id) == []
        await entry(bench, lease, "one")
        await bench.queue.finish(lease, Verdict.HANDED_BACK)
        second = await leased(bench, again=True)
        await entry(bench, second, "two")
        await entry(bench, second, "three", "step.docker.1")
        assert [view.out for view in await bench.queue.log(job_id)] == ["two", "three"]
        assert [view.out for view in await bench.queue.log(job_id, 1)] == ["one"]
        assert [view.attempt for view in await bench.queue.log(job_id, 0)] == [1, 2, 2]
        assert await bench.queue.log(job_id, 7) == []
        with pytest.raises(JobNotFound):
            await bench.queue.log(99)

    Bench().run(main)


def test_a_log_is_cut_to_its_end_between_characters() -> None:
    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        await entry(bench, lease, "aäöü")
        for tail, out in ((6, "äöü"), (5, "öü"), (4, "öü"), (1, ""), (0, "")):
            (view,) = await bench.queue.log(lease.job_id, tail=tail)
            assert (view.out, view.truncated, view.size_bytes) == (out, True, 7)
        (view,) = await bench.queue.log(lease.job_id, tail=7)
        assert (view.out, view.truncated) == ("aäöü", False)

    Bench().run(main)


def test_an_answer_holds_the_newest_entries_wholly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_logs, "LOG_BYTES", 8)

    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        for out in ("aaaaa", "bbbbb", "ccccc"):
            await entry(bench, lease, out, out)
        views = await bench.queue.log(lease.job_id)
        assert [(view.out, view.truncated) for view in views] == [
            ("", True),
            ("bbb", True),
            ("ccccc", False),
        ]

    Bench().run(main)


def test_what_cannot_be_kept_of_an_entry_is_replaced() -> None:
    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        await entry(bench, lease, "a\0b")
        (view,) = await bench.queue.log(lease.job_id)
        assert view.out == "a\0b"

    Bench().run(main)


async def gather(news: AsyncIterator[News]) -> list[News]:
    return [one async for one in news]


def texts(news: list[News]) -> str:
    return "".join(one.out for one in news if isinstance(one, OutNews))


def test_a_log_is_followed_to_the_end_of_its_job() -> None:
    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        following = asyncio.ensure_future(gather(bench.queue.follow(lease.job_id)))
        number = await entry(bench, lease, "first ")
        await asyncio.sleep(0.1)
        body = ExecutionLogEntry(key="step.docker.0", out="second", exit_code=3, duration_ms=7)
        await bench.queue.update_entry(lease, number, body, 6)
        await asyncio.sleep(0.1)
        await bench.queue.finish(lease, Verdict.FAILED, "it broke")
        found = await following
        kinds = [type(one) for one in found]
        assert kinds == [EntryNews, OutNews, OutNews, EntryNews, EndNews]
        assert texts(found) == "first second"
        begun, ended, end = found[0], found[3], found[4]
        assert isinstance(begun, EntryNews)
        assert begun.exit_code is None
        assert isinstance(ended, EntryNews)
        assert (ended.exit_code, ended.duration_ms) == (3, 7)
        assert end == EndNews(state=JobState.FAILED, attempt=1, message="it broke")
        assert bench.clock.monotonic() < 0.5
        assert not bench.queue._logs._bells

    Bench().run(main)


def test_what_another_server_adds_is_seen_within_a_second() -> None:
    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        following = asyncio.ensure_future(gather(bench.queue.follow(lease.job_id)))
        await asyncio.sleep(0.1)
        other = Bench(store=bench.store)
        await entry(other, lease, "from afar")
        await other.queue.finish(lease, Verdict.COMPLETED)
        assert texts(await following) == "from afar"
        assert bench.clock.monotonic() == 1

    Bench().run(main)


def test_characters_are_whole_however_output_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_logs, "CHUNK_BYTES", 2)

    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        await entry(bench, lease, "a€b😀c")
        await bench.queue.finish(lease, Verdict.COMPLETED)
        found = await gather(bench.queue.follow(lease.job_id))
        pieces = [one for one in found if isinstance(one, OutNews)]
        assert "".join(one.out for one in pieces) == "a€b😀c"
        whole = "a€b😀c".encode()
        for one in pieces:
            assert whole[one.offset :].startswith(one.out.encode())

    Bench().run(main)


def test_the_attempts_that_are_asked_for_are_followed() -> None:
    async def main(bench: Bench) -> None:
        first = await leased(bench)
        await entry(bench, first, "one ")
        await bench.queue.finish(first, Verdict.HANDED_BACK)
        second = await leased(bench, again=True)
        await entry(bench, second, "two ")
        newest = asyncio.ensure_future(gather(bench.queue.follow(first.job_id)))
        assert texts(await gather(bench.queue.follow(first.job_id, 1))) == "one "
        await asyncio.sleep(0.1)
        await bench.queue.finish(second, Verdict.HANDED_BACK)
        third = await leased(bench, again=True)
        await entry(bench, third, "three")
        await bench.queue.finish(third, Verdict.COMPLETED)
        assert texts(await newest) == "two three"
        assert texts(await gather(bench.queue.follow(first.job_id, 0))) == "one two three"
        with pytest.raises(JobNotFound):
            await gather(bench.queue.follow(99))

    Bench().run(main)


def test_closing_ends_what_is_followed() -> None:
    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        both = [asyncio.ensure_future(gather(bench.queue.follow(lease.job_id))) for _ in range(2)]
        await asyncio.sleep(0.1)
        bench.queue.close()
        for found in await asyncio.gather(*both):
            assert found == [EndNews(state=JobState.PROCESSING, attempt=1, message="")]
        assert bench.clock.monotonic() < 0.2
        assert not bench.queue._logs._bells

    Bench().run(main)


def test_output_that_is_gone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(bench: Bench) -> None:
        lease = await leased(bench)
        await entry(bench, lease, "something")
        await bench.queue.finish(lease, Verdict.COMPLETED)

        async def nothing(*_: object) -> bytes:
            return b""

        monkeypatch.setattr(bench.store, "output", nothing)
        found = await gather(bench.queue.follow(lease.job_id))
        assert [type(one) for one in found] == [EntryNews, EndNews]

    Bench().run(main)
