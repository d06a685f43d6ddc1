"""Patience: how long a call to a store may take while a part of the store hangs.

Owned by what makes the calls, on one thread. A handler's place is taken while its message's call is out, so a part that
never answers would soon have all of them. It promises that a call is cut short only while others are answered, and that
a store which is slow for all is given its time.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from leasekeeper.core.median import StreamingMedian

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANGS = 1.0
"""Seconds without an answer after which a call hangs, if others that began later were answered."""
MEMORY = 60.0
"""Seconds for which calls are cut short after one was found to hang. Questions to the store are never cut short, so
some of them find again that a part hangs."""
RECENT = 10.0
"""Seconds for which an answer counts: later, all of the store may hang or be slow, and nothing is cut short."""
FACTOR = 4.0
"""A call is cut short when it takes so many times as long as calls usually do: the median of those answered last."""
AGAIN = 4.0
"""So many times longer a further call about the same thing may take: its part may be slow, and not hang."""
MEASURED = 32
"""Calls of which the median is taken."""


class Patience:
    """Looks at the calls to one store.

    Args:
        shortest: seconds that each call may take at least.
        clock: seconds, monotonic.
    """

    def __init__(self, shortest: float, clock: Callable[[], float]) -> None:
        self._shortest = shortest
        self._clock = clock
        self._out: dict[object, float] = {}
        """When the calls that are out began, the oldest first."""
        self._usual = StreamingMedian(MEASURED)
        self._answered_at = self._hung_at = -math.inf

    def limit(self, most: float, *, again: bool = False) -> float:
        """Seconds that a call which begins now may take, `most` unless a part of the store hangs.

        Args:
            most: the time limit of calls.
            again: whether a call about the same thing was not answered before.
        """
        now = self._clock()
        for began in self._out.values():
            self._look(began, now)
            break
        if now - self._hung_at > MEMORY or now - self._answered_at > RECENT:
            return most
        return min(most, max(self._shortest, FACTOR * self._usual.value) * (AGAIN if again else 1.0))

    @contextmanager
    def call(self, transfer: float = 0.0) -> Iterator[None]:
        """Make a call, which raises if it is not answered.

        Args:
            transfer: seconds that its answer may take to come in, because it is long.
        """
        me, began = object(), self._clock() + transfer
        self._out[me] = began
        try:
            yield
        except BaseException:
            self._look(began, self._clock())
            raise
        else:
            now = self._answered_at = self._clock()
            self._usual.extend([max(0.0, now - began)])
        finally:
            del self._out[me]

    def _look(self, began: float, now: float) -> None:
        """Note it if a call has hung that began at that time."""
        if now - began >= HANGS and self._answered_at > began:
            self._hung_at = now

    def __repr__(self) -> str:
        return f"<Patience, {len(self._out)} calls out, as a rule they take {self._usual.value:g} s>"
