"""A queue in bad times: jobs are worked on while its processes, its database and the ways between them fail."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from faulty_proxy import CALM, FaultyProxy, Weather
from msgspec import Struct
from postgres import Cluster
from queue_fleet import PLACE, Fleet, Member, stop_and_go, until
from queue_history import History, JobHistory, crowds

from runwright.adapters.clock import SystemClock
from runwright.adapters.http.connection import Server
from runwright.adapters.http.queue_api import HttpQueue
from runwright.core.errors import ConflictError, RemoteError, StoreError
from runwright.core.job_rows import JobFilter, QueueSettings
from runwright.core.job_wire import SubmitRequest
from runwright.core.states import FINAL_JOB_STATES, JobState
from runwright.ports.jobs import JobStore
from runwright.wiring.job_stores import open_job_store

WORKERS = 3
SLOTS = 3
LANES = 4
"""How many submit jobs at a time."""

CALM_SHARE = 0.97
"""Of the jobs, so many have ended when the bad times end."""

STUCK_SECONDS = 60.0
"""How long after the end of the bad times jobs may take to end."""

SAMPLE_SECONDS = 0.05

EVER = 1_000_000
"""Lapsed leases are no reason to give a job up here."""

COMPLETED, FAILED, CANCELED = JobState.COMPLETED, JobState.FAILED, JobState.CANCELED


class Course(Struct, frozen=True, kw_only=True):
    """How bad, and how long.

    Attributes:
        jobs: How many.
        seed: Of everything that is left to chance.
        longest: Seconds of bad times, at most.
        lease: Seconds.
        weather: Between the workers and the server.
        pause: Seconds between two faults of processes, on average.
        breaks: False if the messages alone have faults.
    """

    jobs: int
    seed: int
    longest: float
    lease: float = 3.0
    weather: Weather = Weather(0.02)
    pause: float = 1.5
    breaks: bool = True


class Errand(Struct, frozen=True, kw_only=True):
    """A job that is submitted.

    Attributes:
        number: From 0.
        expected: How it may end.
        is_canceled: Somebody wants it stopped after a while.
    """

    number: int
    queue: str
    key: str
    commands: tuple[str, ...]
    expected: frozenset[JobState]
    max_attempts: int = 1
    is_canceled: bool = False


def errands(course: Course, folder: Path) -> list[Errand]:
    """Return the jobs of a course: most are well, some fail at first or ever, some are canceled."""
    rng = random.Random(course.seed)
    return [_errand(number, rng, folder) for number in range(course.jobs)]


def _errand(number: int, rng: random.Random, folder: Path) -> Errand:
    queue = rng.choices(("plain", "narrow", "keyed"), (6, 2, 2))[0]
    key = f"k{rng.randrange(4)}" if queue == "keyed" else ""
    kind = rng.choices(("well", "flaky", "bad", "unwanted"), (86, 6, 4, 4))[0]
    long = rng.random() < 0.03 and queue == "plain"
    work = rng.uniform(4.0, 6.0) if long else rng.choice((0.0, 0.05, 0.2))
    commands = [f"sleep {work:.2f}", f'echo "$PWD" >> {folder}/journal', f"sleep {rng.choice((0.0, 0.1)):g}"]
    if kind == "flaky":
        commands.append(f"if mkdir {folder}/tried-{number}; then exit 3; fi")
    if kind == "bad":
        commands.append("exit 4")
    ends = {"bad": {FAILED}, "unwanted": {COMPLETED, CANCELED}}.get(kind, {COMPLETED})
    return Errand(
        number=number,
        queue=queue,
        key=key,
        commands=tuple(commands),
        expected=frozenset(ends),
        max_attempts=2 if kind in ("flaky", "bad") else 1,
        is_canceled=kind == "unwanted",
    )


def effects(journal: Path) -> Counter[tuple[int, int]]:
    """Return how often each attempt has left its line in a journal."""
    found: Counter[tuple[int, int]] = Counter()
    for line in journal.read_text().splitlines() if journal.exists() else ():
        place = PLACE.search(line)
        assert place is not None, f"not a line of an attempt: {line!r}"
        found[int(place[1]), int(place[2])] += 1
    return found


class Chaos:
    """One course of a queue through bad times.

    Args:
        course: How bad.
        fleet: With nothing started; networks that it has are cut, too.
        cluster: Runs the database; None if that is a file.

    Attributes:
        faults: How often each fault of a process came about.
        crowds: Limits that did not hold at some moment.
    """

    def __init__(self, course: Course, fleet: Fleet, cluster: Cluster | None) -> None:
        self.faults: Counter[str] = Counter()
        self.crowds: set[str] = set()
        self.samples = 0
        self.errands = errands(course, fleet.folder)
        self.ids: dict[int, int] = {}
        self.queues = (
            QueueSettings(name="plain", max_resets=EVER),
            QueueSettings(name="narrow", limit=2, max_resets=EVER),
            QueueSettings(name="keyed", key_limit=1, max_resets=EVER),
        )
        self.proxy = FaultyProxy(fleet.port, random.Random(course.seed + 1))
        self._course = course
        self._fleet = fleet
        self._cluster = cluster
        self._rng = random.Random(course.seed + 2)
        self._busy: set[str] = set()
        self._due: list[str] = []
        self._ended = 0

    async def run(self) -> History:
        """Go through it, and return what was seen."""
        fleet = self._fleet
        store = open_job_store(fleet.store)
        watching: list[asyncio.Task[Any]] = []
        try:
            for settings in self.queues:
                await store.set_queue(settings)
            await self.proxy.start(["127.0.0.1", *(network.host for network in fleet.networks.values())])
            await fleet.serve()
            for number in range(WORKERS):
                names = [settings.name for settings in self.queues]
                fleet.add_worker(f"w{number}", self.proxy.port, names, "--slots", str(SLOTS)).start()
            watching = [asyncio.ensure_future(fleet.watch()), asyncio.ensure_future(self._sample(store))]
            await self._bad_times()
            await self._good_times()
            await self._close(watching)
            return await self._history(store)
        finally:
            await self._close(watching)
            await self.proxy.close()
            await store.close()

    @property
    def self_ended(self) -> int:
        """How many workers ended themselves since their main loop did not stop a job in time."""
        return sum(len(worker.deaths) for worker in self._fleet.workers)

    async def _close(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    # -- bad times ---------------------------------------------------------------------------------------------

    async def _bad_times(self) -> None:
        self.proxy.weather = self._course.weather
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._submit_all())
            self._due = list(dict.fromkeys(kind for _, kind, _ in self._choices()))
            self._rng.shuffle(self._due)
            while self._due or (
                time.monotonic() - begun < self._course.longest and not self._is_nearly_done()
            ):
                await asyncio.sleep(self._rng.expovariate(1 / self._course.pause))
                self._one_fault(group)
        self.proxy.weather = CALM
        self.bad_seconds = time.monotonic() - begun

    def _is_nearly_done(self) -> bool:
        return self._ended >= CALM_SHARE * len(self.errands)

    def _one_fault(self, group: asyncio.TaskGroup) -> None:
        """Let one thing go wrong where nothing is wrong already: first each kind once, then what chance has it."""
        possible = [choice for choice in self._choices() if choice[0] not in self._busy]
        wanted = [choice for choice in possible if not self._due or choice[1] == self._due[0]]
        if wanted:
            place, kind, work = self._rng.choice(wanted)
            del self._due[:1]
            self._busy.add(place)
            self.faults[kind] += 1
            group.create_task(self._guarded(place, work))

    async def _guarded(self, place: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            self._busy.discard(place)

    def _choices(self) -> list[tuple[str, str, Callable[[], Awaitable[None]]]]:
        fleet = self._fleet
        if not self._course.breaks:
            return []
        found: list[tuple[str, str, Callable[[], Awaitable[None]]]] = []
        for worker in fleet.workers:
            found += 2 * [(worker.name, "worker killed", partial(self._kill, worker))]
            found.append((worker.name, "worker stopped", partial(self._stop, worker)))
        for name in fleet.networks:
            found += 2 * [(f"network of {name}", "network cut", partial(self._cut, name))]
        found += 3 * [("server", "server killed", partial(self._kill, fleet.server))]
        found.append(("server", "server stopped", partial(self._stop, fleet.server)))
        if self._cluster is not None:
            found += 3 * [("database", "database restarted", self._restart)]
        return found

    async def _kill(self, member: Member) -> None:
        member.kill()
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        member.start()

    async def _stop(self, member: Member) -> None:
        stop_and_go(member, goes=False)
        await asyncio.sleep(2 * self._course.lease)
        stop_and_go(member, goes=True)

    async def _cut(self, name: str) -> None:
        network = self._fleet.networks[name]
        direction = self._rng.choice(("both", "to the server", "to the worker", "flap"))
        until_at = time.monotonic() + self._rng.uniform(0.5, 2.0) * self._course.lease
        while time.monotonic() < until_at:
            await self._cut_once(network, direction, until_at - time.monotonic())

    async def _cut_once(self, network: Any, direction: Any, seconds: float) -> None:
        if direction == "flap":
            network.unplug()
            await asyncio.sleep(self._rng.uniform(0.1, 0.5))
            network.plug()
            await asyncio.sleep(self._rng.uniform(0.1, 0.5))
        else:
            network.cut(direction)
            await asyncio.sleep(seconds)
            network.heal()

    async def _restart(self) -> None:
        assert self._cluster is not None
        await asyncio.to_thread(self._cluster.restart, self._rng.choice(("fast", "immediate")))

    # -- users -------------------------------------------------------------------------------------------------

    async def _submit_all(self) -> None:
        server = Server(url=f"http://127.0.0.1:{self.proxy.port}")
        queue = HttpQueue(server, self._fleet.admin, SystemClock(), self._rng.random)
        waiting = iter(self.errands)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(LANES):
                    group.create_task(self._submit_some(queue, waiting, group))
        finally:
            await queue.close()

    async def _submit_some(
        self, queue: HttpQueue, waiting: Iterable[Errand], group: asyncio.TaskGroup
    ) -> None:
        for errand in waiting:
            self.ids[errand.number] = await _insistently(partial(queue.submit, self._request(errand)))
            if errand.is_canceled:
                group.create_task(self._cancel(queue, self.ids[errand.number]))

    async def _cancel(self, queue: HttpQueue, job_id: int) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, 2 * self._course.lease))
        with suppress(ConflictError):  # it has ended
            await _insistently(partial(queue.cancel, job_id, "nobody wants it"))

    def _request(self, errand: Errand) -> SubmitRequest:
        job = {"version": 2, "dockerSteps": [{"commands": errand.commands}]}
        return SubmitRequest(
            queue=errand.queue,
            job=msgspec.Raw(msgspec.json.encode(job)),
            key=errand.key,
            max_attempts=errand.max_attempts,
            retry_delay=0.2,
            idempotency_key=f"errand-{errand.number}",
        )

    # -- what is seen ------------------------------------------------------------------------------------------

    async def _sample(self, store: JobStore) -> None:
        """Look again and again how many have ended, and whether the limits hold."""
        while True:
            with suppress(StoreError):
                held = await store.jobs(JobFilter(state=JobState.PROCESSING, limit=1_000))
                self.crowds.update(crowds(held, self.queues))
                counts = [row.counts for row in await store.queues()]
                self._ended = sum(each.get(state, 0) for each in counts for state in FINAL_JOB_STATES)
                self.samples += 1
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _good_times(self) -> None:
        """Let all jobs end, and then the processes."""
        left = len(self.errands) - self._ended
        patience = STUCK_SECONDS + (0.2 * left if not self._is_nearly_done() else 0.0)
        try:
            self.calm_seconds = await until(
                lambda: self._ended == len(self.errands), "all jobs end", patience
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; {len(self.errands) - self._ended} of {left} have not") from None
        fleet = self._fleet
        await until(lambda: all(worker.is_ready for worker in fleet.workers), "all workers are back")
        statuses = await asyncio.gather(*(worker.end() for worker in fleet.workers))
        assert statuses == [0] * len(fleet.workers), statuses
        assert await fleet.server.end() == 0
        await until(lambda: not fleet.left_behind(), "nothing is left behind", 10.0)

    async def _history(self, store: JobStore) -> History:
        """Return what was seen; of limits only on SQLite, which has one that writes.

        To PostgreSQL several connections write, and a call that is made again after a restart keeps its instant: those
        of different jobs need not stand in the order of their commits. There the samples alone tell.
        """
        expected = {self.ids[errand.number]: errand.expected for errand in self.errands}
        queues = self.queues if self._fleet.store.startswith("sqlite") else ()
        return await seen(self._fleet, store, self.proxy, expected, queues)


async def seen(
    fleet: Fleet,
    store: JobStore,
    proxy: FaultyProxy,
    expected: Mapping[int, frozenset[JobState]],
    queues: Sequence[QueueSettings] = (),
) -> History:
    """Return what was seen of all jobs of a store, in whatever way."""
    rows = await store.jobs(JobFilter(limit=2 * len(expected) + 10))
    jobs = [
        JobHistory(row=row, attempts=await store.attempts(row.id), expected=expected.get(row.id, frozenset()))
        for row in rows
    ]
    found = effects(fleet.folder / "journal")
    return History(jobs=jobs, effects=found, words=proxy.words(), queues=queues)


async def _insistently(call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call until it is answered."""
    while True:
        try:
            return await call()
        except RemoteError:
            await asyncio.sleep(0.1)


def troubles(fleet: Fleet, proxy: FaultyProxy) -> list[str]:
    """Return what processes have said or done that none should."""
    found = [line for member in (fleet.server, *fleet.workers) for line in member.troubles()]
    may_miss_its_database = (1,) if fleet.store.startswith("postgresql") else ()  # it says so, and ends
    found += [
        f"the server ended by itself: {status}"
        for status in fleet.server.deaths
        if status not in may_miss_its_database
    ]
    found += [
        f"{worker.name} ended by itself: {status}"
        for worker in fleet.workers
        for status in worker.deaths
        if status != -9  # a worker whose main loop does not stop a job in time ends itself
    ]
    return found + proxy.troubles
