"""When to try again, and after how long."""

from msgspec import Struct

from runwright.core.errors import Failure
from runwright.core.workflow import TaskDefinition


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How often and how patiently a failed task is tried again.

    Attributes:
        retries: Attempts after the first.
        delay: Seconds before the second attempt.
        backoff: Factor by which each further delay grows; 1 keeps it.
        max_delay: Most seconds to wait; 0 means no limit but `LONGEST_DELAY`.
        jitter: Share of each delay that is drawn at random, in [0, 1].
        retry_on: Exit codes worth another attempt; empty means any failure.
    """

    retries: int = 0
    delay: float = 0.0
    backoff: float = 1.0
    max_delay: float = 0.0
    jitter: float = 0.0
    retry_on: tuple[int, ...] = ()


LONGEST_DELAY = 366 * 86_400.0
"""Seconds that a delay without a limit of its own may grow to; nothing waits for an infinite time."""

NEVER_RETRIED = frozenset(
    {
        "E_OUTPUT",
        "E_VARIABLE",
        "E_SECRET",
        "E_ARGS",
        "E_TEMPLATE",
        "E_CONDITION",
        "E_ITEMS",
        "E_CHILDREN",
        "E_SESSION",
    }
)
"""Failures of the definition itself, or of a session that is over: another attempt can only fail in the same way."""


def policy_of(definition: TaskDefinition) -> RetryPolicy:
    """Return the policy that a task's definition asks for."""
    return RetryPolicy(
        retries=definition.retries,
        delay=definition.retry_delay,
        backoff=definition.retry_backoff,
        max_delay=definition.retry_max_delay,
        jitter=definition.retry_jitter,
        retry_on=definition.retry_on,
    )


def is_worth_another(policy: RetryPolicy, *, made: int, failure: Failure) -> bool:
    """Tell whether a failure is followed by another attempt.

    Args:
        policy: How often to try.
        made: Attempts made so far in this execution, from 1.
        failure: How the last one ended.
    """
    if made > policy.retries or failure.code in NEVER_RETRIED:
        return False
    return not policy.retry_on or failure.exit_code in policy.retry_on


def delay_after(policy: RetryPolicy, *, made: int, draw: float) -> float:
    """Return the seconds between a failed attempt and the next one, never negative.

    The delay grows by ``policy.backoff`` with each attempt and stops at ``policy.max_delay``; of the share
    ``policy.jitter`` of it, only the part ``draw`` is waited.

    Args:
        policy: Shape of the delays, in seconds.
        made: Attempts made so far, from 1.
        draw: A random number in [0, 1), drawn by the caller so that tests can repeat it.

    Raises:
        ValueError: If ``made`` is below 1 or ``draw`` outside [0, 1].
    """
    if made < 1 or not 0.0 <= draw <= 1.0:
        raise ValueError(f"made must be at least 1 and draw in [0, 1], not {made} and {draw}")
    full = _grown(policy, made)
    return full * (1.0 - policy.jitter * (1.0 - draw))


def _grown(policy: RetryPolicy, made: int) -> float:
    limit = policy.max_delay or LONGEST_DELAY
    if not policy.delay:
        return 0.0
    try:
        grown = policy.delay * policy.backoff ** (made - 1)
    except OverflowError:
        grown = limit
    return min(grown, limit)
