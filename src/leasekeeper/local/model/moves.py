"""A message move task, which moves the messages of a dead-letter queue back at a given rate.

Owned by the account. It promises to move the messages that were in the queue at its start and are still visible, and
never to exceed its rate.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections import deque

    from leasekeeper.local.model.stored import Stored

FASTEST = 500
"""The highest rate and the default, in messages a second (SQS API reference)."""


class MoveStatus(Enum):
    """The status of a task, in the words of the API."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(slots=True, kw_only=True)
class MoveTask:
    """A message move task.

    Attributes:
        id: a random UUID.
        source: the ARN of the queue it moves from.
        destination: the ARN of the queue it moves to; empty: each message goes back to its source queue.
        rate: messages a second.
        requested_rate: the rate in the request, or None; ListMessageMoveTasks shows it.
        left: the messages it has not looked at yet.
    """

    id: str
    source: str
    destination: str
    rate: int
    requested_rate: int | None
    started: float
    left: deque[Stored]
    to_move: int = field(default=0)
    moved: int = 0
    status: MoveStatus = MoveStatus.RUNNING
    failure: str = ""

    @property
    def handle(self) -> str:
        """The handle that cancels it: base64 of a JSON object, as on AWS."""
        return base64.b64encode(msgspec.json.encode({"taskId": self.id, "sourceArn": self.source})).decode()

    def allowance(self, now: float) -> int:
        """How many messages it may move now: the first at once, the others at its rate."""
        return int((now - self.started) * self.rate + 1e-6) + 1 - self.moved

    def next_step(self) -> float:
        """When it may move the next message; infinite when it has ended."""
        return self.started + self.moved / self.rate if self.status is MoveStatus.RUNNING else inf

    def end(self, status: MoveStatus, failure: str = "") -> None:
        """End, with the reason for a failure."""
        self.status = status
        self.failure = failure
        self.left.clear()
