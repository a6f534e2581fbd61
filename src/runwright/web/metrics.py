"""Metrics in the text format of Prometheus."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from runwright.core.job_rows import QueueRow, WorkerRow
from runwright.core.pattern import pattern
from runwright.core.states import JobState
from runwright.engines.queue import Queue
from runwright.web.limits import WrongTokens

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ACTIVE_SECONDS = 60.0
"""A worker that was heard of within this time counts as active."""

KEEP_SECONDS = 1.0
"""How long one look at the store serves everybody who asks for metrics."""

SAMPLE = pattern(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{([^}]*)\})?\s+(\S+)(?:\s+-?[0-9]+)?\s*")
MOST_SAMPLES = 2_000
"""Lines of a worker's own metrics that are passed on."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts what the server does, and tells it together with what is in the store.

    Args:
        queue: What is told of.
        wrong: Counts wrong tokens.
    """

    def __init__(self, queue: Queue, wrong: WrongTokens) -> None:
        self._queue = queue
        self._wrong = wrong
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: Counter[float] = Counter()
        self._dequeues = 0
        self._dequeue_seconds = 0.0
        self._text = ""
        self._told_at: float | None = None

    def count(self, route: str, status: int) -> None:
        """Count a request; `route` is the path with its names, not what stands for them."""
        self._requests[route, status] += 1

    def dequeued(self, seconds: float) -> None:
        """Count a job that was given to a worker, and how long the worker waited for the answer."""
        self._dequeues += 1
        self._dequeue_seconds += seconds
        for bucket in BUCKETS:
            if seconds <= bucket:
                self._buckets[bucket] += 1

    async def text(self) -> str:
        """Return everything, at most `KEEP_SECONDS` old.

        Raises:
            StoreError: If the store can't be read.
        """
        now = self._queue.clock.monotonic()
        if self._told_at is None or now - self._told_at >= KEEP_SECONDS:
            self._told_at = now
            self._text = "\n".join([*await self._lines(), ""])
        return self._text

    async def _lines(self) -> list[str]:
        queues, workers = await self._queue.queues(), await self._queue.workers()
        at = self._queue.clock.now()
        waits = {
            row.settings.name: (at - row.oldest_at).total_seconds() if row.oldest_at is not None else 0.0
            for row in queues
        }
        active = [
            worker
            for worker in workers
            if worker.last_seen_at is not None
            and (at - worker.last_seen_at).total_seconds() <= ACTIVE_SECONDS
        ]
        return [
            *_jobs(queues),
            *_gauge("runwright_oldest_job_seconds", "age of the oldest job that could start", waits, "queue"),
            *_workers(active),
            *self._own(),
            *_passed_on(active),
        ]

    def _own(self) -> Iterator[str]:
        yield from _head("runwright_requests_total", "counter", "requests, by path and status")
        for (route, status), count in sorted(self._requests.items()):
            yield f'runwright_requests_total{{route="{_quoted(route)}",status="{status}"}} {count}'
        yield from _head("runwright_wrong_tokens_total", "counter", "tokens that were refused")
        yield f"runwright_wrong_tokens_total {self._wrong.total}"
        name = "runwright_dequeue_seconds"
        yield from _head(name, "histogram", "how long workers waited for a job that they got")
        for bucket in BUCKETS:
            yield f'{name}_bucket{{le="{bucket:g}"}} {self._buckets[bucket]}'
        yield f'{name}_bucket{{le="+Inf"}} {self._dequeues}'
        yield f"{name}_sum {self._dequeue_seconds:.6f}"
        yield f"{name}_count {self._dequeues}"


def _jobs(queues: Sequence[QueueRow]) -> Iterator[str]:
    yield from _head("runwright_jobs", "gauge", "jobs, by queue and state")
    for row in queues:
        queue = _quoted(row.settings.name)
        for state in JobState:
            count = row.counts.get(state, 0)
            yield f'runwright_jobs{{queue="{queue}",state="{state.value}"}} {count}'
    paused = {row.settings.name: float(row.settings.paused) for row in queues}
    yield from _gauge("runwright_queue_paused", "1 if no job of the queue is given out", paused, "queue")


def _workers(workers: Sequence[WorkerRow]) -> Iterator[str]:
    yield from _head("runwright_workers", "gauge", "workers heard of within a minute")
    yield f"runwright_workers {len(workers)}"
    leases = {worker.name: float(worker.leases) for worker in workers}
    slots = {worker.name: float(worker.slots) for worker in workers}
    yield from _gauge("runwright_worker_leases", "jobs that a worker holds", leases, "worker")
    yield from _gauge("runwright_worker_slots", "jobs that a worker can hold", slots, "worker")


def _gauge(name: str, about: str, values: Mapping[str, float], label: str) -> Iterator[str]:
    yield from _head(name, "gauge", about)
    for of, value in values.items():
        yield f'{name}{{{label}="{_quoted(of)}"}} {value:g}'


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _passed_on(workers: Iterable[WorkerRow]) -> Iterator[str]:
    """Yield the workers' own metrics, with the worker as a label; all samples of a name stand together."""
    by_name: dict[str, list[str]] = {}
    for worker in workers:
        for line in worker.metrics.splitlines()[:MOST_SAMPLES]:
            found = SAMPLE.fullmatch(line)
            if found is not None and not found[1].startswith("runwright_") and _is_number(found[3]):
                labels = f"{found[2].rstrip(', ')}," if found[2] else ""
                sample = f'{found[1]}{{{labels}runwright_worker="{_quoted(worker.name)}"}} {found[3]}'
                by_name.setdefault(found[1], []).append(sample)
    for samples in by_name.values():
        yield from samples


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
