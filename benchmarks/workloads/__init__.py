"""The workloads, by name, in the order in which they run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Entry, Measured, interleave
from benchmarks.report import Section


@dataclass(frozen=True)
class Plan:
    """How big and how long.

    Attributes:
        size: ``full``, ``quick`` or ``tiny``.
        work: A directory for the contestants' files.
        kinds: Which kinds of entry take part.
        say: Told what is running now.
    """

    size: str
    work: Path
    kinds: frozenset[str]
    say: Callable[[str], None]

    def pick(self, full: int, quick: int, tiny: int) -> int:
        """Return the number for this size."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]

    def wants(self, kind: str) -> bool:
        """Tell whether entries of this kind take part."""
        return kind in self.kinds

    def measure(self, entries: list[Entry], rounds: int) -> list[Measured]:
        """Measure the entries that take part."""
        return interleave([one for one in entries if self.wants(one.kind)], rounds, self.say)


Workload = Callable[[Plan], Section]


def workloads() -> dict[str, Workload]:
    """Return every workload by its name."""
    from benchmarks.workloads import (  # noqa: PLC0415
        chain,
        cold_start,
        functions,
        independent,
        layers,
        noop,
        planning,
        plugin,
        queue,
        steps,
        uptodate,
        wrappers,
    )

    return {
        "cold_start": cold_start.measure,
        "independent": independent.measure,
        "chain": chain.measure,
        "layers": layers.measure,
        "noop": noop.measure,
        "functions": functions.measure,
        "steps": steps.measure,
        "wrappers": wrappers.measure,
        "planning": planning.measure,
        "plugin": plugin.measure,
        "queue": queue.measure,
        "uptodate": uptodate.measure,
    }
