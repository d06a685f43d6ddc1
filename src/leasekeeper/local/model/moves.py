"""A message move task: what takes the messages of a dead-letter queue back, at a given rate.

Owned by the account. It promises to move what was in the queue when it began and is still visible, at most at its rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque

    from leasekeeper.local.model.stored import Stored

FASTEST = 500
"""Messages a second at most, and when nobody says (SQS API reference)."""


class MoveStatus(Enum):
    """How a task is doing, in the words of the API."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(slots=True, kw_only=True)
class MoveTask:
    """A message move task.

    Attributes:
        source: the ARN it takes from.
        destination: the ARN it gives to; empty: each message goes where it came from.
        rate: messages a second.
        left: what it has yet to look at.
        asked_rate: what the request said, to be shown again.
    """

    handle: str
    source: str
    destination: str
    rate: int
    asked_rate: int | None
    started: float
    left: deque[Stored]
    to_move: int = field(default=0)
    moved: int = 0
    status: MoveStatus = MoveStatus.RUNNING
    failure: str = ""

    def allowance(self, now: float) -> int:
        """How many messages it may move now: the first at once, the rest as its rate has it."""
        return int((now - self.started) * self.rate + 1e-6) + 1 - self.moved

    def next_step(self) -> float:
        """When it may move another message; infinite when it is over."""
        return self.started + self.moved / self.rate if self.status is MoveStatus.RUNNING else inf

    def end(self, status: MoveStatus, failure: str = "") -> None:
        """Be over, for the reason given."""
        self.status = status
        self.failure = failure
        self.left.clear()
