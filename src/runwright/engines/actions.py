"""Goals and actions made in code, and what makes an object one of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from runwright.core.errors import UsageError
from runwright.core.goal import ActionHook

GoalFunction = Callable[[], Any]

HOOKS = tuple(ActionHook)


class Goal:
    """What a reconciler drives a system towards.

    Subclass it and define `plan`, or give the function; any other object with a `plan` will do as well.

    Args:
        plan: Returns the actions still needed, in order; plain or a coroutine function.

    Source: ``seeds/2-execloop``, whose plans are asked for their tasks in every loop.
    """

    def __init__(self, plan: GoalFunction | None = None) -> None:
        if plan is not None:
            vars(self)["plan"] = plan

    def plan(self) -> Any:
        """Return the actions still needed; none means that the goal is reached. It may be a coroutine function.

        Raises:
            FatalError: To say that going on is useless.
        """
        raise UsageError(f"{type(self).__name__} has no plan; define it, or give Goal(plan=...) a function")


class Action:
    """Something a goal still needs done.

    Subclass it and define `perform`, and `pre` and `post` if need be, or give functions; any other object with a
    `name` and a `perform` will do as well. Each may be plain or a coroutine function.

    Args:
        name: What it does, and to what; the same need has the same name in every round.
        perform: Does it; may return further actions, its children, which are performed after `post`.
        pre: Comes before it; if it fails, the rest of the action is skipped.
        post: Comes after it.

    Source: ``seeds/2-execloop``, whose tasks have four such methods.
    """

    name: str

    def __init__(
        self,
        name: str,
        perform: GoalFunction | None = None,
        *,
        pre: GoalFunction | None = None,
        post: GoalFunction | None = None,
    ) -> None:
        self.name = name
        given = {"pre": pre, "perform": perform, "post": post}
        vars(self).update({hook: function for hook, function in given.items() if function is not None})

    def pre(self) -> Any:
        """Do nothing before `perform`."""

    def perform(self) -> Any:
        """Do it; return child actions, or None."""
        raise UsageError(
            f"action {self.name!r} has no perform; define it, or give Action(perform=...) a function"
        )

    def post(self) -> Any:
        """Do nothing after `perform`."""


_NOTHING = (Action.pre, Action.post)


def hook_of(action: Any, hook: ActionHook) -> GoalFunction | None:
    """Return the function that a hook of an action is; None if it does nothing."""
    function = getattr(action, hook, None)
    return None if getattr(function, "__func__", None) in _NOTHING else function


def checked_goal(goal: object) -> GoalFunction:
    """Return the function that says what a goal needs.

    Raises:
        UsageError: If there is none.
    """
    plan = getattr(goal, "plan", None)
    if not callable(plan):
        raise UsageError(
            f"{goal!r} is no goal: it needs a method plan() that returns the actions still needed"
        )
    function: GoalFunction = plan
    return function


def checked_actions(found: object, source: str) -> list[tuple[str, Any]]:
    """Return actions with their names.

    Args:
        found: What a function returned.
        source: Which function that was.

    Raises:
        UsageError: If it is no sequence of actions; with all that is wrong.
    """
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
        raise UsageError(f"{source} returned {found!r}, which is no sequence of actions; [] means none")
    named = [(_name_of(action), action) for action in found]
    faults = [fault for name, action in named if (fault := _fault(name, action))]
    if faults:
        raise UsageError(f"{source} returned what can't be performed: {'; '.join(faults)}")
    return named


def _name_of(action: Any) -> Any:
    """Return the name of an action; a method gives it too, as in the seed."""
    name = getattr(action, "name", None)
    return name() if callable(name) else name


def _fault(name: Any, action: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        return f"{action!r} has no name"
    for hook in HOOKS:
        function = getattr(action, hook, None)
        if function is None and hook == "perform":
            return f"{name!r} has no perform()"
        if function is not None and not callable(function):
            return f"{hook} of {name!r} is {function!r}, which can't be called"
    return ""
