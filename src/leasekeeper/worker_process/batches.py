"""A batch in a worker process: its messages, and how they end, for the engine to know before the worker may die.

Made for each batch that the engine sends. What has ended is told at once, or before the next call of the handler; so
when the worker dies, the engine knows what was in that call.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from leasekeeper.core.batch_collector import Collected
from leasekeeper.lanes.bundles import Bundle
from leasekeeper.lanes.processes.frames import AsksLease, Lease, Run, Started, Told, framed, pack_outcome
from leasekeeper.worker_process.remote import RemoteDelivery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.processes.frames import RunBatch
    from leasekeeper.outcomes import Outcome
    from leasekeeper.worker_process.channel import Channel

FRESH = 0.02
"""Seconds for which an answer about the leases of a batch holds: a look at all of its messages is one question."""


class RemoteBundle(Bundle):
    """A bundle whose engine is another process.

    Attributes:
        number: of the batch on this pipe.
        handler: as `RemoteDelivery.handler`; a batch goes to one handler.
    """

    __slots__ = ("_asked_at", "_channel", "_leases", "_told", "handler", "number")

    def __init__(self, channel: Channel, run: RunBatch, say: Any) -> None:
        rows: Any = [
            RemoteRow(self, channel, Run(number, received, attempt, received_at, run.later))
            for number, (received, attempt, received_at) in enumerate(
                zip(run.received, run.attempts, run.received_at, strict=True), run.message + 1
            )
        ]
        super().__init__(
            Collected(rows, run.trigger, run.waited), say, channel.clock, ordered=run.ordered, copies=run.copies
        )
        places = iter(rows)
        self.parts = [list(islice(places, length)) for length in run.parts]
        self.number = run.message
        self.handler = ""
        self._channel = channel
        self._told: set[Delivery] = set()
        self._leases: Mapping[int, Lease] = {}
        self._asked_at = float("-inf")

    def restarted(self, rows: Sequence[Delivery]) -> None:
        """As `Bundle.restarted`, and the engine is told."""
        super().restarted(rows)
        self.tell()
        self._channel.send(Started(self.number, self.started, _numbers(rows)))

    def tell(self) -> None:
        """Tell the engine of the messages whose end is known since the last time."""
        alike: dict[bytes, tuple[Outcome, list[Delivery]]] = {}
        for row in self.rows:
            if row in self.outcomes and row not in self._told:
                self._told.add(row)
                outcome = self.outcomes[row]
                key = framed(Told(0, [], pack_outcome(outcome), final=False))
                alike.setdefault(key, (outcome, []))[1].append(row)
        for outcome, rows in alike.values():
            self._channel.send(Told(self.number, _numbers(rows), pack_outcome(outcome), final=False))

    def lease_of(self, number: int) -> Lease | None:
        """How the lease of one message stands, or stood a moment ago."""
        now = self._channel.clock()
        if now >= self._asked_at + FRESH:
            self._leases = self._channel.leases(AsksLease(self.number), self.number)
            self._asked_at = now
        return self._leases.get(number)


class RemoteRow(RemoteDelivery):
    """A message of a batch."""

    def __init__(self, bundle: RemoteBundle, channel: Channel, run: Run) -> None:
        super().__init__(channel, run)
        self.bundle = bundle

    def _found(self) -> Lease | None:
        return self.bundle.lease_of(self.number) or super()._found()  # kept when the batch is over


def _numbers(rows: Sequence[Any]) -> list[int]:
    return [row.number for row in rows]
