"""How a goal made in code is pursued, as its caller says it."""

import logging
from typing import Any

import pytest

from runwright import ReconcilerOptions, UsageError
from runwright.core.goal import GoalOptions


def test_the_defaults_are_those_of_goal_files() -> None:
    assert ReconcilerOptions.default().to_goal_options() == GoalOptions()
    assert ReconcilerOptions() == ReconcilerOptions.default()


def test_each_helper_changes_one_thing_in_a_copy() -> None:
    logger = logging.getLogger("goal")
    first = ReconcilerOptions.default()
    changed = (
        first.with_logger(logger)
        .with_sleep_between_runs(0.5)
        .with_longest_sleep(7)
        .with_errors_to_tolerate(2)
        .with_execution_timeout(30)
        .with_workers(3)
        .with_oscillation_limit(4)
    )
    assert changed == ReconcilerOptions(
        logger=logger,
        sleep_between_runs=0.5,
        longest_sleep=7,
        errors_to_tolerate=2,
        execution_timeout=30,
        workers=3,
        oscillation_limit=4,
    )
    assert first == ReconcilerOptions.default()
    assert changed.to_goal_options() == GoalOptions(
        sleep_between_runs=0.5,
        longest_sleep=7.0,
        errors_to_tolerate=2,
        execution_timeout=30.0,
        workers=3,
        oscillation_limit=4,
    )


@pytest.mark.parametrize("none", [None, 0])
def test_no_time_limit_can_be_said_in_two_ways(none: Any) -> None:
    assert ReconcilerOptions.default().with_execution_timeout(none).to_goal_options().execution_timeout == 0.0


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        ReconcilerOptions(
            logger=print,  # type: ignore[arg-type]
            sleep_between_runs=-1,
            longest_sleep=float("inf"),
            execution_timeout="3",  # type: ignore[arg-type]
            errors_to_tolerate=-1,
            workers=0,
            oscillation_limit=1.5,  # type: ignore[arg-type]
        )
    assert [problem.message.partition(";")[0] for problem in caught.value.problems] == [
        "sleep_between_runs is -1",
        "longest_sleep is inf",
        "execution_timeout is '3'",
        "errors_to_tolerate is -1",
        "workers is 0",
        "oscillation_limit is 1.5",
        f"logger is {print!r}, which is no logger",
    ]


@pytest.mark.parametrize("field", ["sleep_between_runs", "workers", "execution_timeout"])
def test_true_is_no_number(field: str) -> None:
    with pytest.raises(UsageError, match=f"{field} is True"):
        ReconcilerOptions(**{field: True})


def test_a_helper_checks_too() -> None:
    with pytest.raises(UsageError, match="it must be a whole number from 1"):
        ReconcilerOptions.default().with_workers(0)
