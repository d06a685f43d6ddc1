"""The estimate of a full batch: small portions of a full queue differ from the last messages of an empty one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper.core.fullness import (
    FULL_SHARE,
    LONGEST_REST,
    LONGEST_RETEST,
    PROBE_ANSWERS,
    RETEST_AFTER,
    FullBatchEstimator,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def watch(estimator: FullBatchEstimator, answers: int, brings: Callable[[float], int], now: float = 0.0) -> float:
    """Answers come 10 ms apart in a probe and 60 ms otherwise; `brings` says how many messages each holds."""
    for _ in range(answers):
        seconds = 0.01 if estimator.probing else 0.06
        now += seconds
        estimator.answered(now, brings(seconds))
    return now


def test_at_first_only_a_batch_is_full() -> None:
    estimator = FullBatchEstimator(10)
    assert estimator.full_size == 10
    assert estimator.probing
    assert repr(estimator) == "<FullBatchEstimator: 10 of 10 is a full answer, probing>"


def test_the_same_portion_at_any_pace_is_a_full_answer() -> None:
    estimator = FullBatchEstimator(10)
    watch(estimator, 1 + 2 * PROBE_ANSWERS, lambda _: 5)
    assert estimator.full_size == FULL_SHARE * 5


def test_portions_that_grow_with_the_time_between_calls_are_not_full() -> None:
    estimator = FullBatchEstimator(10)
    watch(estimator, 10 * PROBE_ANSWERS, lambda seconds: round(100 * seconds))
    assert estimator.full_size == 10


def test_single_messages_are_never_full_answers() -> None:
    """A trickle brings them at any pace. If they counted as full, all pollers would start."""
    estimator = FullBatchEstimator(10)
    watch(estimator, 10 * PROBE_ANSWERS, lambda _: 1)
    assert estimator.full_size == 10


def test_an_estimate_that_no_longer_holds_is_dropped() -> None:
    estimator = FullBatchEstimator(10)
    now = watch(estimator, 1 + 2 * PROBE_ANSWERS, lambda _: 5)
    watch(estimator, 4 * LONGEST_REST, lambda seconds: round(100 * seconds), now)
    assert estimator.full_size == 10


def retests(seconds: float) -> list[float]:
    """When an estimator re-tests, if the queue holds plenty; answers come faster while the estimate says so."""
    estimator, now, seen, plenty = FullBatchEstimator(10), 0.0, [], False
    while now < seconds:
        now += 0.005 if estimator.full_size < 10 else 0.05 if not estimator.probing else 0.01
        estimator.answered(now, 5)
        if plenty and estimator.full_size == 10:
            seen.append(now)
        plenty = estimator.full_size < 10
    return seen


def test_re_tests_become_rarer_up_to_a_bound() -> None:
    times = retests(200)
    assert times[0] == pytest.approx(RETEST_AFTER, abs=2)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:3] == pytest.approx([2 * RETEST_AFTER, 4 * RETEST_AFTER, 8 * RETEST_AFTER], rel=0.2)
    assert gaps[-1] <= LONGEST_RETEST + 2


def test_a_wrong_estimate_ends_at_the_first_re_test() -> None:
    """A wrong estimate at the start costs some calls for some seconds."""
    estimator = FullBatchEstimator(10)
    now = watch(estimator, 1 + 2 * PROBE_ANSWERS, lambda _: 5)
    assert estimator.full_size < 10
    while estimator.full_size < 10:
        now += 0.01
        estimator.answered(now, 3)
    assert now <= 2 * RETEST_AFTER
    for _ in range(4 * PROBE_ANSWERS):
        now += 0.03
        estimator.answered(now, 9)
    assert estimator.full_size == 10


def test_an_empty_queue_resets_the_estimate() -> None:
    estimator = FullBatchEstimator(10)
    now = watch(estimator, 1 + 2 * PROBE_ANSWERS, lambda _: 5)
    estimator.reset(probe=False)
    assert (estimator.full_size, estimator.probing) == (10, False)
    watch(estimator, 1 + PROBE_ANSWERS, lambda _: 5, now + 3_600)
    assert estimator.probing, "a rest comes first unless a probe was asked for"


def test_probes_become_rarer() -> None:
    estimator, probed = FullBatchEstimator(10), []
    for count in range(1_000):
        probed.append(estimator.probing)
        estimator.answered(count * 0.01, 10)
    assert 0 < sum(probed[500:]) <= 500 * PROBE_ANSWERS / LONGEST_REST


def test_an_unchanged_pace_changes_no_estimate() -> None:
    estimator = FullBatchEstimator(10)
    for count in range(200):
        estimator.answered(count * 0.01, 3)
    assert estimator.full_size == 10


@settings(max_examples=40)
@given(st.integers(1, 10), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 10)), max_size=80))
def test_a_full_answer_is_at_most_a_batch_and_more_than_one_message(
    batch: int, answers: list[tuple[float, int]]
) -> None:
    """This holds for any answers, also for many at the same moment."""
    estimator, now = FullBatchEstimator(batch), 0.0
    for seconds, got in answers:
        now += seconds
        estimator.answered(now, min(got, batch))
        assert min(batch, 2 * FULL_SHARE) <= estimator.full_size <= batch


def test_a_clock_may_start_below_zero() -> None:
    estimator = FullBatchEstimator(10)
    watch(estimator, 1 + 2 * PROBE_ANSWERS, lambda _: 5, now=-1e6)
    assert estimator.full_size == pytest.approx(FULL_SHARE * 5)
