"""What workers say of themselves, kept without a write for each of their heartbeats."""

from msgspec import Struct, structs

from runwright.core.job_rows import WorkerRow
from runwright.core.job_wire import HeartbeatRequest
from runwright.ports.jobs import JobStore
from runwright.ports.system import Clock

NOTE_SECONDS = 10.0
"""How often a worker that says nothing new is noted."""

LONGEST_METRICS = 256 * 1024
"""Characters of a worker's own metrics; longer ones are not kept."""

MOST_WORKERS = 10_000
"""Workers whose last words are remembered."""

PROGRAMS = {
    "docker": "docker_version",
    "git": "git_version",
    "ignite": "ignite_version",
    "src": "src_cli_version",
    "worker": "executor_version",
}


class _Noted(Struct):
    row: WorkerRow
    at: float


class WorkerBook:
    """Notes what workers say: at once if it is news, else now and then.

    Args:
        store: Where it is kept.
        clock: Time.
    """

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[str, _Noted] = {}

    async def note(self, beat: HeartbeatRequest, queues: tuple[str, ...]) -> None:
        """Keep what a heartbeat says of its worker; where it says nothing, what was said before stands.

        Raises:
            StoreError: If it can't be kept.
        """
        before = self._noted.get(beat.executor_name)
        row = _row(beat, queues, before.row if before is not None else None)
        now = self._clock.monotonic()
        if before is not None and now - before.at < NOTE_SECONDS and _same(before.row, row):
            return
        await self._store.note_worker(row, self._clock.now())
        if len(self._noted) >= MOST_WORKERS:
            self._noted.clear()
        self._noted[beat.executor_name] = _Noted(row, now)


def _row(beat: HeartbeatRequest, queues: tuple[str, ...], before: WorkerRow | None) -> WorkerRow:
    told = {name: getattr(beat, field) for name, field in PROGRAMS.items() if getattr(beat, field)}
    metrics = beat.prometheus_metrics if len(beat.prometheus_metrics) <= LONGEST_METRICS else ""
    old = before if before is not None else WorkerRow(name=beat.executor_name)
    return WorkerRow(
        name=beat.executor_name,
        boot_id=beat.boot_id,
        queues=queues,
        labels=beat.labels,
        slots=beat.slots,
        draining=beat.draining,
        os=beat.os or old.os,
        architecture=beat.architecture or old.architecture,
        versions=told or old.versions,
        metrics=metrics or old.metrics,
    )


def _same(left: WorkerRow, right: WorkerRow) -> bool:
    return structs.replace(left, metrics="") == structs.replace(right, metrics="")
