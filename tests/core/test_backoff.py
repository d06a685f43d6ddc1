"""The pauses of a poller whose receives fail: what L16 asks of them."""

from __future__ import annotations

import random
from bisect import bisect_left
from itertools import pairwise
from statistics import fmean

from leasekeeper.core.backoff import POLL_ERRORS, ErrorPause


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
