"""A message in a worker process: what a handler's view of its lease reads, and where it says what it wants.

Made for each run. What the lease is like now is asked of the engine when the handler asks, so a message that does not
ask costs nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.lanes.processes.frames import AsksLease, Lease, Says, Told, pack_outcome, unpack_received
from leasekeeper.outcomes import Retry

if TYPE_CHECKING:
    from leasekeeper.lanes.api import Answer
    from leasekeeper.lanes.processes.frames import Run
    from leasekeeper.outcomes import Settlement
    from leasekeeper.worker_process.channel import Channel


class RemoteLease:
    """When the lease ends."""

    __slots__ = ("_delivery",)

    def __init__(self, delivery: RemoteDelivery) -> None:
        self._delivery = delivery

    @property
    def deadline(self) -> float:
        """Seconds on the monotonic clock, which all processes of a machine share."""
        return self._delivery.ask().deadline


class RemoteDelivery:
    """The part of a `Delivery` that handlers see.

    Attributes:
        number: of the message on this pipe.
        settlement: of an early `ack()` or `retry()`.
    """

    def __init__(self, channel: Channel, run: Run) -> None:
        self._channel = channel
        self.number = run.message
        self.received = unpack_received(run.received)
        self.attempt = run.attempt
        self.received_at = run.received_at
        self.settles_later = run.later
        self.started = 0.0
        self.settlement: Settlement | None = None
        self.notes: list[tuple[str, float]] | None = None
        self.handler = ""
        self.open = True
        self.lease = RemoteLease(self)

    def ask(self) -> Lease:
        """How the lease stands. Without an answer it counts as lost: the engine is starved or gone."""
        found = self._found()
        return Lease(self.number, lost=True, capped=False, deadline=self._channel.clock()) if found is None else found

    def _found(self) -> Lease | None:
        return self._channel.leases(AsksLease(self.number), self.number).get(self.number)

    @property
    def lost(self) -> bool:
        """Whether the lease ended."""
        return self.ask().lost

    @property
    def capped(self) -> bool:
        """Whether the lease cannot be extended any more."""
        return self.ask().capped

    def __repr__(self) -> str:
        return f"<RemoteDelivery {self.received.message_id}>"


class Saying:
    """Takes to the engine what handlers say of their messages while they run, or later.

    Attributes:
        waiting: messages whose early settlement has not ended, by number.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.waiting: dict[int, RemoteDelivery] = {}

    def __call__(self, answer: Answer[RemoteDelivery]) -> bool:
        """Take what is said; always True, because this process ends with the engine."""
        delivery, outcome = answer.unit, answer.outcome
        if answer.final:  # of a batch that goes on
            number = delivery.bundle.number  # type: ignore[attr-defined] # a row of a batch
            self._channel.send(Told(number, [delivery.number], pack_outcome(outcome), final=True))
            return True
        self.waiting[delivery.number] = delivery
        after = float(outcome.after or 0.0) if isinstance(outcome, Retry) else None
        self._channel.send(Says(delivery.number, after))
        return True
