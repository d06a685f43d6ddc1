"""The streaming median against the standard library's."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper.core.median import StreamingMedian

if TYPE_CHECKING:
    from types import FrameType


@settings(max_examples=60)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), st.integers(1, 12), st.integers(1, 15))
def test_it_is_the_median_of_the_last_values(values: list[float], window: int, together: int) -> None:
    """However many are added at once."""
    stream = StreamingMedian(window)
    for start in range(0, len(values), together):
        count = min(start + together, len(values))
        stream.extend(values[start:count])
        recent = values[max(0, count - window) : count]
        assert stream.value == pytest.approx(median(recent))
        assert len(stream) == len(recent)


def test_it_is_zero_before_the_first_value() -> None:
    stream = StreamingMedian()
    assert stream.value == 0.0
    assert len(stream) == 0


def test_of_two_middle_values_it_is_the_mean() -> None:
    stream = StreamingMedian()
    for value in (1.0, 4.0, 2.0, 100.0):
        stream.push(value)
    assert stream.value == 3.0
    assert repr(stream) == "<StreamingMedian 3 of 4>"


def test_extreme_values_in_less_than_half_of_the_window_do_not_move_it() -> None:
    stream = StreamingMedian(63)
    for turn in range(63):
        stream.push(300.0 if turn % 2 else 0.02)
    assert stream.value == 0.02


def test_extremes_do_not_overflow() -> None:
    stream = StreamingMedian(2)
    stream.push(1.7e308)
    stream.push(1.6e308)
    assert stream.value == pytest.approx(1.65e308)


def test_nan_is_refused() -> None:
    stream = StreamingMedian()
    stream.push(1.0)
    for values in ([float("nan")], [2.0, float("nan"), 3.0]):
        with pytest.raises(ValueError, match="NaN has no place in a median: push numbers"):
            stream.extend(values)
    assert (stream.value, len(stream)) == (1.0, 1)


def test_a_window_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="the median of the last 0 values is not defined: give a window of 1 or more"):
        StreamingMedian(0)


def test_a_push_by_another_thread_during_a_read_returns_a_number() -> None:
    """Statistics are read by any thread: a push may come between any two lines of the reader."""
    stream = StreamingMedian()
    stream.push(1.0)

    def push_at_each_line(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_name != "value":
            return None
        if event == "line":
            stream.push(1.0)
        return push_at_each_line

    before = sys.gettrace()
    sys.settrace(push_at_each_line)
    try:
        value = stream.value
    finally:
        sys.settrace(before)
    assert value == 1.0
