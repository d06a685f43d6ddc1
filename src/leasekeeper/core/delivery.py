"""The nouns of the ledger: a delivery (one message in our hands), the lease it shares, and what is left to be done.

They belong to `leasekeeper.core.ledger`, which alone moves them; lanes write the field that is theirs. Plain,
slotted, cheap: one delivery a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from leasekeeper.core.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.message import Received
    from leasekeeper.outcomes import Settlement


class Action(Enum):
    """What is left to be done for a delivery after an event."""

    NOTHING = 0
    DELETE = 1
    RELEASE = 2
    COPY = 3


class Lease:
    """The time that one receive, or one extension, gave to the deliveries that share it."""

    __slots__ = ("beaten", "deadline", "due", "members", "seconds")

    def __init__(self, seconds: float, due: float, deadline: float) -> None:
        self.seconds = seconds
        """What it was given, and what an extension asks for again."""
        self.due = due
        """When it is to be extended."""
        self.deadline = deadline
        """When it ends."""
        self.beaten = False
        """Whether its members have been handed out for extension."""
        self.members: dict[Delivery, None] = {}
        """Who holds it, in the order of receiving (a dict: the order makes simulations repeatable)."""


class Delivery(msgspec.Struct, eq=False):
    """One message in our hands: a row of the ledger. Compared and hashed as the object it is.

    `started` belongs to the lane, which writes it once; everything else is the ledger's. A struct, because that is made
    in a third of the time of a class with slots.
    """

    received: Received
    lease: Lease
    asked: float
    """When the receive was asked for: the twelve hours count from here."""
    received_at: float
    receipt: str
    """The newest receipt: the only one that can delete."""
    state: State = State.WAITING
    beating: bool = False
    """Whether an extension is on its way: nobody else may write to this receipt meanwhile (L5)."""
    lost: bool = False
    """Whether the lease has run out at any time while the handler was at work."""
    capped: bool = False
    """Whether the lease cannot be extended any more: 12 hours since the receive (L10)."""
    release_after: float = 0.0
    """Seconds until it is to be visible again, once it is RELEASING."""
    settlement: Settlement | None = None
    """Who waits to know how it ends."""
    started: float = 0.0
    """When the lane called the handler."""

    @property
    def open(self) -> bool:
        """Whether it is still to be said what becomes of it."""
        return self.state <= State.LAPSED

    def __repr__(self) -> str:
        return f"<Delivery {self.received.message_id} {self.state.name}>"


deadline_of: Callable[[Delivery], float] = attrgetter("lease.deadline")
"""When a delivery's lease ends; with `map` it costs half of what a comprehension does."""
receipt_of: Callable[[Delivery], str] = attrgetter("receipt")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePolicy:
    """How leases are counted.

    Attributes:
        visibility: seconds of a lease, unless a receive asked for more.
        beat_after: seconds after which a lease is extended.
        remember: how many ids of finished work are remembered, up to twice as many at times; 0: none.
    """

    visibility: float
    beat_after: float
    remember: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStatistics:
    """Counts since the start, and what is held now by state."""

    held: dict[State, int]
    received: int
    duplicates: int
    """Redeliveries of messages at work here: the newer receipt was taken up."""
    recognised: int
    """Redeliveries of finished work: deleted without running."""
    acked: int
    late: int
    """Deletes confirmed after the lease had ended."""
    released: int
    lost: int
    """Leases lost, at work or in a buffer."""
    unsettled: int
    """Finished work whose delete was never confirmed."""
    remembered: int
    smallest_margin: float
    """Least seconds of lease left at a confirmed delete; inf before the first."""
