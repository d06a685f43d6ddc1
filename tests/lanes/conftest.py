"""Deliveries as lanes are given them: rows of a real ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.message import Received

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(LeasePolicy(visibility=30, extend_after=15))


@pytest.fixture
def deliver(ledger: Ledger) -> Callable[..., Delivery]:
    """Make a delivery, with that body or with its number as the body."""
    made = 0

    def make(body: str | None = None) -> Delivery:
        nonlocal made
        made += 1
        name = f"m{made}"
        received = Received(message_id=name, receipt=f"{name}-receipt", body=str(made) if body is None else body)
        [row], _ = ledger.receive([received], requested_at=100.0, now=100.0)
        return row

    return make
