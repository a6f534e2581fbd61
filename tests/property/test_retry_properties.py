"""Delays between attempts stay within their bounds."""

import math

from hypothesis import given
from hypothesis import strategies as st

from runwright.core.retry import LONGEST_DELAY, RetryPolicy, delay_after

policies = st.builds(
    RetryPolicy,
    delay=st.floats(0, 1e9),
    backoff=st.floats(0, 1e6),
    max_delay=st.just(0.0) | st.floats(0.001, 1e9),
    jitter=st.floats(0, 1),
)
draws = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 10_000), draws)
def test_a_delay_is_finite_and_within_its_limit(policy: RetryPolicy, made: int, draw: float) -> None:
    delay = delay_after(policy, made=made, draw=draw)
    assert math.isfinite(delay)
    assert 0.0 <= delay <= (policy.max_delay or LONGEST_DELAY)


@given(policies, st.integers(1, 10_000), draws)
def test_jitter_takes_away_its_share_at_most(policy: RetryPolicy, made: int, draw: float) -> None:
    full = delay_after(policy, made=made, draw=1.0)
    delay = delay_after(policy, made=made, draw=draw)
    assert full * (1 - policy.jitter) * (1 - 1e-9) <= delay <= full


@given(st.floats(0.001, 1e6), st.floats(1, 100), st.integers(1, 300))
def test_a_delay_never_shrinks_when_it_is_to_grow(delay: float, backoff: float, made: int) -> None:
    policy = RetryPolicy(delay=delay, backoff=backoff)
    assert delay_after(policy, made=made, draw=0.5) <= delay_after(policy, made=made + 1, draw=0.5)
