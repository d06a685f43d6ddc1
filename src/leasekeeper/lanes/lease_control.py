"""A handler's view of its lease: reads the delivery, and takes what the handler says of its message to the engine.

Made by `Handler` for each message, and held by that message (`message.ack()`, `message.withhold()` and so on). It may
be used from any thread, also after the handler has returned.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import NOTES
from leasekeeper.errors import Closed
from leasekeeper.lanes.api import Answer
from leasekeeper.outcomes import DONE, Retry, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Say

_SETTLING = threading.Lock()
"""Held while a message is settled early. Race: two threads may settle the same message; the second gets `Closed`."""


class LeaseControl:
    """The `leasekeeper.message.LeaseView` of one delivery; `say` takes an answer to the engine."""

    __slots__ = ("_delivery", "_say", "_started", "withheld")

    def __init__(self, say: Say[Delivery], delivery: Delivery) -> None:
        self._say = say
        self._delivery = delivery
        self._started = delivery.started  # the message may run again under the same lease; that is another run's
        self.withheld = False

    @property
    def attempt(self) -> int:
        """The number of this run."""
        return self._delivery.attempt

    @property
    def lease_lost(self) -> bool:
        """Whether the lease ran out."""
        return self._delivery.lost

    @property
    def lease_capped(self) -> bool:
        """Whether the lease can no longer be extended."""
        return self._delivery.capped

    @property
    def lease_deadline(self) -> float:
        """When the lease ends."""
        return self._delivery.lease.deadline

    @property
    def waited(self) -> float:
        """Seconds from received to started."""
        return max(0.0, self._started - self._delivery.received_at)

    @property
    def retried(self) -> bool:
        """Whether the handler has given its message back with `message.retry()`."""
        settlement = self._delivery.settlement
        return settlement is not None and isinstance(settlement.asked, Retry)

    def watch(self) -> Callable[[], Sequence[tuple[str, float]]]:
        """Note what happens to the lease from now on; as `LeaseView.watch`."""
        NOTES[self._delivery] = []
        return self._noted

    def _noted(self) -> Sequence[tuple[str, float]]:
        return [(what, at - self._started) for what, at in NOTES.pop(self._delivery, ())]

    def settle_early(self, *, retry_after: float | None) -> Settlement:
        """Ack, or retry after that many seconds, now.

        Raises:
            Closed: the message is settled already, or the consumer is closed.
            ValueError: `retry_after` is not between 0 and 43,200.
        """
        delivery = self._delivery
        outcome = DONE if retry_after is None else Retry(retry_after)
        with _SETTLING:
            if delivery.settlement is not None or not delivery.open or delivery.started != self._started:
                raise Closed(
                    f"message {delivery.received.message_id} is settled already: ack() and retry() can be called once, "
                    "and not after its handler has returned unless withhold() was called"
                )
            settlement = delivery.settlement = Settlement(outcome, deferred=delivery.settles_later)
        if not self._say(Answer(delivery, outcome, final=False)):
            delivery.settlement = None
            raise Closed(
                f"message {delivery.received.message_id}: the consumer is closed; the message comes back when its "
                "visibility timeout ends"
            )
        return settlement

    def withhold(self) -> None:
        """Keep the message when the handler returns."""
        self.withheld = True
