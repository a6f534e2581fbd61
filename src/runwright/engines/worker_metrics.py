"""What a worker counts of its jobs, in the text format of Prometheus."""

from collections.abc import Iterator

from runwright.core.job_rows import Verdict

BOUNDS = (1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0)
"""Seconds: upper ends of the classes of durations."""

LOST = "lost"
OUTCOMES = (*(verdict.value for verdict in Verdict), LOST)


class WorkerMetrics:
    """Counts; read by the loop of the heartbeats while the other one writes, so no key ever comes or goes.

    Attributes:
        running: Jobs that are being worked on.
    """

    def __init__(self) -> None:
        self.running = 0
        self._ends = dict.fromkeys(OUTCOMES, 0)
        self._classes = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def count(self, outcome: str, seconds: float) -> None:
        """Count a job that ended: with a verdict that was taken, or as `LOST`."""
        self._ends[outcome] += 1
        self._seconds += seconds
        self._classes[sum(seconds > bound for bound in BOUNDS)] += 1

    def text(self, slots: int) -> str:
        """Return everything as text."""
        return "\n".join(self._lines(slots)) + "\n"

    def _lines(self, slots: int) -> Iterator[str]:
        yield from _head("runwright_worker_slots", "gauge", "Jobs that the worker can be at, at a time")
        yield f"runwright_worker_slots {slots}"
        yield from _head("runwright_worker_running", "gauge", "Jobs that the worker is at")
        yield f"runwright_worker_running {self.running}"
        yield from _head("runwright_worker_jobs_total", "counter", "Jobs by how they ended here")
        for outcome, number in self._ends.items():
            yield f'runwright_worker_jobs_total{{outcome="{outcome}"}} {number}'
        yield from self._durations()

    def _durations(self) -> Iterator[str]:
        name = "runwright_worker_job_seconds"
        yield from _head(name, "histogram", "How long jobs took here")
        total = 0
        for bound, number in zip((*BOUNDS, "+Inf"), self._classes, strict=True):
            total += number
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._seconds:.3f}"
        yield f"{name}_count {total}"


def _head(name: str, kind: str, line: str) -> Iterator[str]:
    yield f"# HELP {name} {line}"
    yield f"# TYPE {name} {kind}"
