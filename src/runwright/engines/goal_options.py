"""How a goal made in code is pursued, as its caller says it."""

from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from runwright.core.errors import Problem, UsageError
from runwright.core.goal import GoalOptions

if TYPE_CHECKING:
    from logging import Logger

_DEFAULTS = GoalOptions()


class ReconcilerOptions(Struct, frozen=True, kw_only=True):
    """How patiently a goal is pursued, and who is told; durations are seconds.

    Attributes:
        logger: Told of rounds and actions, of errors that are tolerated, and of the end; None tells nobody.
        sleep_between_runs: Wait after a round.
        longest_sleep: Most that the wait grows to while rounds are fruitless.
        errors_to_tolerate: The error after this many ends the loop.
        execution_timeout: Longest the whole may take; None or 0 means no limit.
        workers: Most actions at a time; children are worked on by who works on their parent.
        oscillation_limit: The same cycle of rounds, so many times in a row without an error, ends the loop; 0 means
            never.

    Raises:
        UsageError: With everything that is wrong.

    Source: ``seeds/2-execloop``, the options of its executor.
    """

    logger: "Logger | None" = None
    sleep_between_runs: float = _DEFAULTS.sleep_between_runs
    longest_sleep: float = _DEFAULTS.longest_sleep
    errors_to_tolerate: int = _DEFAULTS.errors_to_tolerate
    execution_timeout: float | None = _DEFAULTS.execution_timeout
    workers: int = _DEFAULTS.workers
    oscillation_limit: int = _DEFAULTS.oscillation_limit

    def __post_init__(self) -> None:
        problems = [
            *_of_seconds("sleep_between_runs", self.sleep_between_runs),
            *_of_seconds("longest_sleep", self.longest_sleep),
            *_of_seconds("execution_timeout", self.execution_timeout or 0),
            *_of_count("errors_to_tolerate", self.errors_to_tolerate, 0),
            *_of_count("workers", self.workers, 1),
            *_of_count("oscillation_limit", self.oscillation_limit, 0),
            *_of_logger(self.logger),
        ]
        if problems:
            raise UsageError(problems)

    @classmethod
    def default(cls) -> "ReconcilerOptions":
        """Return the options that hold if none are given."""
        return cls()

    def with_logger(self, logger: "Logger | None") -> "ReconcilerOptions":
        """Return options by which this logger is told."""
        return structs.replace(self, logger=logger)

    def with_sleep_between_runs(self, seconds: float) -> "ReconcilerOptions":
        """Return options with this wait after a round."""
        return structs.replace(self, sleep_between_runs=seconds)

    def with_longest_sleep(self, seconds: float) -> "ReconcilerOptions":
        """Return options in which the wait grows to no more than this."""
        return structs.replace(self, longest_sleep=seconds)

    def with_errors_to_tolerate(self, number: int) -> "ReconcilerOptions":
        """Return options that tolerate so many errors."""
        return structs.replace(self, errors_to_tolerate=number)

    def with_execution_timeout(self, seconds: float | None) -> "ReconcilerOptions":
        """Return options with this time limit; None means no limit."""
        return structs.replace(self, execution_timeout=seconds)

    def with_workers(self, number: int) -> "ReconcilerOptions":
        """Return options by which so many actions are performed at a time."""
        return structs.replace(self, workers=number)

    def with_oscillation_limit(self, number: int) -> "ReconcilerOptions":
        """Return options by which a cycle of rounds may come so many times; 0 means any number of times."""
        return structs.replace(self, oscillation_limit=number)

    def to_goal_options(self) -> GoalOptions:
        """Return them as they are recorded."""
        return GoalOptions(
            sleep_between_runs=float(self.sleep_between_runs),
            longest_sleep=float(self.longest_sleep),
            errors_to_tolerate=self.errors_to_tolerate,
            execution_timeout=float(self.execution_timeout or 0),
            workers=self.workers,
            oscillation_limit=self.oscillation_limit,
        )


def _of_seconds(name: str, value: Any) -> list[Problem]:
    if not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value < float("inf"):
        return []
    return [Problem(message=f"{name} is {value!r}; it must be a number of seconds from 0")]


def _of_count(name: str, value: Any, least: int) -> list[Problem]:
    if not isinstance(value, bool) and isinstance(value, int) and value >= least:
        return []
    return [Problem(message=f"{name} is {value!r}; it must be a whole number from {least}")]


def _of_logger(logger: Any) -> list[Problem]:
    if logger is None or all(callable(getattr(logger, name, None)) for name in _LOGGER_METHODS):
        return []
    message = f"logger is {logger!r}, which is no logger"
    return [Problem(message=message, suggestion="give it logging.getLogger(...)")]


_LOGGER_METHODS = ("debug", "info", "warning", "error")
