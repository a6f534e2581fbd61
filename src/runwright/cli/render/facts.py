"""Names and values about a task, for those who want detail; and the one line that sums a picture up."""

from collections.abc import Iterator

from runwright.cli.render.picture import Block, Kind, Measure, Picture
from runwright.cli.render.times import duration, instant
from runwright.core.workflow import TaskDefinition, Workflow

UNITS = {"plan": "step", "goal": "action"}
LEVELS = {"workflow": "level", "goal": "round"}


def plural(count: int, word: str, words: str = "") -> str:
    """Return ``1 task``, ``12,000 tasks``."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def facts_of(
    task: TaskDefinition, measure: Measure | None, workflow: Workflow
) -> tuple[tuple[str, str], ...]:
    """Return what is worth knowing of a task, as names and values; nothing that has its default."""
    return tuple((name, value) for name, value in _facts(task, measure, workflow) if value)


def _facts(task: TaskDefinition, measure: Measure | None, workflow: Workflow) -> Iterator[tuple[str, str]]:
    yield "key", task.key if task.name not in {"", task.key} else ""
    yield "about", task.description
    yield from _measured(measure)
    yield "runs", task.cmd if task.cmd is not None else " ".join(task.argv) or task.executor
    yield "with", task.executor if task.executor != "shell" and (task.cmd or task.argv) else ""
    yield "needs", ", ".join(task.depends_on)
    yield "if", task.condition
    yield "matrix", ", ".join(f"{name} ({len(values)})" for name, values in task.matrix.items())
    yield "retries", f"{task.retries}" if task.retries else ""
    yield "timeout", duration(task.timeout) if task.timeout else ""
    yield "registers", task.register
    yield "on failure", task.on_failure
    yield "if it fails", "the run goes on" if task.ignore_failure else ""
    yield "serves", "the whole workflow" if workflow.on_failure == task.key else ""
    for name, commands in (("before", task.pre), ("after", task.post), ("cleanup", task.cleanup)):
        yield name, "; ".join(commands)
    yield "in", task.working_dir
    yield "tags", ", ".join(task.tags)


def _measured(measure: Measure | None) -> Iterator[tuple[str, str]]:
    if measure is None:
        return
    yield "why", measure.reason
    yield "started", instant(measure.started_at)
    yield "took", duration(measure.seconds)
    yield "attempts", str(measure.attempts) if measure.attempts > 1 else ""


def heading(picture: Picture, dot: str = "·") -> str:
    """Return one line about the whole: ``failed in 3.2 s · 9 tasks · 4 levels · critical path 2.9 s``."""
    parts = []
    if picture.state is not None:
        after = f" in {duration(picture.seconds)}" if picture.seconds is not None else ""
        parts.append(f"{picture.state}{after}")
    parts.append(plural(picture.tasks, UNITS.get(picture.kind, "task")))
    if picture.kind in LEVELS:
        parts.append(plural(picture.levels, LEVELS[picture.kind]))
    if picture.critical_seconds is not None:
        parts.append(f"critical path {duration(picture.critical_seconds)}")
    return f" {dot} ".join(parts)


def brief(block: Block, dot: str = "·") -> str:
    """Return the second line of a box: its state, counts, time and attempts; empty if there is nothing to say."""
    parts = []
    if block.kind is Kind.MATRIX:
        parts.append(counted(block))
    elif block.state is not None and (block.seconds is None or block.kind is Kind.MORE):
        parts.append(str(block.state))
        parts.append(block.measure.reason if block.measure else "")
    if block.kind is Kind.HANDLER and block.count > 1:
        parts.append(f"{block.count:,} times")
    if block.seconds is not None:
        parts.append(duration(block.seconds))
    if block.measure is not None and block.measure.attempts > 1:
        parts.append(plural(block.measure.attempts, "attempt"))
    parts.append(block.undo)
    return f" {dot} ".join(part for part in parts if part)


def inner_title(picture: Picture, dot: str = "·") -> str:
    """Return how a picture inside another is headed: ``[os=linux] plan servers · failed in 3.0 s · 4 steps``."""
    place = f"{picture.place} " if picture.place else ""
    return f"{place}{picture.kind} {picture.title} {dot} {heading(picture, dot)}"


def counted(block: Block) -> str:
    """Return how many nodes a block has, and of a run how many are in its worst state: ``2 of 24 failed``."""
    if block.state is None:
        return plural(block.count, "node")
    return f"{block.tally[block.state]:,} of {block.count:,} {block.state}"
