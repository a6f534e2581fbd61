"""Random commands to a `JobStore` and to its fake: whatever can be seen is the same after each."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from job_samples import START, claim, digest, ending, new_job, open_store

from runwright.core.errors import RunwrightError
from runwright.core.job_rows import Beat, JobFilter, JobLease, QueueSettings, Verdict
from runwright.core.job_wire import ExecutionLogEntry
from runwright.core.states import JobState
from runwright.testing.jobs import MemoryJobStore

WORKERS = ("w1", "w2")
STEP = 2.0
"""Everything lasts a multiple of this many seconds, so that ends are often met exactly."""

JOBS = st.builds(
    new_job,
    queue=st.sampled_from(["a", "a", "a", "b"]),
    priority=st.sampled_from([0, 0, 0, 1]),
    labels=st.sampled_from([(), (), ("x",), ("x", "y")]),
    key=st.sampled_from(["", "k", "l"]),
    delay=st.sampled_from([0.0, 0.0, 0.0, STEP]),
    max_attempts=st.integers(1, 3),
    retry_delay=st.sampled_from([0.0, STEP]),
    idempotency_key=st.sampled_from(["", "", "", "i"]),
)
SETTINGS = st.builds(
    QueueSettings,
    name=st.sampled_from(["a", "a", "b"]),
    paused=st.sampled_from([False, False, False, False, True]),
    limit=st.sampled_from([0, 0, 2, 3]),
    key_limit=st.sampled_from([0, 1, 2]),
    max_resets=st.integers(0, 2),
)
CLAIMS = st.fixed_dictionaries(
    {
        "queues": st.sampled_from([("a",), ("a",), ("b", "a"), ("a", "none", "b")]),
        "most": st.integers(1, 4),
        "worker": st.sampled_from(WORKERS),
        "labels": st.sampled_from([(), ("x",), ("y", "x"), ("z", "y", "x")]),
    }
)
WORDS = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(Verdict)), max_size=3)
PICK = st.integers(0, 1_000)


class Model(RuleBasedStateMachine):
    """Gives the same commands to both; `make_store` is set by the test."""

    make_store = None

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.fake = MemoryJobStore()
        self.now = START
        self.leases = []
        self.digests = 0
        self.newest = 0
        self.store = None

    @initialize()
    def open(self):
        self.store = self.make_store()

    def both(self, name, *arguments):
        """Call a method of both stores; both do the same, also if they refuse."""

        async def called():
            results = []
            for store in (self.fake, self.store):
                try:
                    results.append(await getattr(store, name)(*arguments))
                except RunwrightError as error:
                    results.append((type(error), str(error)))
            return results

        expected, found = self.runner.run(called())
        assert found == expected, (name, arguments)
        return expected

    def lease(self, pick):
        """Return some lease that was given, one of the newest mostly."""
        return self.leases[-1 - pick % len(self.leases)] if self.leases else JobLease(1, 1)

    def number(self, pick):
        """Return the id of some job, one of the newest mostly, or of none."""
        return max(1, self.newest - pick % 8)

    @rule(jobs=st.lists(JOBS, min_size=1, max_size=4))
    def submit(self, jobs):
        found = self.both("submit", jobs, self.now)
        self.newest = max(self.newest, *found)

    @rule(words=WORDS, asked=st.none() | CLAIMS)
    def exchange(self, words, asked):
        self.exchanged([(self.lease(pick), verdict) for pick, verdict in words], asked)

    @rule(asked=CLAIMS)
    def take(self, asked):
        self.exchanged([], asked)

    @rule(words=WORDS, asked=CLAIMS)
    def go_on(self, words, asked):
        """Say the last word on leases that hold."""
        held = [row for row in self.fake_rows() if row.state is JobState.PROCESSING]
        picked = {held[pick % len(held)].id: verdict for pick, verdict in words if held}
        leases = {row.id: JobLease(row.id, row.attempt) for row in held}
        self.exchanged([(leases[number], verdict) for number, verdict in picked.items()], asked)

    def exchanged(self, words, asked):
        """Make an exchange; leases that are given are noted."""
        endings = [ending(lease, verdict, f"said {verdict}") for lease, verdict in words]
        made = None
        if asked is not None:
            digests = tuple(digest(self.digests + place) for place in range(asked["most"]))
            self.digests += asked["most"]
            made = claim(
                *asked["queues"],
                digests=digests,
                worker=asked["worker"],
                labels=asked["labels"],
                first_seconds=2 * STEP,
            )
        _, given = self.both("exchange", endings, made, self.now)
        self.leases += [each.lease for each in given]

    @rule(steps=st.integers(0, 3), tells=st.sampled_from(["promote", "expire", "both"]))
    def pass_time(self, steps, tells):
        self.now += timedelta(seconds=steps * STEP)
        for name in ("promote", "expire"):
            if tells in (name, "both"):
                self.both(name, self.now)

    @rule(worker=st.sampled_from(WORKERS), picks=st.sets(PICK, max_size=6), queue=st.sampled_from(["", "a"]))
    def heartbeat(self, worker, picks, queue):
        numbers = tuple(map(self.number, picks))
        beat = Beat(worker=worker, job_ids=numbers, queue=queue, lease_seconds=2 * STEP)
        self.both("heartbeat", beat, self.now)

    @rule(pick=PICK, reason=st.sampled_from(["", "enough"]), again=st.booleans())
    def cancel(self, pick, reason, again):
        for said in [reason, "again"][: 1 + again]:
            self.both("cancel", self.number(pick), said, self.now)

    @rule(pick=PICK)
    def retry(self, pick):
        self.both("retry", self.number(pick), self.now)

    @rule(change=SETTINGS)
    def set_queue(self, change):
        self.both("set_queue", change)

    @rule(
        pick=st.integers(0, 7),
        number=st.integers(0, 3),
        out=st.text("ab\N{SNOWMAN}", max_size=4),
        offset=st.none() | st.integers(0, 9),
        key=st.sampled_from("kl"),
    )
    def log(self, pick, number, out, offset, key):
        lease = self.lease(pick)
        entry = ExecutionLogEntry(key=key, out=out, exit_code=len(out), command=(out,))
        self.both("add_entry", lease, entry, self.now)
        self.both("update_entry", lease, number, entry, offset, self.now)
        self.both("output", lease.job_id, lease.attempt, number, len(out), 5)

    @rule(steps=st.integers(0, 9))
    def prune(self, steps):
        self.both("prune", self.now - timedelta(seconds=STEP * steps), 1_000)

    @rule(pick=PICK, worker=st.sampled_from(WORKERS))
    def look_up(self, pick, worker):
        number = self.number(pick)
        self.both("holder", digest(pick % (self.digests + 1)))
        self.both("lease_of", number, worker, 0)
        self.both("payload", number)
        self.both("jobs", JobFilter(queue="a", below=number, limit=2))
        self.both("jobs", JobFilter(state=JobState.QUEUED, key="k"))
        self.both("jobs", JobFilter(idempotency_key="i"))

    def fake_rows(self):
        """Return the jobs of the fake, which are those of the store too."""
        return self.runner.run(self.fake.jobs(JobFilter(limit=10_000)))

    @invariant()
    def everything_is_the_same(self):
        if self.store is None:
            return
        self.both("queues")
        for row in self.both("jobs", JobFilter(limit=10_000)):
            if row.attempt:
                self.both("attempts", row.id)
                self.both("entries", row.id)

    def teardown(self):
        if self.store is not None:
            self.runner.run(self.store.close())
        self.runner.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_store_does_what_its_fake_does(kind, tmp_path, request):
    numbers = iter(range(1 << 30))

    class OfThisKind(Model):
        def make_store(self):
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            return open_store(kind, folder, request, durability="off")

    examples = 80 if kind == "sqlite" else 20
    chosen = settings(
        max_examples=examples,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(OfThisKind, settings=chosen)
