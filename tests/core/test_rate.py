"""The token bucket: no window of time has more starts than burst and rate allow, and none has fewer without need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.core.rate import TokenBucket

RATES = st.floats(0.001, 10_000)
BURSTS = st.integers(1, 1000)


@given(RATES, BURSTS, st.lists(st.tuples(st.floats(0, 100), st.integers(1, 30)), max_size=60))
def test_no_window_has_more_starts_than_burst_and_rate_allow(
    rate: float, burst: int, tries: list[tuple[float, int]]
) -> None:
    bucket, now, starts = TokenBucket(rate, burst), 1000.0, list[float]()
    for pause, count in tries:
        now += pause / rate
        starts += [now for _ in range(count) if bucket.take(now)]
    for first, began in enumerate(starts):
        for last in range(first, len(starts)):
            assert last - first + 1 <= burst + rate * (starts[last] - began) + 1e-5


@given(RATES, BURSTS, st.integers(0, 200))
def test_a_consumer_that_always_has_work_starts_at_the_rate_after_the_burst(rate: float, burst: int, more: int) -> None:
    """`token_at` names the earliest moment: one that sleeps until then gets its token."""
    bucket, now = TokenBucket(rate, burst), 1000.0
    for _ in range(burst + more):
        now = bucket.token_at(now)
        assert bucket.take(now)
    assert now - 1000.0 == pytest.approx(more / rate, abs=1e-6)


@given(RATES, BURSTS, st.floats(0, 1e6))
def test_a_pause_of_any_length_gives_no_more_than_the_burst(rate: float, burst: int, pause: float) -> None:
    bucket, now = TokenBucket(rate, burst), 1000.0
    while bucket.take(now):
        pass
    now += pause
    assert 0 <= bucket.tokens(now) <= burst
    assert bucket.tokens(now) == pytest.approx(min(burst, pause * rate), abs=1e-3)


def test_what_is_promised_counts_what_comes_in_time_and_what_is_claimed() -> None:
    bucket = TokenBucket(10, 5)
    assert bucket.promised(0.0, ahead=0.0, claims=0) == 5
    assert bucket.promised(0.0, ahead=0.3, claims=0) == 8
    assert bucket.promised(0.0, ahead=0.3, claims=6) == 2
    assert bucket.promised(0.0, ahead=0.3, claims=9) == 0
    for _ in range(5):
        assert bucket.take(0.0)
    assert bucket.promised(0.0, ahead=0.25, claims=0) == 2
    assert bucket.token_at(0.0, 2) == pytest.approx(0.2)
    assert bucket.token_at(0.0, 8) == pytest.approx(0.8)
    assert bucket.token_at(100.0, 5) == 100.0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0)])
def test_a_bucket_that_never_gives_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="cannot work: give"):
        TokenBucket(rate, burst)


def test_what_starts_together_with_others_is_paid_for_afterwards() -> None:
    bucket = TokenBucket(10, 5)
    assert bucket.take(0.0)
    bucket.charge(0.0, 9)
    assert bucket.tokens(0.0) == 0
    assert bucket.token_at(0.0) == pytest.approx(0.6)
    assert not bucket.take(0.5)
    assert bucket.take(0.6)
