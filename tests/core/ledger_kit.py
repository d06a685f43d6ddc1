"""What the tests of the ledger share: messages, and what its shells do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.message import Received

if TYPE_CHECKING:
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.ledger import Ledger

POLICY = LeasePolicy(visibility=30.0, extend_after=15.0)


def message(name: str, receipt: str = "") -> Received:
    return Received(message_id=name, receipt=receipt or f"{name}-1", body="{}")


def hold(ledger: Ledger, *names: str, now: float = 100.0, requested_at: float | None = None) -> list[Delivery]:
    """Receive messages that are new."""
    fresh, finished = ledger.receive(
        [message(name) for name in names], requested_at=now if requested_at is None else requested_at, now=now
    )
    assert not finished
    return fresh


def run(ledger: Ledger, *names: str, now: float = 100.0, requested_at: float | None = None) -> list[Delivery]:
    """Receive messages that are new, and start their handlers."""
    rows = hold(ledger, *names, now=now, requested_at=requested_at)
    for row in rows:
        row.started = now
    return rows


def beat(ledger: Ledger, now: float) -> list[tuple[Delivery, str, int]]:
    """What the extender would send at this time."""
    return [(row, row.receipt, ledger.leases.seconds_for(row, now)) for row in ledger.leases.tick(now)]
