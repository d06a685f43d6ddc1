"""The streaming median: the middle of the last so many values.

The throttler owns some. One value out of the ordinary does not move it, which is why it is not an average.
Pushing is promised to cost next to nothing; the middle is looked for when it is asked for.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class StreamingMedian:
    """The median of the last `window` values.

    A sorted list kept up to date by bisection costs 0.5 us for each value pushed. This one sorts when it is read, once
    for all the values added since: ten of them together cost 0.3 us and a read after that 4 us, which is less in sum
    as soon as there are ten values a read.

    Args:
        window: how many values count, 1 or more.
    """

    __slots__ = ("_median", "_recent", "window")

    def __init__(self, window: int = 63) -> None:
        if window < 1:
            raise ValueError(f"the median of the last {window} values cannot be: give a window of 1 or more")
        self.window = window
        self._recent: deque[float] = deque(maxlen=window)
        self._median: float | None = 0.0

    def push(self, value: float) -> None:
        """Add a value; the oldest one beyond the window no longer counts.

        Raises:
            ValueError: the value is not a number (NaN), so it has no place in an order.
        """
        self.extend((value,))

    def extend(self, values: Collection[float]) -> None:
        """Add several values, the oldest first.

        Raises:
            ValueError: one of them is not a number (NaN); none has been added then.
        """
        if math.isnan(sum(values)):  # one NaN makes the sum one; so do two opposite infinities, which no time is
            raise ValueError("a median of NaN cannot be: push numbers")
        self._recent.extend(values)
        self._median = None

    @property
    def value(self) -> float:
        """The median, between the two middle values where there are two; 0.0 when nothing was pushed yet."""
        median = self._median
        if median is None:
            ordered = sorted(self._recent)
            low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
            median = self._median = low if low == high else low / 2 + high / 2
        return median  # not the field: statistics are read by other threads, and a push may have emptied it by now

    def __len__(self) -> int:
        return len(self._recent)

    def __repr__(self) -> str:
        return f"<StreamingMedian {self.value:.6g} of {len(self)}>"
