"""What a control loop does between its rounds: tolerate, wait, or give up.

A round asks the goal which actions it still needs and performs them; no action needed means that the goal is reached.

* Every error counts once; an error beyond the budget, and every fatal one, ends the loop.
* A round is fruitless if nothing of it succeeded, or if it needed the same actions as the round before it. Each further
  fruitless round in a row doubles the wait.
* Rounds without an error that repeat the same cycle of plans again and again are an oscillation.

Source: ``seeds/2-execloop``, an execution engine that loops until its plan is empty.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

LONGEST_CYCLE = 50
"""Most rounds in a cycle that is recognised as one."""


class GoalOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How patiently a goal is pursued; durations are seconds.

    Attributes:
        sleep_between_runs: Wait after a round.
        longest_sleep: Most that the wait grows to while rounds are fruitless.
        errors_to_tolerate: The error after this many ends the loop.
        execution_timeout: Longest the whole may take; 0 means no limit.
        workers: Most actions at a time in a round.
        oscillation_limit: So many repetitions of a cycle of plans are an oscillation; 0 means never.
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
        state: Not used by the loop: values that the commands see as variables.
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
        errors: Errors counted before.
    """

    def __init__(self, options: GoalOptions, errors: int = 0) -> None:
        self._options = options
        self._good: list[Round] = []
        self._last: tuple[str, ...] | None = None
        self._fruitless = 0
        self.errors = errors

    @property
    def is_spent(self) -> bool:
        """True once there were more errors than are tolerated."""
        return self.errors > self._options.errors_to_tolerate

    def after(self, round_: Round) -> Decision:
        """Take in a finished round and decide what follows it."""
        self._good = [] if round_.errors else [*self._good, round_][-self._kept :]
        same = round_.actions == self._last
        self._fruitless = self._fruitless + 1 if same or not round_.succeeded else 0
        self._last = round_.actions
        cycle = find_cycle(self._good, self._options.oscillation_limit)
        if cycle:
            return GiveUp(tuple(cycle), self._options.oscillation_limit)
        return Sleep(self._delay())

    @property
    def _kept(self) -> int:
        return max(1, LONGEST_CYCLE * self._options.oscillation_limit)

    def _delay(self) -> float:
        options = self._options
        longest = max(options.longest_sleep, options.sleep_between_runs)
        return min(longest, options.sleep_between_runs * 2.0 ** min(self._fruitless, 64))


def find_cycle(rounds: Sequence[Round], limit: int) -> Sequence[Round]:
    """Return the last cycle of rounds if the end of `rounds` is at least `limit` repetitions of it, else nothing.

    The shortest such cycle is returned, of `LONGEST_CYCLE` rounds at most.
    """
    if limit < 1:
        return ()
    for length in range(1, min(LONGEST_CYCLE, len(rounds) // limit) + 1):
        tail = rounds[-length * limit :]
        if all(tail[at].actions == tail[at % length].actions for at in range(len(tail))):
            return tail[-length:]
    return ()


def oscillation_text(cycle: Sequence[Round], repetitions: int) -> str:
    """Say which rounds repeat, and what they do."""
    rounds = "; ".join(f"round {one.number}: {', '.join(one.actions)}" for one in cycle)
    what = "the same round" if len(cycle) == 1 else f"the same {len(cycle)} rounds"
    return (
        f"{what} came {repetitions} times in a row without an error and without reaching the goal ({rounds})"
    )


def budget_text(errors: int, tolerated: int) -> str:
    """Say that the error budget is spent."""
    return f"{errors} errors, and {tolerated} are tolerated"


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
