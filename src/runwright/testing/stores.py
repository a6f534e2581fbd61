"""A `RunStore` in memory: the fake for tests, and the store of runs that need no durability."""

from asyncio import Future, get_running_loop
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import structs

from runwright.core.audit import ChainCheck
from runwright.core.chain import canonical, decode, genesis, links
from runwright.core.errors import AmbiguousRunId, LeaseLost, RunIsActive, RunNotFound, StoreError
from runwright.core.events import AnyEvent
from runwright.core.lease import busy_text, is_held, lost_text, visible_state
from runwright.core.project import Changes
from runwright.core.rows import Rows
from runwright.core.run import Attempt, Definition, Lease, Owner, Run, TaskRow, Variable
from runwright.core.runids import LATEST, ambiguous_text, id_range, not_found_text
from runwright.core.states import RunState
from runwright.ports.stores import Integrity, RunFilter, StoredEvent


def _now() -> datetime:
    return datetime.now(UTC)


def _cannot_tell(owner: Owner) -> bool | None:
    del owner
    return None


class _Log:
    """One run: events are only kept as they come; rows and chain are made when somebody looks.

    Attributes:
        stored: Canonical JSON and link of each event, the first one numbered 1.
    """

    def __init__(self, run: Run, tasks: Sequence[TaskRow], owner: Owner, expires_at: datetime) -> None:
        self.rows = Rows(run, tasks)
        self.owner: Owner | None = owner
        self.expires_at: datetime | None = expires_at
        self.token = 1
        self.stored: list[tuple[bytes, bytes]] = []
        self.genesis = genesis(run.id, run.created_at)
        self.waiting: list[AnyEvent] = []

    def settle(self) -> Rows:
        """Take in the waiting events; return the rows as they are now."""
        events, self.waiting = self.waiting, []
        if events:
            changes = Changes(len(self.stored))
            changes.extend(events)
            self.rows.apply(changes)
            bodies = canonical(events)
            made = links(self.head_hash(), len(self.stored) + 1, self.rows.run.id, bodies)
            self.stored += zip(bodies, made, strict=True)
        return self.rows

    def head_hash(self) -> bytes:
        return self.stored[-1][1] if self.stored else self.genesis

    def accepts(self, lease: Lease) -> bool:
        return self.owner is not None and self.token == lease.token

    def read(self) -> Run:
        """Return the run as its row says."""
        rows = self.settle()
        held = self.owner is not None
        return structs.replace(
            rows.run,
            counts=rows.counts(),
            owner=self.owner,
            lease_expires_at=self.expires_at if held else None,
            head_seq=len(self.stored),
            head_hash=self.head_hash().hex(),
        )


class MemoryStore:
    """Keeps runs in this process; obeys the same contract as the stores on disk, except that nothing is durable.

    Args:
        now: Gives the current instant, against which readers compare leases.
        is_alive: Tells whether the owner of a lease lives; None if it can't tell.
    """

    def __init__(
        self, now: Callable[[], datetime] = _now, is_alive: Callable[[Owner], bool | None] = _cannot_tell
    ) -> None:
        self._now = now
        self._is_alive = is_alive
        self._logs: dict[str, _Log] = {}
        self._definitions: dict[str, Definition] = {}
        self._closed = False

    async def create_run(
        self,
        run: Run,
        definition: Definition,
        tasks: Sequence[TaskRow],
        events: Sequence[AnyEvent],
        owner: Owner,
        lease_seconds: float,
    ) -> Lease:
        """Record a new run and hold the lease on it; see `RunStore`."""
        self._check_open()
        if run.id in self._logs:
            raise StoreError(f"run {run.id} is already there; give the new run an id of its own")
        _check_encodable(events)
        expires_at = run.created_at + timedelta(seconds=lease_seconds)
        state = RunState.PENDING if run.state is RunState.INTERRUPTED else run.state
        log = _Log(structs.replace(run, state=state, cancel_requested_at=None), tasks, owner, expires_at)
        log.waiting += events
        self._logs[run.id] = log
        self._definitions.setdefault(definition.digest, definition)
        return Lease(run_id=run.id, token=1, expires_at=expires_at)

    async def take_lease(self, run_id: str, owner: Owner, lease_seconds: float, now: datetime) -> Lease:
        """Take the right to write to a run; see `RunStore`."""
        log = self._log(run_id)
        if log.owner is not None and is_held(log.owner, log.expires_at, now, self._is_alive(log.owner)):
            raise RunIsActive(busy_text(run_id, log.owner))
        log.token += 1
        log.owner, log.expires_at = owner, now + timedelta(seconds=lease_seconds)
        return Lease(run_id=run_id, token=log.token, expires_at=log.expires_at)

    async def renew_lease(self, lease: Lease, lease_seconds: float, now: datetime) -> Lease:
        """Hold the lease for longer; see `RunStore`."""
        log = self._leased(lease)
        log.expires_at = now + timedelta(seconds=lease_seconds)
        return structs.replace(lease, expires_at=log.expires_at)

    async def release_lease(self, lease: Lease) -> None:
        """Give the right back; see `RunStore`."""
        self._check_open()
        log = self._logs.get(lease.run_id)
        if log is not None and log.accepts(lease):
            log.owner = log.expires_at = None

    def hurry(self) -> None:
        """Do nothing: no commit is put off here."""

    def append(self, lease: Lease, events: Sequence[AnyEvent], *, lazy: bool = False) -> "Future[None]":
        """Append events; see `RunStore`. The future completes in the loop's next round."""
        del lazy
        loop = get_running_loop()
        future: Future[None] = loop.create_future()
        log = self._logs.get(lease.run_id)
        if log is None or self._closed or log.owner is None or log.token != lease.token:
            future.set_exception(self._refusal(lease))
            return future
        log.waiting.extend(events)
        loop.call_soon(_complete, future)
        return future

    async def resume_run(
        self,
        lease: Lease,
        run: Run,
        definition: Definition,
        tasks: Sequence[TaskRow],
        events: Sequence[AnyEvent],
    ) -> None:
        """Replace what a run is made of and append events; see `RunStore`."""
        log = self._leased(lease)
        _check_encodable(events)
        rows = log.settle()
        self._definitions.setdefault(definition.digest, definition)
        rows.tasks = {task.id: task for task in tasks}
        rows.run = structs.replace(
            rows.run,
            name=run.name,
            kind=run.kind,
            definition=run.definition,
            path=run.path,
            tags=run.tags,
            strategy=run.strategy,
            workers=run.workers,
            options=run.options,
            parent_id=run.parent_id,
            parent_task=run.parent_task,
        )
        log.waiting += events

    async def request_cancel(self, run_id: str, at: datetime, reason: str) -> Run:
        """Ask whoever drives the run to stop; see `RunStore`."""
        rows = self._log(run_id).settle()
        if rows.run.state in (RunState.PENDING, RunState.RUNNING) and rows.run.cancel_requested_at is None:
            rows.run = structs.replace(rows.run, cancel_requested_at=at)
            rows.cancel_reason = reason
        return self._seen(run_id)

    async def cancel_reason(self, run_id: str) -> str:
        """Return why the run was asked to stop; see `RunStore`."""
        return self._logs[run_id].settle().cancel_reason if run_id in self._logs else ""

    async def find_run(self, prefix: str) -> Run:
        """Return the one run whose id starts so; see `RunStore`."""
        ids = self._matching(prefix)
        if not ids:
            raise RunNotFound(not_found_text(prefix))
        if len(ids) > 1:
            raise AmbiguousRunId(ambiguous_text(prefix, ids))
        return self._seen(ids[0])

    async def list_runs(self, which: RunFilter) -> list[Run]:
        """Return runs with their counts; see `RunStore`."""
        now = self._now()
        runs = [run for run in map(self._seen, self._newest_first()) if _is_wanted(run, which, now)]
        order = _ORDERS.get(which.sort)
        if order is not None:
            runs.sort(key=lambda run: order(run, now))
        return runs[which.offset :][: which.limit or None]

    async def tasks(self, run_id: str) -> list[TaskRow]:
        """Return every task of a run; see `RunStore`."""
        return list(self._logs[run_id].settle().tasks.values()) if run_id in self._logs else []

    async def attempts(self, run_id: str) -> list[Attempt]:
        """Return every attempt of a run; see `RunStore`."""
        return self._logs[run_id].settle().listed_attempts() if run_id in self._logs else []

    async def variables(self, run_id: str) -> list[Variable]:
        """Return the variables of a run; see `RunStore`."""
        found = self._logs[run_id].settle().variables.values() if run_id in self._logs else ()
        return sorted(found, key=lambda variable: variable.name.encode())

    async def definition(self, digest: str) -> Definition:
        """Return a pinned definition; see `RunStore`."""
        if digest not in self._definitions:
            raise StoreError(f"the store holds no definition {digest}; `runwright runs` lists its runs")
        return self._definitions[digest]

    async def events(self, run_id: str, after: int = 0, limit: int = 0) -> list[StoredEvent]:
        """Return events in order; see `RunStore`."""
        if run_id not in self._logs:
            return []
        log = self._logs[run_id]
        log.settle()
        wanted = log.stored[after:][: limit or None]
        events = decode([body for body, _ in wanted])
        return [
            StoredEvent(seq=seq, event=event, hash=link.hex())
            for seq, (event, (_, link)) in enumerate(zip(events, wanted, strict=True), after + 1)
        ]

    async def verify(self, run_id: str) -> Integrity:
        """Check the event chain of a run against its rows; see `RunStore`."""
        log = self._log(run_id)
        rows = log.settle()
        check = ChainCheck(run_id, log.genesis)
        bodies, hashes = [body for body, _ in log.stored], [link for _, link in log.stored]
        check.follow(range(1, len(bodies) + 1), bodies, hashes)
        if check.end(len(log.stored), log.head_hash()):
            tasks, attempts = list(rows.tasks.values()), rows.listed_attempts()
            check.compare(tasks, attempts, list(rows.variables.values()), rows.counts())
        return Integrity(
            ok=not check.problem, events=check.events, head=check.head.hex(), problem=check.problem
        )

    async def close(self) -> None:
        """Refuse every later write; what was recorded can still be read."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store has been closed")

    def _log(self, run_id: str) -> _Log:
        self._check_open()
        if run_id not in self._logs:
            raise RunNotFound(not_found_text(run_id))
        return self._logs[run_id]

    def _leased(self, lease: Lease) -> _Log:
        self._check_open()
        log = self._logs.get(lease.run_id)
        if log is None or not log.accepts(lease):
            raise self._refusal(lease)
        return log

    def _refusal(self, lease: Lease) -> Exception:
        if self._closed:
            return StoreError("the store has been closed")
        return LeaseLost(lost_text(lease.run_id, lease.token))

    def _newest_first(self) -> list[str]:
        ids = list(self._logs)
        ids.reverse()
        return sorted(ids, key=lambda run_id: self._logs[run_id].rows.run.created_at, reverse=True)

    def _matching(self, prefix: str) -> list[str]:
        if prefix in self._logs:
            return [prefix]
        if prefix.strip().lower() == LATEST:
            return [run_id for run_id in self._newest_first() if not self._logs[run_id].rows.run.parent_id][
                :1
            ]
        first, last = id_range(prefix)
        return sorted(run_id for run_id in self._logs if first <= run_id < last)

    def _seen(self, run_id: str) -> Run:
        run = self._logs[run_id].read()
        alive = None if run.owner is None else self._is_alive(run.owner)
        held = is_held(run.owner, run.lease_expires_at, self._now(), alive)
        return structs.replace(run, state=visible_state(run.state, held))


def _complete(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _check_encodable(events: Sequence[AnyEvent]) -> None:
    """Refuse what a durable store could not keep."""
    try:
        canonical(events)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"an event can't be written as JSON ({error})") from error


def _duration(run: Run, now: datetime) -> float:
    if run.started_at is None:
        return 0.0
    return ((run.ended_at or now) - run.started_at).total_seconds()


def _is_wanted(run: Run, which: RunFilter, now: datetime) -> bool:
    began_at = run.started_at or run.created_at
    return (
        which.name in ("", run.name)
        and which.kind in ("", run.kind)
        and which.state in (None, run.state)
        and (not which.tag or which.tag in run.tags)
        and which.parent in (None, run.parent_id)
        and (which.since is None or began_at >= which.since)
        and (which.until is None or began_at < which.until)
        and (which.min_duration <= 0 or _duration(run, now) >= which.min_duration)
    )


_ORDERS: dict[str, Callable[[Run, datetime], bytes | float]] = {
    "name": lambda run, now: run.name.encode(),
    "duration": lambda run, now: -_duration(run, now),
    "tasks": lambda run, now: -run.counts.total,
    "state": lambda run, now: run.state.encode(),
}
