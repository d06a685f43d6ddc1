"""Schedules: their delays, bounds and jitter, and the sentences about what cannot work."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper import ConfigurationError, Exponential, Linear, Table
from leasekeeper.schedules import LONGEST, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

draws = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 10**12)
seconds = st.floats(0, LONGEST)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    rest: Any = {"jitter": draw(st.sampled_from(["full", "equal", "none"])), "floor": draw(st.floats(0, 10))}
    base, maximum = sorted((draw(seconds), draw(seconds)))
    kind = draw(st.sampled_from(["exponential", "linear", "table"]))
    if kind == "exponential":
        return Exponential(base, factor=draw(st.floats(1, 100)), maximum=maximum, **rest)
    if kind == "linear":
        return Linear(draw(seconds), base=base, maximum=maximum, **rest)
    return Table(*draw(st.lists(seconds, min_size=1, max_size=5)), **rest)


def test_the_usual_delays() -> None:
    def ceilings(schedule: Schedule) -> list[float]:
        return [schedule.ceiling(attempt) for attempt in range(1, 6)]

    assert ceilings(Exponential()) == [2, 4, 8, 16, 32]
    assert ceilings(Exponential(5, factor=3, maximum=100)) == [5, 15, 45, 100, 100]
    assert ceilings(Linear(10, maximum=40)) == [10, 20, 30, 40, 40]
    assert ceilings(Linear(10, base=1)) == [1, 11, 21, 31, 41]
    assert ceilings(Linear(0, base=7)) == [7] * 5
    assert ceilings(Table(1, 10, 60)) == [1, 10, 60, 60, 60]
    assert [Table(1, 10, 60).delay(attempt) for attempt in (1, 2, 3, 4)] == [1, 10, 60, 60]
    assert [schedule.longest for schedule in (Exponential(), Linear(), Table(5, 60, 1))] == [900, 900, 60]


def test_the_jitter_shortens_and_the_result_is_rounded_up() -> None:
    def delays(jitter: Any) -> list[int]:
        return [Exponential(10, jitter=jitter).delay(1, draw) for draw in (0.0, 0.01, 0.5, 0.99)]

    assert delays("none") == [10, 10, 10, 10]
    assert delays("equal") == [5, 6, 8, 10]
    assert delays("full") == [1, 1, 5, 10]
    assert Table(10, jitter="full", floor=4).delay(1, 0.1) == 4
    assert Table(0, floor=0).delay(1) == 0


@settings(max_examples=50)
@given(schedules(), attempts, draws)
def test_a_delay_lies_between_the_floor_and_the_ceiling(schedule: Any, attempt: int, draw: float) -> None:
    delay = schedule.delay(attempt, draw)
    assert type(delay) is int
    assert schedule.ceiling(attempt) <= schedule.longest <= LONGEST
    assert schedule.floor <= delay <= max(schedule.ceiling(attempt), schedule.floor) + 1


@settings(max_examples=50)
@given(schedules(), attempts)
def test_what_grows_never_shrinks_and_attempts_without_end_do_not_overflow(schedule: Schedule, attempt: int) -> None:
    if not isinstance(schedule, Table):
        assert schedule.ceiling(1) <= schedule.ceiling(attempt) <= schedule.ceiling(attempt + 1)


def farthest(delays: list[int], ceiling: int) -> float:
    """The statistic of Kolmogorov and Smirnov against the even distribution over 1 to `ceiling` whole seconds."""
    counts = [0] * (ceiling + 1)
    for delay in delays:
        counts[delay] += 1
    share = far = 0.0
    for second in range(1, ceiling + 1):
        share += counts[second] / len(delays)
        far = max(far, abs(share - second / ceiling))
    return far


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(3, 9))
def test_full_jitter_is_even(seed: int, attempt: int) -> None:
    """1,000 delays pass the test of Kolmogorov and Smirnov at a level at which one set in 10^8 fails; none is 0."""
    draw = random.Random(seed).random
    schedule = Exponential(jitter="full")
    delays = [schedule.delay(attempt, draw()) for _ in range(1_000)]
    assert min(delays) >= 1
    assert farthest(delays, int(schedule.ceiling(attempt))) < 3.1 / 1_000**0.5
    uneven = [schedule.delay(attempt, draw() ** 2) for _ in range(1_000)]
    assert farthest(uneven, int(schedule.ceiling(attempt))) > 3.1 / 1_000**0.5, "the test tells even from uneven"


def test_without_a_draw_the_jitter_is_random() -> None:
    assert len({Exponential(900, jitter="full").delay(1) for _ in range(50)}) > 10


@pytest.mark.parametrize("schedule", [Exponential(), Linear(), Table(1)])
def test_there_is_no_attempt_before_the_first(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="attempt 0 does not exist: attempts count from 1"):
        schedule.delay(0, 0.5)


DELAYS = "give one delay or more, each from 0 to 43200 seconds, e.g. Table(1, 10, 60)"
BOUNDS = "0 <= base <= maximum <= 43200"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Exponential(-1), f"delays from -1 s to at most 900.0 s cannot work: {BOUNDS}"),
        (lambda: Exponential(2, maximum=1), f"delays from 2 s to at most 1 s cannot work: {BOUNDS}"),
        (lambda: Exponential(float("nan")), f"delays from nan s to at most 900.0 s cannot work: {BOUNDS}"),
        (lambda: Exponential(maximum=43_201), f"delays from 2.0 s to at most 43201 s cannot work: {BOUNDS}"),
        (lambda: Exponential(factor=0.5), "the delay would shrink; give a factor of at least 1"),
        (lambda: Linear(-1), f"delays from -1 s to at most 900.0 s cannot work: {BOUNDS}"),
        (lambda: Linear(-1, base=5), "the delay would shrink; give a step of at least 0"),
        (Table, f"Table(): {DELAYS}"),
        (lambda: Table(1, -1), f"Table(1, -1): {DELAYS}"),
        (lambda: Table(cast("float", "1")), f"Table('1'): {DELAYS}"),
        (lambda: Exponential(cast("float", "1")), "Exponential(base='1'): must be a number of seconds"),
        (lambda: Exponential(factor=cast("float", None)), "Exponential(factor=None): must be a number"),
        (
            lambda: Linear(cast("float", timedelta(seconds=5))),
            "(step=datetime.timedelta(seconds=5)): must be a number of seconds",
        ),
        (lambda: Linear(base=cast("float", "1")), "Linear(base='1'): must be a number of seconds"),
        (lambda: Table(1, floor=cast("float", "1")), "Table(floor='1'): must be a number of seconds"),
        (lambda: Table(1, jitter=cast("Any", "some")), "jitter must be one of 'full', 'equal', 'none'"),
        (lambda: Exponential(floor=-1), "floor must be from 0 to 43200 seconds"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused(make: Callable[[], Schedule], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        make()
    assert str(refusal.value).endswith(sentence)


def test_schedules_show_what_they_are() -> None:
    assert repr(Table(1, 10.5)) == "Table(1, 10.5, jitter='none', floor=1.0)"
    assert repr(Linear(5)) == "Linear(step=5, base=None, maximum=900.0, jitter='equal', floor=1.0)"
    assert Table(1) == Table(1) != Table(2)
