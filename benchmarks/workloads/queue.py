"""The job queue: what it costs to queue a job, to claim it and to complete it."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import ROOT, Entry, Failed, Measured, child_env, run_once
from benchmarks.report import Section, Table, Target
from benchmarks.runners import OFFLINE, PEERS, PROGRAMS, PYTHON, in_peers, runwright_missing
from benchmarks.servers import Servers
from benchmarks.workloads import Plan

LITE, GRES = "SQLite", "PostgreSQL"
BARE, OURS = "bare loop, {}", "runwright, {}"
MANY_WORKERS = 4
COMMANDS = {"pgqueuer": "pgq", "huey": "huey_consumer"}
"""What peers put on the PATH, where that is not their own name."""

SQL, STORE, HTTP = "queue_sql.py", "queue_store.py", "queue_http.py"


def measure(plan: Plan) -> Section:
    """Time everything with one server of each kind for the whole series."""
    with Servers(plan.work / "queue" / "redis") as servers:
        bench = Bench(plan, servers)
        tables = [
            bench.exchange(1, 1),
            bench.exchange(100, 1),
            bench.exchange(1, MANY_WORKERS),
            bench.exchange(100, MANY_WORKERS),
            bench.enqueue(1, 1),
            bench.enqueue(100, 1),
            bench.enqueue(1, MANY_WORKERS),
            *bench.full(),
            *(bench.latency(share) for share in (50, 99)),
            bench.logs(),
        ]
    return Section("queue", "Job queue", TEXT, tables)


class Bench:
    """Makes the tables.

    Args:
        plan: How big.
        servers: What contestants need.
    """

    def __init__(self, plan: Plan, servers: Servers) -> None:
        self._plan = plan
        self._servers = servers
        self._base = plan.work / "queue"
        self._rounds = plan.pick(5, 3, 1)

    # -- tables ------------------------------------------------------------------------------------------------

    def exchange(self, batch: int, workers: int) -> Table:
        """Claim and complete so many jobs at once."""
        count = self._plan.pick(3_000, 500, 8) if batch == 1 else self._plan.pick(30_000, 4_000, 200)
        few = self._plan.pick(500, 100, 4)
        numbers = ("work", count, batch, workers)
        entries = self._bare_and_ours(*numbers)
        entries += [self._peer("pgqueuer, PostgreSQL", "pgqueuer", GRES, *numbers)]
        if batch == 1:
            slow = ("work", few, batch, workers)
            entries += [
                *(self._fewer(OURS.format(kind) + ", over HTTP", HTTP, kind, *slow) for kind in (LITE, GRES)),
                self._peer("huey, SQLite (at most once)", "huey", LITE, *numbers),
                self._peer("procrastinate, PostgreSQL", "procrastinate", GRES, *slow),
                self._peer("celery, Redis", "celery", "Redis", *slow),
            ]
        if batch > 1 and workers == 1:
            slow = ("work", few, batch, workers)
            entries += [self._peer(f"dbos, {kind}", "dbos", kind, *slow) for kind in (LITE, GRES)]
        at_a_time = "one at a time" if batch == 1 else f"{batch} at a time"
        targets = self._targets(batch) if workers == 1 else []
        title = f"{count:,} jobs claimed and completed, {at_a_time}, {_people(workers)}"
        return self._table(title, entries, count, targets)

    def _targets(self, batch: int) -> list[Target]:
        how = "one a claim" if batch == 1 else f"{batch} a claim"
        targets = [
            Target(
                OURS.format(kind),
                BARE.format(kind),
                at_least=0.5,
                speed=True,
                text=f"runwright's jobs a second over the bare loop's, {kind}, {how},",
            )
            for kind in (LITE, GRES)
        ]
        if batch > 1:
            text = "runwright's jobs a second over pgqueuer's, PostgreSQL,"
            targets += [Target(OURS.format(GRES), "pgqueuer, PostgreSQL", at_least=1, speed=True, text=text)]
        return targets

    def enqueue(self, batch: int, workers: int) -> Table:
        """Queue jobs, so many in a call."""
        count = self._plan.pick(2_000, 400, 8) if batch == 1 else self._plan.pick(20_000, 4_000, 200)
        few = self._plan.pick(400, 100, 4)
        numbers, slow = ("enqueue", count, batch, workers), ("enqueue", few, batch, workers)
        entries = self._bare_and_ours(*numbers)
        entries += [self._peer("pgqueuer, PostgreSQL", "pgqueuer", GRES, *numbers)]
        entries += [self._peer("procrastinate, PostgreSQL", "procrastinate", GRES, *slow)]
        if batch == 1:
            entries += [
                self._fewer(OURS.format(kind) + ", over HTTP", HTTP, kind, *slow) for kind in (LITE, GRES)
            ]
        if batch == 1 and workers == 1:
            entries += [
                self._peer("huey, SQLite", "huey", LITE, *numbers),
                self._peer("celery, Redis", "celery", "Redis", *slow),
                *(self._peer(f"dbos, {kind}", "dbos", kind, *slow) for kind in (LITE, GRES)),
            ]
        calls = "one a call" if batch == 1 else f"{batch} a call"
        callers = "one caller" if workers == 1 else f"{workers} callers"
        return self._table(f"{count:,} jobs queued, {calls}, {callers}", entries, count)

    def full(self) -> list[Table]:
        """Claim and complete with many jobs in the table that have ended, beside an empty one."""
        return [self._full(kind) for kind in (LITE, GRES)]

    def _full(self, kind: str) -> Table:
        count, ended = self._plan.pick(3_000, 500, 8), self._plan.pick(1_000_000, 20_000, 50)
        empty, full = "no other jobs", f"beside {ended:,} that have ended"
        numbers = ("work", count, 1, 1)
        entries = [self._entry(empty, "runwright", STORE, kind, *numbers)]
        entries += [self._entry(full, "runwright", STORE, kind, *numbers)]
        self._fill(entries[-1], kind, ended)
        text = f"{kind}: time beside {ended:,} ended jobs / without them"
        target = Target(full, empty, at_most=1.25, text=text)
        return self._table(f"{kind}: {count:,} jobs claimed and completed", entries, count, [target], empty)

    def _fill(self, entry: Entry, kind: str, ended: int) -> None:
        """Let many jobs come and go where the entry works, once, and let what it finds be."""
        if entry.missing or not self._plan.wants("runwright"):
            return
        self._plan.say(f"{ended:,} jobs come and go, {kind}")
        argv = [PYTHON, str(PROGRAMS / STORE), entry.argv[2], "work", str(ended), "1000", "1"]
        filling = Entry("fill", argv, cwd=entry.cwd, env=entry.env, reset=entry.reset, timeout=1800)
        try:
            run_once(filling)
        except (Failed, OSError) as error:
            entry.argv, entry.missing = [], f"failed: {error}"[:160]
        entry.reset = None

    def latency(self, share: int) -> Table:
        """Submit to a worker that waits."""
        count = str(self._plan.pick(300, 100, 3))
        entries = [
            self._entry(
                f"{kind}, {where}, {load}", "runwright", "queue_latency.py", kind, side, load, count, share
            )
            for kind in (LITE, GRES)
            for side, where in (("store", "in process"), ("http", "over HTTP"))
            for load in ("idle", "busy")
        ]
        title = f"From a submission to the worker that waits for it, {share}th percentile of {count}"
        rows = self._plan.measure(entries, self._plan.pick(3, 2, 1))
        return Table(title, rows, f"{LITE}, in process, idle", "ms")

    def logs(self) -> Table:
        """Append to a log."""
        size = self._plan.pick(64, 16, 1)
        floor = "bare inserts, SQLite"
        entries = [self._entry(floor, "floor", "queue_logs.py", LITE, "sql", size)]
        entries += [
            self._entry(f"runwright, {kind}, {where}", "runwright", "queue_logs.py", kind, side, size)
            for kind in (LITE, GRES)
            for side, where in (("store", "in process"), ("http", "over HTTP"))
        ]
        return self._table(
            f"{size} MiB of output appended to one log", entries, size, floor=floor, rate="MiB"
        )

    # -- rows --------------------------------------------------------------------------------------------------

    def _bare_and_ours(self, *numbers: object) -> list[Entry]:
        return [
            self._entry(name.format(kind), part, program, kind, *numbers)
            for kind in (LITE, GRES)
            for name, part, program in ((BARE, "floor", SQL), (OURS, "runwright", STORE))
        ]

    def _table(
        self,
        title: str,
        entries: list[Entry],
        count: int,
        targets: Sequence[Target] = (),
        floor: str = BARE.format(LITE),
        rate: str = "jobs",
    ) -> Table:
        rows: list[Measured] = self._plan.measure(entries, self._rounds)
        return Table(title, rows, floor, tasks=count, rate=rate, targets=targets)

    def _peer(self, name: str, package: str, kind: str, *numbers: object) -> Entry:
        program = f"queue_{package}.py"
        if missing := in_peers(COMMANDS.get(package, package)):
            return Entry(name, missing=missing)
        return self._fewer(name, program, kind, *numbers, part="peer", python=str(PEERS / "python"))

    def _fewer(
        self,
        name: str,
        program: str,
        kind: str,
        *numbers: object,
        part: str = "runwright",
        python: str = PYTHON,
    ) -> Entry:
        """Return an entry whose number of jobs its row shows, since it may be another than the table's."""
        entry = self._entry(name, part, program, kind, *numbers, python=python)
        entry.tasks, entry.slow, entry.rounds = int(str(numbers[1])), True, 3
        return entry

    def _entry(
        self, name: str, part: str, program: str, kind: str, *words: object, python: str = PYTHON
    ) -> Entry:
        """Return an entry that runs a program with the URL of an empty store, made anew for each round."""
        missing = runwright_missing() if part == "runwright" else ""
        if missing := missing or self._missing(kind):
            return Entry(name, kind=part, missing=missing)
        label = "-".join(_plain(str(word)) for word in (name, *words))
        place = self._base / label
        url, empty = self._store(kind, label, place)
        env = child_env(place, OFFLINE | {"PYTHONPATH": str(ROOT)})
        argv = [python, str(PROGRAMS / program), url, *map(str, words)]
        return Entry(name, argv, part, place, env, inner=True, reset=partial(_reset, place, empty))

    def _missing(self, kind: str) -> str:
        if kind == GRES:
            return self._servers.postgres_missing()
        return self._servers.redis_missing() if kind == "Redis" else ""

    def _store(self, kind: str, label: str, place: Path) -> tuple[str, Callable[[], object]]:
        """Return the URL of a store, and what makes it empty beside removing its directory."""
        if kind == LITE:
            return f"sqlite:///{place / 'queue.db'}", lambda: None
        if kind == GRES:
            name = f"bench_{abs(hash(label)):x}"
            return self._servers.database_url(name), lambda: self._servers.database(name)
        return self._servers.redis_url(), self._servers.empty_redis


def _people(workers: int) -> str:
    return "one worker" if workers == 1 else f"{workers} workers"


def _plain(word: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in word)


def _reset(place: Path, empty: Callable[[], object]) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "runwright.toml").touch()
    empty()


TEXT = """\
Jobs that do nothing, with a document of 63 bytes. Timed inside the process, without its start. To exchange is to complete what was claimed
before and to claim what is next; the bare loops do that in one transaction, fenced by an attempt, over one table with one partial index. Our
rows also keep order between keys, labels, limits, leases with tokens, and a record of every attempt. Everything that takes part is durable when a
call returns: SQLite with synchronous FULL, PostgreSQL with fsync, Redis with an append-only file synced at each write. Four workers are four
threads with a connection each in the bare loops, four tasks of one process elsewhere. Over HTTP there is a server in a process of its own, and a
job is two requests. Huey takes a task off the queue before it runs it and notes no end; PgQueuer writes ends in batches; dbos takes all that waits.
Who is slow does fewer jobs, which its row says; compare jobs a second. Latency is from before a submission to when a worker that waited has the
job; busy means that four more workers submit, claim and complete jobs of another queue meanwhile.

A job a commit waits for the disk: where that has other work too, such rows differ several times over from round to round, and the least times
say more than the medians. The targets were set by bare loops of about 4,400 jobs a second one a claim on either database, and of 113,000
(SQLite) and 45,600 (PostgreSQL) 100 a claim; by 100, the ones here are leaner and about twice as fast."""
