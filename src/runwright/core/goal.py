"""What a control loop does between its rounds: tolerate, wait, or give up.

A round asks the goal which actions it still needs and performs them; no action needed means that the goal is reached.

* Every error counts once; an error beyond the budget, and every fatal one, ends the loop.
* A round is fruitless if nothing of it succeeded, or if it needed the same actions as the last round that needed any.
  Each further fruitless round in a row doubles the wait.
* Rounds without an error that repeat the same cycle of plans again and again are an oscillation.
* Two rounds need the same if they ask for the same names, in whatever order.

Source: ``seeds/2-execloop``, an execution engine that loops until its plan is empty.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum

from blake3 import blake3
from msgspec import Struct, field

from runwright.core.states import RunState

LONGEST_CYCLE = 50
"""Most rounds in a cycle that is recognised as one."""

FATAL_STATUS = 100
"""Exit status by which a command of a goal says that going on is useless; it is a `FatalError`."""


class ActionHook(StrEnum):
    """The parts of an action, in their order; a failed one skips the rest."""

    PRE = "pre"
    PERFORM = "perform"
    POST = "post"


class GoalOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How patiently a goal is pursued; durations are seconds.

    Attributes:
        sleep_between_runs: Wait after a round.
        longest_sleep: Most that the wait grows to while rounds are fruitless.
        errors_to_tolerate: The error after this many ends the loop.
        execution_timeout: Longest the whole may take; 0 means no limit.
        workers: Most actions at a time in a round; children are worked on by who works on their parent.
        oscillation_limit: A cycle of plans that comes so many times in a row is an oscillation; 0 means never, and 1
            counts as 2.
    """

    sleep_between_runs: float = 1.0
    longest_sleep: float = 60.0
    errors_to_tolerate: int = 5
    execution_timeout: float = 1200.0
    workers: int = 1
    oscillation_limit: int = 10


class GoalDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A goal, checked and complete; that of a goal made in code has no commands.

    Attributes:
        plan: Commands that print the actions still needed, one JSON object a line.
        variables: Values that the commands see.
        env: Environment of all commands.
        secrets: Names of environment variables whose values must appear nowhere.
        kill_grace: Seconds between SIGTERM and SIGKILL, when a command is stopped.
        max_log_bytes: Size past which the log of an attempt keeps head and tail only.
    """

    name: str
    options: GoalOptions = GoalOptions()
    plan: tuple[str, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    secrets: tuple[str, ...] = ()
    kill_grace: float = 10.0
    max_log_bytes: int = 1 << 30


class Round(Struct, frozen=True, kw_only=True):
    """A finished round.

    Attributes:
        number: From 1.
        actions: Names of the actions that the goal asked for, in order.
        succeeded: How many actions succeeded, children included.
        errors: How many errors there were.
    """

    number: int
    actions: tuple[str, ...]
    succeeded: int = 0
    errors: int = 0


class GiveUp(Struct, frozen=True):
    """End the loop: the last rounds repeat this cycle of plans."""

    cycle: tuple[Round, ...]
    repetitions: int


class Sleep(Struct, frozen=True):
    """Wait that long, and ask again."""

    seconds: float


Decision = GiveUp | Sleep


class History:
    """The rounds of a loop, as far as they matter for what comes next.

    Args:
        options: How patient the loop is.

    Attributes:
        errors: How many there were.
    """

    def __init__(self, options: GoalOptions) -> None:
        self._options = options
        self._good: deque[Round] = deque(maxlen=LONGEST_CYCLE)
        self._needs: deque[bytes] = deque(maxlen=LONGEST_CYCLE * max(options.oscillation_limit, 2))
        self._last = b""
        self._fruitless = 0
        self.errors = 0

    @property
    def is_spent(self) -> bool:
        """True once there were more errors than are tolerated."""
        return self.errors > self._options.errors_to_tolerate

    def after(self, round_: Round) -> Decision:
        """Take in a finished round and decide what follows it."""
        need = _need(round_)
        is_fruitless = need == self._last or not round_.succeeded
        self._fruitless = self._fruitless + 1 if is_fruitless else 0
        if round_.actions:
            self._last = need
        return self._oscillation(round_, need) or Sleep(self._delay())

    def _oscillation(self, round_: Round, need: bytes) -> GiveUp | None:
        if round_.errors:
            self._good.clear()
            self._needs.clear()
            return None
        self._good.append(round_)
        self._needs.append(need)
        limit = self._options.oscillation_limit
        length = cycle_length(self._needs, limit)
        return GiveUp(tuple(self._good)[-length:], max(limit, 2)) if length else None

    def _delay(self) -> float:
        options = self._options
        longest = max(options.longest_sleep, options.sleep_between_runs)
        return min(longest, options.sleep_between_runs * 2.0 ** min(max(self._fruitless - 1, 0), 64))


def _need(round_: Round) -> bytes:
    """Return what stands for the names of a round: many rounds are remembered, and names may be long."""
    return blake3(repr(sorted(round_.actions)).encode()).digest()


def cycle_length(needs: Sequence[bytes], limit: int) -> int:
    """Return the length of the shortest cycle that `needs` ends with at least `limit` repetitions of; 0 if there is none.

    No cycle is longer than `LONGEST_CYCLE`.
    """
    if limit < 1:
        return 0
    limit = max(limit, 2)
    for length in range(1, min(LONGEST_CYCLE, len(needs) // limit) + 1):
        if all(needs[-at] == needs[-at - length] for at in range(1, length * (limit - 1) + 1)):
            return length
    return 0


def oscillation_text(cycle: Sequence[Round], repetitions: int) -> str:
    """Say which rounds repeat, and what they do."""
    rounds = "; ".join(f"round {one.number}: {', '.join(one.actions)}" for one in cycle)
    what = "the same round" if len(cycle) == 1 else f"the same {len(cycle)} rounds"
    return (
        f"{what} came {repetitions} times in a row without an error and without reaching the goal ({rounds})"
    )


def budget_text(errors: int, tolerated: int) -> str:
    """Say that the error budget is spent."""
    came = "1 error" if errors == 1 else f"{errors} errors"
    return f"{came}, and {tolerated} {'is' if tolerated == 1 else 'are'} tolerated"


class ActionDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An action that a command asked for, checked and complete.

    Attributes:
        name: What it does, and to what; the same need has the same name in every round.
        perform: Command lines that do it.
        pre: Command lines before it.
        post: Command lines after it.
        env: Environment of its commands, on top of the goal's.
        timeout: Seconds all its commands may take together; 0 means no limit.
    """

    name: str
    perform: tuple[str, ...]
    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 0.0


class Ending(Struct, frozen=True):
    """How a loop ends, and why in one line."""

    state: RunState
    reason: str = ""


class GoalOutcome(Struct, frozen=True, kw_only=True):
    """What came of a reconciliation.

    Attributes:
        state: `succeeded` if the goal is reached, `failed`, or `cancelled` if it was stopped or took too long.
        reason: Why the goal was not reached, in one line.
        rounds: How often the goal was asked, in this execution.
        performed: How many actions succeeded, children included.
        errors: Every error that counted, with the name of its action, or ``plan`` if the goal could not say what it
            needs; in the order in which they came.
        run_id: Its run in the store; empty if it was not recorded.
        cause: The error that ended it; None if it was no error.
    """

    state: RunState
    reason: str = ""
    rounds: int = 0
    performed: int = 0
    errors: tuple[tuple[str, Exception], ...] = ()
    run_id: str = ""
    cause: Exception | None = None
