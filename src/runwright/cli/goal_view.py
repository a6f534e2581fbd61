"""How the run of a goal is shown: round by round, each with the actions that it needed and their children."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from runwright.core.errors import Failure
from runwright.core.events import AnyEvent, RoundPlanned
from runwright.core.run import TaskRow


class ActionView(Struct, frozen=True):
    """An action of a round; `depth` is 0 for one that the goal asked for, more for children."""

    name: str
    depth: int
    row: TaskRow


class RoundView(Struct, frozen=True, kw_only=True):
    """A round of a goal.

    Attributes:
        names: What the goal still needed.
        failure: Why it could not say.
        planning: How its planning went, which is a task of its own.
        actions: What was done, each action before its children.
    """

    number: int
    names: tuple[str, ...] = ()
    failure: Failure | None = None
    planning: TaskRow | None = None
    actions: Sequence[ActionView] = ()


def rounds(rows: Iterable[TaskRow], events: Iterable[AnyEvent]) -> list[RoundView]:
    """Return the rounds of a goal in order."""
    planned = {event.round: event for event in events if isinstance(event, RoundPlanned)}
    by_round: dict[int, list[TaskRow]] = {number: [] for number in planned}
    for row in rows:
        by_round.setdefault(round_of(row.id), []).append(row)
    return [_view(number, planned.get(number), by_round[number]) for number in sorted(by_round)]


def _view(number: int, planned: RoundPlanned | None, rows: Sequence[TaskRow]) -> RoundView:
    names = planned.actions if planned else ()
    return RoundView(
        number=number,
        names=names,
        failure=planned.failure if planned else None,
        planning=next((row for row in rows if is_round(row.id)), None),
        actions=_actions(number, names, [row for row in rows if not is_round(row.id)]),
    )


def is_round(row_id: str) -> bool:
    """Tell whether a row of a goal is the planning of a round."""
    return row_id.isdecimal()


def row_name(row_id: str) -> str:
    """Return what people are shown for a row of a goal."""
    return f"round {row_id}" if is_round(row_id) else row_id


def round_of(row_id: str) -> int:
    """Return the number of the round in which an action was done; 0 if its id tells none."""
    number = row_id.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def action_name(row_id: str) -> str:
    """Return what an action is called in every round, with its outer actions before it."""
    return row_id.partition(".")[2] or row_id


def needed_in(views: Iterable[RoundView], name: str) -> list[int]:
    """Return the numbers of the rounds that did an action of this name."""
    return [view.number for view in views if any(action_name(one.row.id) == name for one in view.actions)]


def _actions(number: int, names: Sequence[str], rows: Sequence[TaskRow]) -> list[ActionView]:
    """Put each row behind the one whose id begins its own; those that the goal named have none above them."""
    above: dict[str, list[TaskRow]] = {}
    ids = {row.id for row in rows}
    top = {f"{number}.{name}" for name in names}
    for row in rows:
        above.setdefault("" if row.id in top else _parent(row.id, ids), []).append(row)
    found: list[ActionView] = []
    stack = [(0, row) for row in reversed(above.get("", ()))]
    while stack:
        depth, row = stack.pop()
        name = row.id.removeprefix(f"{_parent(row.id, ids) if depth else number}.")
        found.append(ActionView(name, depth, row))
        stack += [(depth + 1, child) for child in reversed(above.get(row.id, ()))]
    return found


def _parent(row_id: str, ids: set[str]) -> str:
    """Return the longest other id that begins this one; empty if there is none."""
    end = row_id.rfind(".")
    while end > 0:
        if row_id[:end] in ids:
            return row_id[:end]
        end = row_id.rfind(".", 0, end)
    return ""
