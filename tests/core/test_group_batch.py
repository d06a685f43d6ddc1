"""Deletes of a FIFO queue: when they are due."""

from __future__ import annotations

from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.group_batch import GroupBatch
from leasekeeper.core.group_ledger import GroupLedger
from leasekeeper.core.groups import Groups
from leasekeeper.message import Received


def test_a_delete_that_is_asked_for_again_counts_once() -> None:
    """A receive is finished when all its messages are, however often the delete of one is asked for."""
    groups = Groups(confirmed=False, max_receives=None, give_back=lambda _: None)
    ledger = GroupLedger(LeasePolicy(visibility=30.0, extend_after=15.0), groups)
    system = {"MessageGroupId": "g", "ApproximateReceiveCount": "1"}
    sent = [Received(message_id=str(n), receipt=str(n), system={**system, "SequenceNumber": str(n)}) for n in range(10)]
    rows, _ = ledger.receive(sent, requested_at=0.0, now=0.0)
    deletes = GroupBatch(linger=0.5, unlock=0.05)
    first = ledger.done(rows[:1])
    for _ in range(10):
        assert not deletes.add(first, 0.0)
    assert deletes.due() == 0.5
    assert deletes.add(ledger.done(rows[1:]), 0.1)
    taken = deletes.take(0.1)
    assert taken is not None
    assert taken[0] == rows
