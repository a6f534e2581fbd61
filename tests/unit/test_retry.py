"""Which failures get another attempt, and when."""

import pytest

from runwright.core.errors import Failure
from runwright.core.retry import (
    LONGEST_DELAY,
    NEVER_RETRIED,
    RetryPolicy,
    delay_after,
    is_worth_another,
    policy_of,
)
from runwright.core.workflow import TaskDefinition

EXIT = Failure(code="E_EXIT", message="exit status 3", exit_code=3)


def test_the_policy_of_a_definition() -> None:
    definition = TaskDefinition(
        key="a",
        name="a",
        retries=2,
        retry_delay=1.5,
        retry_backoff=2.0,
        retry_max_delay=9.0,
        retry_jitter=0.5,
        retry_on=(3,),
    )
    expected = RetryPolicy(retries=2, delay=1.5, backoff=2.0, max_delay=9.0, jitter=0.5, retry_on=(3,))
    assert policy_of(definition) == expected


@pytest.mark.parametrize(("made", "expected"), [(1, True), (2, True), (3, False)])
def test_attempts_are_limited(made: int, expected: bool) -> None:
    assert is_worth_another(RetryPolicy(retries=2), made=made, failure=EXIT) is expected


@pytest.mark.parametrize(("codes", "expected"), [((), True), ((3,), True), ((4, 5), False)])
def test_exit_codes_choose(codes: tuple[int, ...], expected: bool) -> None:
    assert is_worth_another(RetryPolicy(retries=1, retry_on=codes), made=1, failure=EXIT) is expected


def test_without_an_exit_code_a_list_of_codes_matches_nothing() -> None:
    failure = Failure(code="E_TIMEOUT", message="too long")
    assert not is_worth_another(RetryPolicy(retries=1, retry_on=(3,)), made=1, failure=failure)


@pytest.mark.parametrize("code", sorted(NEVER_RETRIED))
def test_faults_of_the_definition_are_final(code: str) -> None:
    assert not is_worth_another(RetryPolicy(retries=9), made=1, failure=Failure(code=code, message="m"))


@pytest.mark.parametrize(
    ("policy", "made", "draw", "expected"),
    [
        (RetryPolicy(delay=2.0), 1, 0.3, 2.0),
        (RetryPolicy(delay=2.0, backoff=3.0), 3, 0.3, 18.0),
        (RetryPolicy(delay=2.0, backoff=3.0, max_delay=5.0), 3, 0.3, 5.0),
        (RetryPolicy(delay=2.0, backoff=0.5), 3, 0.3, 0.5),
        (RetryPolicy(delay=2.0, jitter=0.5), 1, 0.0, 1.0),
        (RetryPolicy(delay=2.0, jitter=1.0), 1, 0.25, 0.5),
        (RetryPolicy(delay=1.0, backoff=2.0), 5000, 0.0, LONGEST_DELAY),
        (RetryPolicy(delay=1.0, backoff=2.0, max_delay=60.0), 5000, 0.0, 60.0),
        (RetryPolicy(delay=0.0, backoff=2.0), 5000, 0.0, 0.0),
    ],
)
def test_delay(policy: RetryPolicy, made: int, draw: float, expected: float) -> None:
    assert delay_after(policy, made=made, draw=draw) == pytest.approx(expected)


@pytest.mark.parametrize(("made", "draw"), [(0, 0.5), (1, -0.1), (1, 1.1)])
def test_nonsense_is_refused(made: int, draw: float) -> None:
    with pytest.raises(ValueError, match="made must be"):
        delay_after(RetryPolicy(delay=1.0), made=made, draw=draw)
