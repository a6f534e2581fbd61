"""Gives jobs to workers: one at a time, to one that still listens."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from msgspec import structs

from runwright.core.errors import DefinitionError, Problem, RunwrightError, StoreError
from runwright.core.job_requests import dequeue_problems
from runwright.core.job_rows import Claim, Claimed, Ending, Verdict
from runwright.core.job_wire import DequeueRequest
from runwright.core.tokens import digest_of
from runwright.engines.submission import opened_job
from runwright.engines.token_book import LeaseHolder, TokenBook
from runwright.ports.jobs import GivenJob, JobStore
from runwright.ports.sealing import Sealer
from runwright.ports.system import Clock

LONGEST_WAIT = 60.0
"""Seconds that a dequeue may wait for a job."""

LOOK_SECONDS = 5.0
"""How often a dequeue that waits looks by itself, should the store's bell not have rung."""


class HandOut:
    """Gives jobs to workers.

    Args:
        store: Where the jobs are.
        clock: Time, of a kind that never goes back.
        sealer: Opens jobs with secrets.
        new_token: Returns a fresh random token for a lease.
        tokens: Told whom each token is given to.
        lease_seconds: How long a lease holds after a heartbeat; half as long before the first.
        on_error: Told of jobs that can't be opened.
    """

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        sealer: Sealer | None,
        new_token: Callable[[], str],
        tokens: TokenBook,
        lease_seconds: float,
        on_error: Callable[[RunwrightError], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._new_token = new_token
        self._tokens = tokens
        self._lease_seconds = lease_seconds
        self._on_error = on_error
        self._bells: set[asyncio.Task[bool]] = set()
        self._turn = 0
        self._is_closing = False

    async def dequeue(self, ask: DequeueRequest, queue: str = "", token_id: int = 0) -> GivenJob | None:
        """Give a worker a job; waits for one as long as it allows, `LONGEST_WAIT` at most.

        Args:
            ask: What the worker says.
            queue: Where to look; empty for the queues that `ask` names.
            token_id: Of the worker's own token.

        Raises:
            DefinitionError: With everything that is wrong with the request.
        """
        refuse(dequeue_problems(ask, (queue,) if queue else ask.queues))
        until = self._clock.monotonic() + min(ask.wait_seconds, LONGEST_WAIT)
        given = await self._take(ask, queue, token_id)
        while given is None and not self._is_closing and (left := until - self._clock.monotonic()) > 0:
            given = await self._take_later(ask, queue, token_id, min(left, LOOK_SECONDS))
        return given

    async def _take_later(
        self, ask: DequeueRequest, queue: str, token_id: int, seconds: float
    ) -> GivenJob | None:
        """Listen for the store's bell, look once more, and wait; the bell is heard from before the look on."""
        queues = (queue,) if queue else ask.queues
        bell = asyncio.ensure_future(self._store.wait(queues, seconds))
        self._bells.add(bell)
        try:
            given = await self._take(ask, queue, token_id)
            if given is None:
                await asyncio.wait({bell})
                if not bell.cancelled():
                    bell.result()
            return given
        finally:
            self._bells.discard(bell)
            bell.cancel()

    async def _take(self, ask: DequeueRequest, queue: str, token_id: int) -> GivenJob | None:
        """Return the next job that can be read; one that can't be has failed."""
        queues = (queue,) if queue else self._in_turn(ask.queues)
        while queues:
            token = self._new_token()
            claim = Claim(
                queues=queues,
                worker=ask.executor_name,
                digests=(digest_of(token),),
                boot_id=ask.boot_id,
                token_id=token_id,
                labels=ask.labels,
                lease_seconds=self._lease_seconds,
                first_seconds=self._lease_seconds / 2,
            )
            claimed = await self._claimed(claim)
            if claimed is None:
                return None
            if (given := await self._given(claimed, token, is_named=not queue)) is not None:
                self._tokens.remember(token, LeaseHolder(claimed.lease, claimed.queue, ask.executor_name))
                return given
        return None

    def _in_turn(self, queues: Sequence[str]) -> tuple[str, ...]:
        """Return queues in an order that begins with another one each time, so that none starves."""
        unique = tuple(dict.fromkeys(queues))
        self._turn += 1
        at = self._turn % len(unique) if unique else 0
        return unique[at:] + unique[:at]

    async def _claimed(self, claim: Claim) -> Claimed | None:
        """Claim a job; if the caller has gone away meanwhile, give it back."""
        asking = asyncio.ensure_future(self._store.exchange((), claim, self._clock.now()))
        try:
            _, found = await asyncio.shield(asking)
        except asyncio.CancelledError:
            with suppress(StoreError):
                _, found = await asking
                await self._give_back(found)
            raise
        return found[0] if found else None

    async def _give_back(self, found: Sequence[Claimed]) -> None:
        reason = "the worker went away before it got the job"
        back = [Ending(lease=one.lease, verdict=Verdict.HANDED_BACK, message=reason) for one in found]
        await self._store.exchange(back, None, self._clock.now())

    async def _given(self, claimed: Claimed, token: str, *, is_named: bool) -> GivenJob | None:
        try:
            job = opened_job(claimed.payload, self._sealer, is_sealed=claimed.sealed)
        except RunwrightError as error:
            await self._unreadable(claimed, error)
            return None
        name = claimed.queue if is_named else ""
        return GivenJob(
            job=structs.replace(job, id=claimed.job_id, token=token, queue=name),
            queue=claimed.queue,
            attempt=claimed.attempt,
            lease_seconds=self._lease_seconds,
            labels=claimed.labels,
        )

    async def _unreadable(self, claimed: Claimed, error: RunwrightError) -> None:
        """Let a job fail that can't be opened: else it would come again and again."""
        self._on_error(error)
        message = f"the server can't open the job: {error}"
        ending = Ending(lease=claimed.lease, verdict=Verdict.FAILED, message=message)
        await self._store.exchange([ending], None, self._clock.now())

    def close(self) -> None:
        """End whatever waits, with no job."""
        self._is_closing = True
        for bell in self._bells:
            bell.cancel()


def refuse(problems: Iterable[Problem]) -> None:
    """Refuse a request if anything is wrong with it.

    Raises:
        DefinitionError: With everything that is.
    """
    if found := list(problems):
        raise DefinitionError(found)
