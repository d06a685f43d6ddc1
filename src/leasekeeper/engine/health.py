"""Health: whether a consumer can do its work, by what SQS answers to its calls.

Owned by the runner; pollers, harvester and extender report to it. It promises that a queue that gives nothing, or that
refuses deletes or visibility changes, turns the consumer unhealthy, and that the first good answer makes it healthy.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from leasekeeper.api import RECEIVE_GRACE
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.events import HealthChanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.events import Event
    from leasekeeper.options import Options

RECEIVE = "ReceiveMessage"
DELETE = "DeleteMessageBatch"
CHANGE = "ChangeMessageVisibilityBatch"
LASTING = frozenset((Verdict.MISSING, Verdict.DENIED))
"""Errors that do not go away without a person (L18)."""
PERMISSIONS = {
    RECEIVE: "sqs:ReceiveMessage",
    DELETE: "sqs:DeleteMessage",
    CHANGE: "sqs:ChangeMessageVisibility",
}


class Health:
    """Whether receives succeed, and whether settlements are allowed.

    A consumer with every slot taken makes no receive, and an empty answer takes as long as it was asked to wait:
    neither says anything. So what counts is the time since the last good receive, while a poller asks for messages.

    Attributes:
        problem: the error that lasts, until the same call succeeds; None when there is none.
        unusable: set by an error that lasts, and never cleared.
    """

    def __init__(
        self, queue: str, *, unhealthy_after: float, wait_time: float, emit: Callable[[Event], None] | None = None
    ) -> None:
        self._queue = queue
        self._emit = emit
        self._patience = max(unhealthy_after, wait_time + RECEIVE_GRACE)
        self._asking: dict[int, float] = {}  # by poller: since when it has asked in vain
        self._received_at = -math.inf
        self._refused: dict[str, SqsError] = {}  # by operation
        self._held_up = ""
        self._reported = True
        self.problem: SqsError | None = None
        self.unusable = asyncio.Event()

    @classmethod
    def of(cls, queue: str, options: Options, emit: Callable[[Event], None]) -> Health:
        """That of a consumer with these options."""
        return cls(queue, unhealthy_after=options.unhealthy_after, wait_time=options.wait_time, emit=emit)

    def asked(self, poller: int, now: float) -> None:
        """A poller is about to receive."""
        self._asking.setdefault(poller, now)

    @property
    def received_at(self) -> float | None:
        """When a receive was answered last: seconds, monotonic; None before the first."""
        return None if self._received_at == -math.inf else self._received_at

    def received(self, poller: int, now: float) -> None:
        """A receive was answered."""
        self._received_at = now
        self._asking.pop(poller, None)
        if self._refused or not self._reported:
            self.succeeded(RECEIVE, now)

    def left(self, poller: int) -> None:
        """A poller asks no more: it has ended, or waits for slots."""
        self._asking.pop(poller, None)

    def failed(self, operation: str, error: SqsError, now: float) -> None:
        """A call was refused."""
        if error.verdict in LASTING:
            self._refused[operation] = error
            self.problem = next(iter(self._refused.values()))  # the first: the others may follow from it
            self.unusable.set()
        self.report(now)

    def succeeded(self, operation: str, now: float) -> None:
        """A call was answered well."""
        if self._refused.pop(operation, None) is not None:
            self.problem = next(iter(self._refused.values()), None)
        self.report(now)

    def held_up(self, reason: str, now: float) -> None:
        """Something else than SQS is missing; an empty reason: it is back."""
        self._held_up = reason
        self.report(now)

    def refuses(self, operation: str) -> bool:
        """Whether an error that lasts is known of this operation."""
        return operation in self._refused

    def healthy(self, now: float) -> bool:
        """Whether messages can be received and settled, as far as is known."""
        return not self.reason(now)

    def next_look(self) -> float:
        """When the time without a good receive becomes too long; inf while no poller asks."""
        since = min(self._asking.values(), default=math.inf)
        return max(since, self._received_at) + self._patience

    def report(self, now: float) -> None:
        """Emit an event if the health has changed since the last one."""
        reason = self.reason(now)
        if self._reported is not (not reason):
            self._reported = not reason
            if self._emit is not None:
                self._emit(HealthChanged(self._queue, not reason, reason))

    def reason(self, now: float) -> str:
        """Why it is not healthy, as a sentence; empty while it is."""
        if self._refused:
            operation, error = next(iter(self._refused.items()))
            advice = ""
            if error.verdict is Verdict.DENIED and operation in PERMISSIONS:
                advice = f"; allow {PERMISSIONS[operation]} on this queue to the consumer's credentials"
            return f"{error}{advice}"
        if self._held_up:
            return self._held_up
        if self._asking and now > self.next_look():
            return f"no receive has succeeded for {self._patience:g} s"
        return ""

    def __repr__(self) -> str:
        return f"<Health: {'healthy' if self._reported else 'unhealthy'}>"
