"""The weighted semaphore: permits that are taken and returned, several at a time.

The dispatch of a lane owns one. It promises that no more permits are taken than
exist, and no more returned than were taken.
"""

from __future__ import annotations


class WeightedSemaphore:
    """A number of permits, some of them taken. It never waits: a caller that gets none learns it at once.

    Args:
        permits: how many there are, 0 or more.

    Attributes:
        permits: how many there are.
        available: how many may still be taken; below 0 after `resize` to fewer than are out.
    """

    __slots__ = ("available", "permits")

    def __init__(self, permits: int) -> None:
        if permits < 0:
            raise ValueError(f"a semaphore of {permits} permits cannot be: give 0 or more")
        self.permits = permits
        self.available = permits

    @property
    def taken(self) -> int:
        """How many are out."""
        return self.permits - self.available

    def acquire_up_to(self, weight: int) -> int:
        """Take `weight` permits, or as many as there are; returns how many were taken, perhaps 0.

        Raises:
            ValueError: the weight is below 0.
        """
        if weight < 0:
            raise ValueError(f"{weight} permits cannot be taken: give 0 or more")
        got = min(weight, max(self.available, 0))
        self.available -= got
        return got

    def release(self, weight: int = 1) -> None:
        """Give `weight` permits back.

        Raises:
            ValueError: the weight is below 0, or more than is out; nothing has changed then.
        """
        available = self.available + weight
        if weight < 0 or available > self.permits:
            raise ValueError(f"{weight} permits cannot be given back: {self.taken} are out")
        self.available = available

    def resize(self, permits: int) -> None:
        """Change how many permits there are. With fewer than are out, `available` stays below 1 until enough come back.

        Raises:
            ValueError: the number is below 0.
        """
        if permits < 0:
            raise ValueError(f"a semaphore of {permits} permits cannot be: give 0 or more")
        self.available += permits - self.permits
        self.permits = permits

    def __repr__(self) -> str:
        return f"<WeightedSemaphore {self.taken}/{self.permits} taken>"
