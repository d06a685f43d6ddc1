"""Taking turns: the engine's loop and the thread of a lane, one after the other, so that each run does the same.

Owned by one scene. Left to themselves, both run at once, and the system decides how many answers share a wake-up of the
loop: the costs of one message then lie a third apart from run to run. Here handlers go on only while the loop has
nothing to do, and the loop goes on only when every message it has been given is handled and the thread waits for more.
What is counted is thus the case in which answers come home in batches, as they do under load.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.testing.clock import VirtualLoop

PATIENCE = 60.0
"""Seconds of real time in which a thread must come to an end with what it was given."""
_PARKED = threading.Condition.wait.__code__


class LockStep:
    """A door before the handlers, which the loop opens while it waits; `handler` is the handler."""

    def __init__(self) -> None:
        self._door = threading.Lock()
        self._handled = 0
        self._others = set(threading.enumerate())
        """Threads that were there before, of other tests."""

    def handler(self, _: str) -> None:
        """Finishes as soon as it is the thread's turn."""
        with self._door:
            self._handled += 1

    def bind(self, loop: VirtualLoop, given: Callable[[], int]) -> None:
        """Take turns with this loop, which has been given that many messages so far."""
        self._door.acquire()
        select = loop._selector.select  # type: ignore[attr-defined] # where every loop of asyncio waits

        def meet(timeout: float | None = None) -> object:
            if timeout is None or timeout > 0:
                self._let_pass(given)
            return select(timeout)

        loop._selector.select = meet  # type: ignore[attr-defined]

    def _let_pass(self, given: Callable[[], int]) -> None:
        deadline = time.monotonic() + PATIENCE
        self._door.release()
        while not (self._handled >= given() and self._all_parked()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._handled} of {given()} messages were handled in {PATIENCE:g} s")
            time.sleep(20e-6)
        self._door.acquire()

    def _all_parked(self) -> bool:
        """Whether no thread of a lane is at work."""
        # Of the frames only the code is kept: our own is among them, and would be part of a cycle.
        codes = {thread: frame.f_code for thread, frame in sys._current_frames().items()}
        lanes = [
            each.ident
            for each in threading.enumerate()
            if each.name.startswith("leasekeeper-") and each not in self._others
        ]
        return all(codes.get(each, _PARKED) is _PARKED for each in lanes if each is not None)
