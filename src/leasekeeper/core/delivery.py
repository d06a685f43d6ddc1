"""The nouns of the ledger: a delivery (one message we hold), the lease it shares, and the actions left to do for it.

The ledger and its leases move them. Other parts write five fields: the lane `started`, `LeaseControl` `settlement`, the
settler `failure`, the choice of one of several handlers `handler`, and a stop `lost` (`engine.drain`). There is one
delivery for each message, so it is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from leasekeeper.core.states import Event, State, next_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from leasekeeper.failure import Failure
    from leasekeeper.message import Received
    from leasekeeper.outcomes import Settlement

    TellOne: TypeAlias = Callable[["Delivery"], None]
    TellMany: TypeAlias = Callable[[Sequence["Delivery"]], None]


class Action(Enum):
    """What there is to do for a delivery. `Runner._act` alone knows which part does it."""

    NOTHING = 0
    DELETE = 1
    RELEASE = 2
    COPY = 3
    """Send a copy to the dead-letter queue, then delete."""
    RELEASE_IN_TIME = 5
    """Release when its extension has been answered, or just before its lease ends, whichever comes first (L5)."""
    COPY_LATER = 7
    """Keep its lease, and send the copy again after the longest back-off: its group waits for it (L26)."""
    KEEP = 4
    """Keep its lease and its slot: the handler withheld the ack."""
    AGAIN = 6
    """Run it again here, under the same lease, when the decision's `after` has passed."""


class Lease:
    """The time that one receive, or one extension, gave to the deliveries that share it."""

    __slots__ = ("began", "deadline", "due", "extension_sent", "hold", "members", "seconds")

    def __init__(self, seconds: float, began: float, due: float, deadline: float) -> None:
        self.began = began
        """When SQS began it at the earliest."""
        self.seconds = seconds
        """What it was given, and what an extension asks for again."""
        self.due = due
        """When to extend it."""
        self.deadline = deadline
        """When it ends."""
        self.extension_sent = False
        """Whether its members have been handed out for extension."""
        self.hold = False
        """Whether its next extension is for longer than the ones after it: `Leases.hold`."""
        self.members: dict[Delivery, None] = {}
        """Who holds it, in the order of receiving (a dict: the order makes simulations repeatable)."""


class Delivery(msgspec.Struct, eq=False):
    """One message we hold: a row of the ledger. Compared and hashed by identity.

    A struct is made in a third of the time of a class with slots.
    """

    received: Received
    lease: Lease
    requested_at: float
    """When the receive was requested: the twelve hours count from here."""
    received_at: float
    state: State = State.WAITING
    extending: int = 0
    """How many extension requests are out: no release is sent for this receipt meanwhile (L5)."""
    extension_of: Lease | None = None
    """The lease for which the last extension was sent, unless that failed: it is extended once."""
    lost: bool = False
    """Whether the lease has run out at any time while the handler was at work."""
    capped: bool = False
    """Whether the lease cannot be extended any more: 12 hours since the receive (L10)."""
    visible_at: float = 0.0
    """When it becomes visible again, if it is RELEASING."""
    settlement: Settlement | None = None
    """Resolved when it is known how the message was settled; None if no handler asked."""
    started: float = 0.0
    """When the lane called the handler; 0.0 before, and before it is called again."""
    extra: int = 0
    """Attempts minus the receive count: further runs under one delivery add to it, deliveries without a run
    subtract."""
    failure: Failure | None = None
    """Why it is not tried again, for its copy in the dead-letter queue."""
    handler: str = ""
    """The name of the handler that it was given to, where a queue has several."""

    @property
    def receipt(self) -> str:
        """The newest receipt: the only one that can delete."""
        return self.received.receipt

    @property
    def attempts(self) -> int:
        """Attempts so far, including the one that runs now or comes next; 0 if not even that one counts."""
        return self.received.receive_count + self.extra

    @property
    def attempt(self) -> int:
        """The number of the run that goes on now, or comes next: from 1, as far as this process knows."""
        return max(1, self.attempts)

    @property
    def settles_later(self) -> bool:
        """Whether a settlement through the message begins only when its handler has ended."""
        return False

    @property
    def open(self) -> bool:
        """Whether it has not been settled yet."""
        return self.state <= State.LEASE_LOST

    def __repr__(self) -> str:
        return f"<Delivery {self.received.message_id} {self.state.name}>"


NOTES: dict[Delivery, list[tuple[str, float]]] = {}
"""What happened to the leases of messages that are traced, and when. `LeaseControl.watch` puts them here and takes them
out again. It is no field of a delivery, because most are not traced."""


def note(rows: Iterable[Delivery], what: str, now: float) -> None:
    """Note it for those of the messages that are traced."""
    for row in rows if NOTES else ():
        if (notes := NOTES.get(row)) is not None:
            notes.append((what, now))


def catch_up(delivery: Delivery) -> None:
    """Let the state follow `started`, which a lane sets from another thread."""
    if delivery.state is State.WAITING and delivery.started:
        delivery.state = next_state(State.WAITING, Event.START)


deadline_of: Callable[[Delivery], float] = attrgetter("lease.deadline")
"""When a delivery's lease ends; with `map` it costs half of what a comprehension does."""
receipt_of: Callable[[Delivery], str] = attrgetter("received.receipt")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePolicy:
    """How leases are counted.

    Attributes:
        visibility: seconds of a lease, unless a receive asked for more.
        extend_after: seconds after which a lease is extended.
        remember: how many ids of finished work are remembered, up to twice as many at times; 0: none.
    """

    visibility: float
    extend_after: float
    remember: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStatistics:
    """Messages held now, by state, and counts since the start."""

    held: dict[str, int]
    """Messages held now, by state: waiting, running, lease_lost (running without one), rejecting, acking, releasing."""
    received: int
    """Messages received."""
    duplicates: int
    """Redeliveries of messages that were running here: the newer receipt was taken over."""
    known_duplicates: int
    """Redeliveries of finished messages: deleted without being run."""
    acked: int
    """Deletes confirmed in time."""
    late: int
    """Deletes confirmed after the lease had ended: the message may be delivered again."""
    released: int
    """Messages given back, after a failure or at a stop."""
    lost: int
    """Leases that ended while the message was held."""
    unsettled: int
    """Finished messages without a confirmed delete."""
    remembered: int
    """Ids of finished messages that are remembered now."""
    smallest_margin: float | None
    """Least seconds of lease left at a confirmed delete since the start; None before the first."""
    recent_margin: float | None
    """Least seconds of lease left at a confirmed delete in the last one to two minutes; None without one."""
    released_by: dict[str, int]
    """Messages given back, by how their last run ended (`failed`, `retried`, `not_started` ...), `claimed` when
    another run has claimed their idempotency key, or `other`."""
    deleted_by: dict[str, int]
    """Messages deleted that were not done here: `dead_letter`, `known_duplicate`, `skipped`."""
    gone: int
    """Messages that left without a confirmed delete or release, because their lease ended: they come again."""
    hidden: int
    """Messages given back that are still hidden, because their back-off is not over. SQS counts them as in flight."""
