"""How the run of a plan is shown: its elements in order with their cleanups, and the state that they share."""

from collections.abc import Iterable, Iterator

import msgspec

from runwright.cli.nested import Nested
from runwright.cli.render.tables import Cell
from runwright.cli.render.times import duration
from runwright.core.definition import unpin_as
from runwright.core.events import AnyEvent, StateSaved
from runwright.core.plan import PauseDefinition, PlanDefinition
from runwright.core.planlog import CLEANUP_SUFFIX, PlanLog
from runwright.core.run import Definition, TaskRow, Variable
from runwright.core.states import TaskRole


def plan_of(definition: Definition | None) -> PlanDefinition | None:
    """Return the pinned plan; None if there is none that can be read."""
    if definition is None:
        return None
    try:
        return unpin_as(definition, PlanDefinition)
    except msgspec.MsgspecError:
        return None


def in_order(found: Nested) -> Iterator[tuple[str, TaskRow]]:
    """Yield the rows of a plan, each cleanup behind its step, with what they are called."""
    cleanups = {row.id: row for row in found.tasks if row.role is TaskRole.CLEANUP}
    for row in found.tasks:
        if row.role is TaskRole.CLEANUP:
            continue
        yield row.id, row
        cleanup = cleanups.pop(row.id + CLEANUP_SUFFIX, None)
        if cleanup is not None:
            yield "  cleanup", cleanup
    yield from ((row.id, row) for row in cleanups.values())


def pauses(plan: PlanDefinition | None) -> dict[str, str]:
    """Return how long the pauses of a plan are, by name."""
    elements = plan.elements if plan else ()
    return {
        one.name: f"pause of {duration(one.seconds)}" for one in elements if isinstance(one, PauseDefinition)
    }


def state_rows(variables: Iterable[Variable], events: Iterable[AnyEvent]) -> list[tuple[Cell | str, ...]]:
    """Return the state of a plan as rows: names with their values as JSON, and names whose value is lost."""
    rows: list[tuple[Cell | str, ...]] = [(one.name, one.value, one.set_by) for one in variables]
    log, setters = PlanLog(), dict[str, str]()
    for event in events:
        log.follow(event)
        if isinstance(event, StateSaved):
            setters.update(dict.fromkeys(event.lost, event.task_id))
    return rows + [(name, Cell(f"lost: {why}", "warn"), setters[name]) for name, why in log.lost.items()]
