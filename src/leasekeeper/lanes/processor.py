"""A processor: one thread of the thread lane, with the units that wait behind it.

Made and changed by the thread lane alone.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic

from leasekeeper.lanes.api import U

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Processor(Generic[U]):
    """One thread, the unit that it runs, and the units that wait behind it. Only `ThreadLane` makes and changes it."""

    __slots__ = ("behind", "current", "ended", "given_up", "thread", "visits")

    def __init__(self) -> None:
        self.behind: deque[U] = deque()
        """Its own units. It takes from the left; other processors steal from the right."""
        self.current: U | None = None
        self.given_up: U | None = None
        """The unit that ran longer than its time-out here; it has been answered."""
        self.thread: threading.Thread | None = None
        self.ended = False
        """Whether its thread takes no more work and is about to end."""
        self.visits = 0
        """How often it went to the queue because nothing waited behind it."""

    def start(self, work: Callable[[Processor[U]], None], name: str) -> None:
        """Start its thread. A daemon, because a handler that never returns must not keep the process alive."""
        self.thread = threading.Thread(target=work, args=(self,), name=name, daemon=True)
        self.thread.start()


def take_out(waiting: deque[U], *, last: bool = False) -> U | None:
    """Take the first or the last out; None when there is none, or another thread was quicker."""
    if not waiting:  # an exception takes ten times as long as a look
        return None
    try:
        return waiting.pop() if last else waiting.popleft()
    except IndexError:
        return None


def steal(processors: Sequence[Processor[U]], me: Processor[U]) -> U | None:
    """Take out the last unit that waits behind another processor."""
    for victim in processors:
        if victim is not me and (stolen := take_out(victim.behind, last=True)) is not None:
            return stolen
    return None
