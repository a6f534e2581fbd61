"""A job from its document to its end, after which nothing of it is left."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from runwright.core.errors import Problem, TaskFailed
from runwright.core.job_check import check_job
from runwright.core.job_rows import MAX_JOB_OUTPUT_BYTES, Verdict
from runwright.engines.endings import settled
from runwright.engines.job_log import JobLog, LogDoors
from runwright.engines.job_tools import JobTools, failed, redactor_of
from runwright.engines.job_work import JobWork
from runwright.ports.jobs import GivenJob, JobPlace, OnOutput
from runwright.ports.system import Exit

OUTPUT_SHARES = 4
"""How many times as much output is kept of all steps as of one, and of all attempts at most as of one attempt."""

TEARDOWN_SECONDS = 60.0
"""How long taking a job down may take."""

ROOM_SECONDS = 30.0
"""How much of that is for its room."""

FLUSH_SECONDS = 5.0
"""How long it may take to send the rest of the log of a job that was stopped."""

MOST_TOLD = 10
"""Faults of a job that its verdict tells."""

FINAL = frozenset({"E_JOB", "E_PATH", "E_ARGS", "E_REPOSITORY"})
"""Failures that another attempt would meet as well."""


class JobEnd(Struct, frozen=True):
    """How a job ended, for the server.

    Attributes:
        verdict: What to say.
        message: Why, redacted.
    """

    verdict: Verdict
    message: str = ""


async def run_job(given: GivenJob, tools: JobTools) -> JobEnd:
    """Run a job to its end; when this returns or raises, nothing of it is left on the machine.

    Cancelling it stops the job, takes it down and sends what is left of its log, all in bounded time.

    Raises:
        LeaseLost: If the server takes nothing more of this attempt.
    """
    return await _JobRun(given, tools).run()


class _JobRun:
    """One attempt at a job."""

    def __init__(self, given: GivenJob, tools: JobTools) -> None:
        self._given = given
        self._tools = tools
        self._log = JobLog(given, _log_doors(given, tools))
        self._place: JobPlace | None = None
        self._work: JobWork | None = None

    async def run(self) -> JobEnd:
        """Run it."""
        shipping = asyncio.ensure_future(self._log.ship())
        body = asyncio.ensure_future(self._body())
        shipping.add_done_callback(lambda _: body.cancel())  # nobody takes the log: the lease has passed on
        try:
            end = await body
        except BaseException:
            await self._flush(shipping, FLUSH_SECONDS)
            raise
        await self._flush(shipping, None)
        if self._log.refusal and end.verdict is Verdict.COMPLETED:
            message = f"the server did not take all of the log: {self._log.refusal}"
            return JobEnd(Verdict.ERRORED, self._log.redacted(message))
        return end

    async def _flush(self, shipping: "asyncio.Future[None]", seconds: float | None) -> None:
        """Send the rest of the log; what kept it from being taken comes out."""
        self._log.close()
        try:
            await settled(shipping, seconds, FLUSH_SECONDS)
        finally:
            self._log.free()
        if not shipping.cancelled():
            shipping.result()

    async def _body(self) -> JobEnd:
        try:
            await self._do()
            return JobEnd(Verdict.COMPLETED)
        except TaskFailed as error:
            verdict = Verdict.FAILED if error.failure.code in FINAL else Verdict.ERRORED
            return JobEnd(verdict, self._log.redacted(error.failure.message))
        finally:
            if self._work is not None:
                taking = asyncio.ensure_future(self._log.last_entry("teardown.fs", (), self._take_down))
                await settled(taking, TEARDOWN_SECONDS, TEARDOWN_SECONDS)

    async def _do(self) -> None:
        if problems := check_job(self._given.job):
            raise failed("E_JOB", _told(problems))
        settings = self._tools.settings
        self._place = self._tools.places.make(self._given, settings.limits, settings.kill_grace)
        self._work = JobWork(self._given.job, self._place, self._tools, self._log)
        await self._work.do()

    async def _take_down(self, on_output: OnOutput) -> Exit:
        """Take down the room and remove the place; tells truly whether that succeeded."""
        assert self._place is not None
        left = await self._without_room()
        left += await self._tools.places.remove(self._place)
        for line in left:
            on_output("stderr", f"{line}\n".encode("utf-8", "replace"))
        return Exit(code=1 if left else 0)

    async def _without_room(self) -> list[str]:
        assert self._work is not None
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                await self._work.close_room()
        except TimeoutError:
            return [f"the room was not down within {ROOM_SECONDS:g} s"]
        except TaskFailed as error:
            return [error.failure.message]
        return []


def _log_doors(given: GivenJob, tools: JobTools) -> LogDoors:
    settings = tools.settings
    return LogDoors(
        source=tools.source,
        spool=tools.places.spool,
        clock=tools.clock,
        draw=tools.draw,
        redactor=redactor_of(given.job, settings),
        entry_bytes=settings.output_bytes,
        job_bytes=min(OUTPUT_SHARES * settings.output_bytes, MAX_JOB_OUTPUT_BYTES // OUTPUT_SHARES),
    )


def _told(problems: Sequence[Problem]) -> str:
    """Return what is wrong with a job in one text."""
    told = [
        f"{'.'.join(str(part) for part in problem.path)}: {problem.message}"
        for problem in problems[:MOST_TOLD]
    ]
    more = len(problems) - len(told)
    return "; ".join([*told, f"and {more} more"] if more else told)
