"""The demo's shop: a handler that waits, fails, rejects and is sometimes slow, and that counts what it finishes.

Owned by the demo. It promises to know every order that was finished, so that duplicates and losses are counted and not
estimated.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from random import Random

import msgspec

from leasekeeper.message import Message  # noqa: TC001 - the handler's annotation is read when it runs
from leasekeeper.outcomes import Reject

FAILING = 100
"""One order in so many fails at its first receive."""
REJECTED = 1000
"""One order in so many can never be shipped."""
SLOW_SECONDS = 4.0
"""How long a slow order takes: longer than its lease goes without an extension."""
SLOW_SHARE = 0.05
"""The largest share of the concurrency that slow orders may take."""
EVENT_EVERY = 0.7
"""Seconds between two events of one kind, so that they can be read."""


class Order(msgspec.Struct):
    """What a message carries."""

    number: int
    customer: str


class Shop:
    """Ships orders.

    Args:
        seconds: what shipping takes, on average.
        concurrency: how many are shipped at once.
    """

    def __init__(self, *, seconds: float, concurrency: int) -> None:
        self.finished: set[int] = set()
        self.duplicates = 0
        self.first: float | None = None
        """When the first order was finished, on the monotonic clock."""
        self.events: deque[str] = deque(maxlen=4)
        """The last orders that failed, were rejected or took long."""
        self._seconds = seconds
        self._random = Random(7)  # noqa: S311 - waiting times
        self._slow_every = max(2.0, SLOW_SECONDS / (SLOW_SHARE * concurrency))
        self._slow_next = time.monotonic() + 2.0
        self._shown: dict[str, float] = {}

    async def ship(self, message: Message[Order]) -> None:
        """The handler."""
        order = message.body
        await asyncio.sleep(self._duration(order))
        if order.number % FAILING == FAILING // 2 and message.receive_count == 1:
            self._show("failed", f"order {order.number} failed: the carrier did not answer; retried with back-off")
            raise TimeoutError("the carrier did not answer")
        if order.number % REJECTED == REJECTED // 4:
            self._show("rejected", f"order {order.number} rejected: no customer {order.customer}; now a dead letter")
            raise Reject(f"no customer {order.customer}")
        if order.number in self.finished:
            self.duplicates += 1
        self.finished.add(order.number)
        if self.first is None:
            self.first = time.monotonic()

    def _duration(self, order: Order) -> float:
        now = time.monotonic()
        if now >= self._slow_next:
            self._slow_next = now + self._slow_every
            self._show("slow", f"order {order.number} takes {SLOW_SECONDS:g} s: heartbeats keep its lease")
            return SLOW_SECONDS
        return self._seconds * self._random.uniform(0.5, 1.5)

    def _show(self, kind: str, text: str) -> None:
        now = time.monotonic()
        if now >= self._shown.get(kind, 0.0) + EVENT_EVERY:
            self._shown[kind] = now
            self.events.append(text)
