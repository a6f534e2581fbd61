"""Steps made in code, and the definition of a plan that is made of them."""

from collections.abc import Container, Sequence
from typing import Any

from msgspec import Struct, structs

from runwright.core.errors import UsageError
from runwright.core.plan import Element, Hook, PauseDefinition, StepDefinition
from runwright.engines.plan_functions import HookFunction

LONGEST_NAME = 200
FORBIDDEN = frozenset(".@[]/\\")


class Step(Struct, frozen=True):
    """A step made of functions, each plain or a coroutine function, called with the plan's `State`.

    Attributes:
        name: Unique in its plan; a number is added where it is not.
        exec: The work.
        pre_exec: Comes before it.
        post_exec: Comes after it.
        cleanup: Undoes the step, once all three have succeeded.
        retries: Attempts after the first; each runs all three.
        retry_delay: Seconds before each of them.
        timeout: Seconds that an attempt may take, all three together; None means no limit.

    Source: ``seeds/3-plan-of-steps``, the step made of four functions.
    """

    name: str
    exec: HookFunction | None = None
    pre_exec: HookFunction | None = None
    post_exec: HookFunction | None = None
    cleanup: HookFunction | None = None
    retries: int = 0
    retry_delay: float = 0.0
    timeout: float | None = None

    def with_retries(self, retries: int) -> "Step":
        """Return the step with so many attempts after the first."""
        return structs.replace(self, retries=retries)


class Elements:
    """The steps and pauses of a plan as they are added.

    Attributes:
        definitions: In order.
        functions: By name of the step and hook.
    """

    def __init__(self) -> None:
        self.definitions: list[Element] = []
        self.functions: dict[tuple[str, Hook], HookFunction] = {}
        self._names: set[str] = set()
        self._pauses = 0

    def add_step(self, step: object) -> None:
        """Add a step: a `Step`, or any object with some of its hooks as methods.

        Raises:
            UsageError: If it has no hook, or something about it is wrong.
        """
        name = self._unique(_name_of(step))
        hooks = _hooks_of(step, name)
        self.functions.update({(name, hook): function for hook, function in hooks.items()})
        definition = StepDefinition(
            name=name,
            hooks=dict.fromkeys(hooks, ()),
            retries=_number(step, "retries", name, int),
            retry_delay=_number(step, "retry_delay", name, float),
            timeout=_number(step, "timeout", name, float),
        )
        self.definitions.append(definition)

    def add_pause(self, seconds: float) -> None:
        """Add a pause.

        Raises:
            UsageError: If it is not a positive number of seconds.
        """
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, int | float)
            or not 0 <= seconds < float("inf")
        ):
            raise UsageError(f"a pause takes a number of seconds, not {seconds!r}")
        self._pauses += 1
        name = self._unique(f"pause-{self._pauses}")
        self.definitions.append(PauseDefinition(name=name, seconds=float(seconds)))

    def _unique(self, name: str) -> str:
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}-{number}"
        self._names.add(found)
        return found


def missing_functions(
    elements: Sequence[Element], hooks: Container[Hook], functions: Container[tuple[str, Hook]]
) -> list[str]:
    """Return those of some hooks that elements have and nobody performs, as ``step.hook``."""
    return [
        f"{element.name}.{hook.value}"
        for element in elements
        if isinstance(element, StepDefinition)
        for hook in element.hooks
        if hook in hooks and (element.name, hook) not in functions
    ]


def _name_of(step: object) -> str:
    name = getattr(step, "name", None)
    if name is None:
        name = type(step).__name__
    if not isinstance(name, str) or not name.isprintable() or not name.strip() or len(name) > LONGEST_NAME:
        raise UsageError(
            f"{name!r} can't be the name of a step; use up to {LONGEST_NAME} printable characters"
        )
    if found := FORBIDDEN.intersection(name):
        raise UsageError(
            f"{name!r} can't be the name of a step: {min(found)!r} has a meaning in names of tasks"
        )
    return name


def _hooks_of(step: object, name: str) -> dict[Hook, HookFunction]:
    found = {hook: getattr(step, hook.value, None) for hook in Hook}
    hooks = {hook: function for hook, function in found.items() if function is not None}
    for hook, function in hooks.items():
        if not callable(function):
            raise UsageError(f"{hook.value} of step {name!r} is {function!r}, which can't be called")
    if not hooks:
        raise UsageError(f"step {name!r} has nothing to do; give it exec, pre_exec, post_exec or cleanup")
    return hooks


def _number(step: object, field: str, name: str, kind: type[Any]) -> Any:
    """Return a number of the step; a method gives it too, as in the seed."""
    value = getattr(step, field, None)
    if callable(value):
        value = value()
    if value is None:
        return kind(0)
    allowed = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not 0 <= value < float("inf"):
        raise UsageError(f"{field} of step {name!r} is {value!r}; it must be a number from 0")
    return kind(value)
