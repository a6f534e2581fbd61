"""Whose token is that: known ones are told without the store, and wrong ones can't make it work."""

import asyncio
from collections import OrderedDict
from hmac import compare_digest

from msgspec import Struct

from runwright.core.job_rows import JobLease, TokenRow
from runwright.core.tokens import LEASE_TOKEN, OWN_TOKEN, digest_of
from runwright.ports.jobs import JobStore
from runwright.ports.system import Clock

FRESH_SECONDS = 2.0
"""How old what is known of tokens may be: so soon a revoked one is refused."""

LOOK_SECONDS = 0.25
"""How often unknown tokens make the store be asked at most."""

MOST_LEASES = 20_000
"""Tokens of leases that are remembered; others are looked up."""


class LeaseHolder(Struct, frozen=True):
    """Whom the token of a lease was given to. This never changes, so it may be remembered; whether it holds does."""

    lease: JobLease
    queue: str
    worker: str


class TokenBook:
    """Knows the tokens of workers, users and leases.

    Args:
        store: Where their digests are.
        clock: Time.
    """

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._rows: dict[bytes, TokenRow] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()
        self._leases: OrderedDict[bytes, LeaseHolder] = OrderedDict()

    async def owner(self, token: str, *, may_wait: bool = True) -> TokenRow | None:
        """Return whose token it is; None if it is nobody's, or revoked.

        Args:
            token: What somebody shows.
            may_wait: Wait until the store may be asked again, for a token that was made a moment ago; else it may be
                missed for `LOOK_SECONDS`.

        Raises:
            StoreError: If the store can't be read.
        """
        if not OWN_TOKEN.fullmatch(token):
            return None
        digest, now = digest_of(token), self._clock.monotonic()
        await self._read_since(now - FRESH_SECONDS)
        if digest not in self._rows:
            await self._read_since(now if may_wait else now - LOOK_SECONDS)
        row = self._rows.get(digest)
        if row is None or row.revoked_at is not None:
            return None
        return row if compare_digest(row.digest, digest) else None

    async def check(self) -> None:
        """Make sure that the store can be read.

        Raises:
            StoreError: If it can't.
        """
        await self._read_since(self._clock.monotonic() - LOOK_SECONDS)

    async def _read_since(self, instant: float) -> None:
        """Read all tokens, unless that was begun after an instant; one reads for everybody who waits for it."""
        if self._is_since(instant):
            return
        async with self._reading:
            if self._is_since(instant):
                return
            if self._read_at is not None:
                await self._clock.sleep(max(0.0, self._read_at + LOOK_SECONDS - self._clock.monotonic()))
            began = self._clock.monotonic()
            self._rows = {row.digest: row for row in await self._store.tokens()}
            self._read_at = began

    def _is_since(self, instant: float) -> bool:
        return self._read_at is not None and self._read_at > instant

    def remember(self, token: str, holder: LeaseHolder) -> None:
        """Keep to whom the token of a lease has been given."""
        self._leases[digest_of(token)] = holder
        if len(self._leases) > MOST_LEASES:
            self._leases.popitem(last=False)

    def remembered(self, token: str) -> LeaseHolder | None:
        """Return to whom the token of a lease was given, if that is known without the store."""
        digest = digest_of(token)
        if digest in self._leases:
            self._leases.move_to_end(digest)
        return self._leases.get(digest)

    async def holder(self, token: str) -> LeaseHolder | None:
        """Return to whom the token of a lease was given; the lease may have ended since. None if it is no such token.

        Raises:
            StoreError: If the store can't be read.
        """
        if (known := self.remembered(token)) is not None or not LEASE_TOKEN.fullmatch(token):
            return known
        found = await self._store.holder(digest_of(token))
        if found is None:
            return None
        holder = LeaseHolder(found.lease, found.queue, found.worker)
        self.remember(token, holder)
        return holder
