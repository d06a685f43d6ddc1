"""When a worker process is replaced: after a number of messages or seconds, or above a size in memory.

Each worker has a `WorkerLife`. The limits differ by up to a tenth from worker to worker, so that workers which started
together are not replaced together.
"""

from __future__ import annotations

from dataclasses import dataclass

SPREAD = 0.1
"""By which part `max_tasks` and `max_age` differ from worker to worker, up or down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a worker lives; None: without limit.

    Attributes:
        tasks: messages.
        age: seconds.
        rss: bytes of memory after a message.
    """

    tasks: int | None = None
    age: float | None = None
    rss: int | None = None


class WorkerLife:
    """How much one worker has done.

    Args:
        limits: of all workers.
        now: seconds, monotonic.
        draw: a number from 0 to 1.
    """

    __slots__ = ("_ends", "_limits", "_most", "tasks")

    def __init__(self, limits: Limits, now: float, draw: float) -> None:
        factor = 1 + SPREAD * (2 * draw - 1)
        self._limits = limits
        self._most = None if limits.tasks is None else max(1, round(limits.tasks * factor))
        self._ends = None if limits.age is None else now + limits.age * factor
        self.tasks = 0

    def over(self, now: float, rss: int) -> str:
        """Why the worker is to be replaced, in words; empty if it is not."""
        if self._most is not None and self.tasks >= self._most:
            return "1 message" if self.tasks == 1 else f"{self.tasks} messages"
        if self._ends is not None and now >= self._ends:
            return f"max_age={self._limits.age:g} s"
        if self._limits.rss is not None and rss > self._limits.rss:
            return f"{rss:,} bytes of memory, more than max_rss={self._limits.rss:,}"
        return ""

    def __repr__(self) -> str:
        return f"<WorkerLife {self.tasks} messages>"
