"""What a runner holds, message by message, as plain values: for people who want to see it.

Called by the admin surface, from any thread. It promises to change nothing, and to cost nothing until it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from leasekeeper.core.states import State

if TYPE_CHECKING:
    from leasekeeper.core.ledger import Ledger

SHOWN = 10_000
"""Messages that are given at most."""


class Held(NamedTuple):
    """A message that is held. Times are those of the runner's clock."""

    message_id: str
    state: str
    """As `LedgerStatistics.held` names it."""
    received: float
    started: float | None
    """When its handler was called; None before."""
    lease_end: float
    attempt: int
    group: str | None
    """Its message group, which fair queues have too."""


def in_hand(ledger: Ledger, most: int = SHOWN) -> list[Held]:
    """The messages that a ledger holds, the oldest first.

    Rows are copied first, because the engine goes on meanwhile: single values may be of two moments.
    """
    found = []
    for row in list(ledger.rows.values())[:most]:
        started = row.started or None
        state = State.RUNNING if started and row.state is State.WAITING else row.state
        found.append(
            Held(
                row.received.message_id,
                state.name.lower(),
                row.received_at,
                started,
                row.lease.deadline,
                row.attempt,
                row.received.system.get("MessageGroupId"),
            )
        )
    return found


def smallest_lease(ledger: Ledger) -> float | None:
    """When the first lease of those held ends; None if none is held."""
    return min((row.lease.deadline for row in list(ledger.rows.values())), default=None)
