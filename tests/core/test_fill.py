"""The fill: portions of a full queue are told from the leavings of an empty one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper.core.fill import DOUBT, LONGEST_DOUBT, LONGEST_REST, TRIAL, WHOLE, Fill

if TYPE_CHECKING:
    from collections.abc import Callable


def watch(fill: Fill, answers: int, brings: Callable[[float], int], now: float = 0.0) -> float:
    """Answers 10 ms apart in a trial and 60 ms otherwise; `brings` says what comes after so many seconds."""
    for _ in range(answers):
        seconds = 0.01 if fill.trying else 0.06
        now += seconds
        fill.answered(now, brings(seconds))
    return now


def test_until_something_is_known_only_a_batch_is_whole() -> None:
    fill = Fill(10)
    assert fill.whole == 10
    assert fill.trying
    assert repr(fill) == "<Fill: 10 of 10 is a whole answer, trying>"


def test_the_same_portion_at_any_pace_is_a_whole_answer() -> None:
    fill = Fill(10)
    watch(fill, 1 + 2 * TRIAL, lambda _: 5)
    assert fill.whole == WHOLE * 5


def test_portions_that_grow_with_the_time_between_calls_are_what_arrives() -> None:
    fill = Fill(10)
    watch(fill, 10 * TRIAL, lambda seconds: round(100 * seconds))
    assert fill.whole == 10


def test_single_messages_are_never_whole_answers() -> None:
    """A trickle brings them at any pace; taken for plenty, they would call all pollers."""
    fill = Fill(10)
    watch(fill, 10 * TRIAL, lambda _: 1)
    assert fill.whole == 10


def test_what_was_learnt_is_given_up_when_it_no_longer_holds() -> None:
    fill = Fill(10)
    now = watch(fill, 1 + 2 * TRIAL, lambda _: 5)
    watch(fill, 4 * LONGEST_REST, lambda seconds: round(100 * seconds), now)
    assert fill.whole == 10


def doubts(seconds: float) -> list[float]:
    """When a fill that sees plenty at any pace doubts it; answers come faster while it believes."""
    fill, now, seen, believing = Fill(10), 0.0, [], False
    while now < seconds:
        now += 0.005 if fill.whole < 10 else 0.05 if not fill.trying else 0.01
        fill.answered(now, 5)
        if believing and fill.whole == 10:
            seen.append(now)
        believing = fill.whole < 10
    return seen


def test_plenty_is_doubted_every_so_often_and_ever_more_seldom() -> None:
    times = doubts(200)
    assert times[0] == pytest.approx(DOUBT, abs=2)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:3] == pytest.approx([2 * DOUBT, 4 * DOUBT, 8 * DOUBT], rel=0.2)
    assert gaps[-1] <= LONGEST_DOUBT + 2


def test_plenty_that_never_was_is_given_up_at_the_first_doubt() -> None:
    """A mistake of the beginning costs some calls for some seconds."""
    fill = Fill(10)
    now = watch(fill, 1 + 2 * TRIAL, lambda _: 5)
    assert fill.whole < 10
    while fill.whole < 10:
        now += 0.01
        fill.answered(now, 3)
    assert now <= 2 * DOUBT
    for _ in range(4 * TRIAL):
        now += 0.03
        fill.answered(now, 9)
    assert fill.whole == 10


def test_what_was_learnt_is_forgotten_with_an_empty_queue() -> None:
    fill = Fill(10)
    now = watch(fill, 1 + 2 * TRIAL, lambda _: 5)
    fill.forget(trying=False)
    assert (fill.whole, fill.trying) == (10, False)
    watch(fill, 1 + TRIAL, lambda _: 5, now + 3_600)
    assert fill.trying, "a rest comes first where no trial was asked for"


def test_trials_become_more_seldom() -> None:
    fill, tried = Fill(10), []
    for count in range(1_000):
        tried.append(fill.trying)
        fill.answered(count * 0.01, 10)
    assert 0 < sum(tried[500:]) <= 500 * TRIAL / LONGEST_REST


def test_an_unchanged_pace_tells_nothing() -> None:
    fill = Fill(10)
    for count in range(200):
        fill.answered(count * 0.01, 3)
    assert fill.whole == 10


@settings(max_examples=40)
@given(st.integers(1, 10), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 10)), max_size=80))
def test_a_whole_answer_is_never_more_than_a_batch_nor_less_than_more_than_one(
    batch: int, answers: list[tuple[float, int]]
) -> None:
    """Whatever comes, also many answers in one instant."""
    fill, now = Fill(batch), 0.0
    for seconds, got in answers:
        now += seconds
        fill.answered(now, min(got, batch))
        assert min(batch, 2 * WHOLE) <= fill.whole <= batch


def test_a_clock_that_starts_below_zero_is_a_clock_like_any() -> None:
    fill = Fill(10)
    watch(fill, 1 + 2 * TRIAL, lambda _: 5, now=-1e6)
    assert fill.whole == pytest.approx(WHOLE * 5)
