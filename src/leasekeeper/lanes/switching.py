"""How often busy threads take turns: the interpreter's switch interval while handlers have many threads.

Owned by the process, shared by its thread lanes. With Python's own 5 ms, n threads that compute make any other thread
wait n to 3n intervals each time it needs the GIL: half a second for the engine behind 32 of them, which costs leases
(L9). It replaces only Python's own value, and the last lane puts that back. An interval that the program sets stays.
"""

from __future__ import annotations

import sys
import threading

PYTHONS_OWN = 0.005
"""Seconds: the interval that Python starts with."""


class SwitchInterval:
    """The shortest of the intervals that lanes hold now. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[float] = []
        self._set: float | None = None
        """What was set last; None: nothing, or the program has set another interval since."""

    def hold(self, seconds: float) -> None:
        """Let threads take turns at least that often, until `release` is called with the same number."""
        with self._lock:
            self._held.append(seconds)
            self._apply()

    def release(self, seconds: float) -> None:
        """End a `hold`."""
        with self._lock:
            self._held.remove(seconds)
            self._apply()

    def _apply(self) -> None:
        expected = PYTHONS_OWN if self._set is None else self._set
        if abs(sys.getswitchinterval() - expected) > 1e-6:  # Python keeps whole microseconds
            self._set = None  # the program's own choice
            return
        self._set = min(self._held) if self._held else None
        sys.setswitchinterval(PYTHONS_OWN if self._set is None else self._set)


SWITCH_INTERVAL = SwitchInterval()
