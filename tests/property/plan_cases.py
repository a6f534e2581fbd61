"""Random plans, and what disturbs them: stops, crashes and resumes."""

from random import Random
from typing import Any, NamedTuple

from msgspec import Struct, field

WORK = ("pre_exec", "exec", "post_exec")


class Entry(NamedTuple):
    """One line of the tape: what was recorded, called or done, and at which second."""

    kind: str
    name: str = ""
    detail: Any = ""
    at: float = 0.0


class HookSpec(Struct):
    """A hook that takes `seconds` and fails in the calls with these numbers.

    Attributes:
        writes: It changes the shared state.
        stubborn: It takes no notice of being cancelled, apart from ending at once.
        plain: It is a plain function, which takes no time.
    """

    seconds: int = 0
    bad: frozenset[int] = frozenset()
    writes: bool = False
    stubborn: bool = False
    plain: bool = False


class ElementSpec(Struct):
    """A step, or a pause of `seconds` if it has no hooks."""

    name: str
    hooks: dict[str, HookSpec] = field(default_factory=dict)
    retries: int = 0
    delay: int = 0
    timeout: float = 0.0
    seconds: int = 0


class PlanSpec(Struct):
    """A plan; its limits are fractions that no sum of the other times can hit."""

    elements: list[ElementSpec]
    goes_on: bool
    limit: float
    cleanup_limit: float


class Trouble(Struct):
    """What disturbs one execution, at places counted from 1; 0 means never.

    Attributes:
        crash: Before or after which event, or in which hook, the engine dies.
        stop: After which entry of the tape it is stopped.
        turns: How many turns of the loop later.
        how: `cancel`, `stop` or `ask`.
        go_on: Whether the execution goes on with the plan, if it is a resume.
    """

    crash: int = 0
    stop: int = 0
    turns: int = 0
    how: str = ""
    go_on: bool = False


class Case(Struct):
    plan: PlanSpec
    troubles: list[Trouble]


def random_case(dice: Random) -> Case:
    plan = _plan(dice)
    return Case(plan, [_trouble(dice, 14 * len(plan.elements)) for _ in range(dice.choice((1, 2, 3, 5)))])


def _plan(dice: Random) -> PlanSpec:
    steps, elements = dice.randint(1, 6), []
    for number in range(steps):
        elements.append(_step(dice, f"s{number}"))
        for pause in range(dice.choice((0, 0, 0, 1, 2))):
            elements.append(ElementSpec(f"p{number}{pause}", seconds=dice.randint(0, 2)))
    if dice.random() < 0.1:
        elements.insert(0, ElementSpec("p", seconds=1))
    limit = dice.choice((0.0, 0.0, 0.0, dice.randint(0, 2 * steps) + 0.25))
    return PlanSpec(elements, dice.random() < 0.5, limit, 2.5 + 1 / 128)


def _step(dice: Random, name: str) -> ElementSpec:
    present = [hook for hook in (*WORK, "cleanup") if dice.random() < 0.75] or ["exec"]
    worst = dice.choice((0.0, 0.1, 0.3))
    return ElementSpec(
        name,
        hooks={hook: _hook(dice, worst) for hook in present},
        retries=dice.choice((0, 0, 1, 2)),
        delay=dice.choice((0, 0, 1)),
        timeout=dice.choice((0.0, 0.0, 0.0, 1.5 + 1 / 64, 3.5 + 1 / 64)),
    )


def _hook(dice: Random, worst: float) -> HookSpec:
    plain = dice.random() < 0.3
    return HookSpec(
        seconds=0 if plain else dice.choice((0, 0, 1, 2, 3)),
        bad=frozenset(number for number in range(1, 9) if dice.random() < worst),
        writes=dice.random() < 0.2,
        stubborn=dice.random() < 0.1,
        plain=plain,
    )


def _trouble(dice: Random, size: int) -> Trouble:
    return Trouble(
        crash=dice.choice((0, dice.randint(1, size))),
        stop=dice.choice((0, 0, dice.randint(1, size))),
        turns=dice.randint(0, 6),
        how=dice.choice(("cancel", "stop", "ask")),
        go_on=dice.random() < 0.5,
    )
