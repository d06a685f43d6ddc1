"""Back-off: its bounds, its jitter, and what L16 asks of a poller's pauses."""

from __future__ import annotations

import random
from bisect import bisect_left
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper.core.backoff import POLL_ERRORS, Backoff, ErrorPause

draws = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 10**12)


@st.composite
def policies(draw: st.DrawFn) -> Backoff:
    base = draw(st.floats(1e-6, 1e6))
    return Backoff(base=base, maximum=base * draw(st.floats(1, 1e9)), factor=draw(st.floats(1, 100)))


@settings(max_examples=50)
@given(policies(), attempts, draws)
def test_full_jitter_lies_between_nothing_and_the_ceiling(policy: Backoff, attempt: int, draw: float) -> None:
    assert 0 <= policy.delay(attempt, draw) <= policy.ceiling(attempt) <= policy.maximum


@settings(max_examples=50)
@given(policies(), attempts, draws)
def test_equal_jitter_lies_between_half_of_the_ceiling_and_the_whole(
    policy: Backoff, attempt: int, draw: float
) -> None:
    ceiling = policy.ceiling(attempt)
    assert ceiling / 2 <= policy.equal_jitter(attempt, draw) <= ceiling


@settings(max_examples=50)
@given(policies(), attempts)
def test_the_ceiling_never_falls(policy: Backoff, attempt: int) -> None:
    assert policy.base == policy.ceiling(1) <= policy.ceiling(attempt) <= policy.ceiling(attempt + 1)


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    policy = Backoff(base=1.0, maximum=10.0)
    assert [policy.ceiling(attempt) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert policy.delay(3, 0.25) == 1.0
    assert policy.equal_jitter(3, 0.25) == 2.5


def test_attempts_without_end_do_not_overflow() -> None:
    assert Backoff(base=0.1, maximum=900.0).ceiling(10**9) == 900.0


@pytest.mark.parametrize(
    ("base", "maximum", "factor", "sentence"),
    [
        (-0.1, 1.0, 2.0, "a back-off from -0.1 s to at most 1.0 s cannot work: 0 <= base <= maximum"),
        (2.0, 1.0, 2.0, "a back-off from 2.0 s to at most 1.0 s cannot work: 0 <= base <= maximum"),
        (float("nan"), 1.0, 2.0, "a back-off from nan s to at most 1.0 s cannot work: 0 <= base <= maximum"),
        (1.0, 1.0, 0.5, "a back-off that grows by 0.5 would shrink: give a factor of at least 1"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(base: float, maximum: float, factor: float, sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:
        Backoff(base=base, maximum=maximum, factor=factor)
    assert str(refusal.value) == sentence


def test_there_is_no_attempt_before_the_first() -> None:
    with pytest.raises(ValueError, match="attempt 0 does not exist: attempts count from 1"):
        POLL_ERRORS.delay(0, 0.5)


def calls_under_errors(seed: int, seconds: float) -> list[float]:
    """When a poller calls, if every answer is an error that comes at once."""
    draw = random.Random(seed).random
    pause, now, calls = ErrorPause(), 0.0, list[float]()
    while now < seconds:
        calls.append(now)
        now += pause.failed(draw())
    return calls


def busiest_minute(calls: list[float]) -> int:
    """The most calls in any 60 seconds."""
    return max(bisect_left(calls, start + 60) - index for index, start in enumerate(calls))


def test_under_nothing_but_errors_a_poller_makes_about_fifteen_calls_a_minute_at_most() -> None:
    """L16: 15 a minute on average even in the busiest minute of an outage, and over ten minutes for every seed."""
    outages = [calls_under_errors(seed, 600) for seed in range(300)]
    assert fmean(busiest_minute(calls) for calls in outages) <= 15
    assert max(len(calls) / 10 for calls in outages) <= 15
    assert max(busiest_minute(calls) for calls in outages) <= 20, "chance has its limits, too"


def test_errors_do_not_stop_a_poller() -> None:
    """L15: however long the outage, the next call is at most 15 s away."""
    for seed in range(50):
        calls = calls_under_errors(seed, 3_600)
        assert max(after - before for before, after in pairwise(calls)) <= POLL_ERRORS.maximum


def test_a_poller_recovers_at_once() -> None:
    """L16: after one success the next failure pauses as briefly as the first."""
    pause = ErrorPause()
    assert [pause.failed(0.5) for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 7.5, 7.5]
    assert repr(pause) == "<ErrorPause 6 failures in a row>"
    pause.succeeded()
    assert pause.failed(0.5) == 0.5
