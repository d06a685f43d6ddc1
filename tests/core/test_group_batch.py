"""Deletes of a FIFO queue: when they are due."""

from __future__ import annotations

from leasekeeper.core.batch import Why
from leasekeeper.core.delivery import Delivery, LeasePolicy
from leasekeeper.core.group_batch import GroupBatch
from leasekeeper.core.group_ledger import GroupLedger
from leasekeeper.core.groups import Groups
from leasekeeper.message import Received


def _received(count: int) -> tuple[GroupLedger, list[Delivery]]:
    """A ledger, and the messages of one group that one receive has brought."""
    groups = Groups(confirmed=False, max_receives=None, give_back=lambda _: None)
    ledger = GroupLedger(LeasePolicy(visibility=30.0, extend_after=15.0), groups)
    system = {"MessageGroupId": "g", "ApproximateReceiveCount": "1"}
    sent = [
        Received(message_id=str(n), receipt=str(n), system={**system, "SequenceNumber": str(n)}) for n in range(count)
    ]
    return ledger, ledger.receive(sent, requested_at=0.0, now=0.0)[0]


def test_a_delete_that_is_asked_for_again_counts_once() -> None:
    """A receive is finished when all its messages are, however often the delete of one is asked for."""
    ledger, rows = _received(10)
    deletes = GroupBatch(linger=0.5, unlock=0.05)
    first = ledger.done(rows[:1])
    for _ in range(10):
        assert not deletes.add(first, 0.0)
    assert deletes.due() == 0.5
    assert len(deletes) == 1
    assert deletes.add(ledger.done(rows[1:]), 0.1)
    taken = deletes.take(0.1)
    assert taken is not None
    assert taken[0] == rows
    assert not deletes


def test_what_failed_goes_again_before_what_has_finished_meanwhile() -> None:
    """L28: and after a pause for the whole group; nothing of it goes while a call is out."""
    ledger, rows = _received(6)
    deletes = GroupBatch(linger=0.5, unlock=0.05)
    deletes.add(ledger.done(rows[:3]), 0.0)
    assert deletes.take(0.5) == (rows[:3], Why.TIME)
    deletes.add(ledger.done(rows[3:4]), 0.6)
    assert deletes.take(2.0, flush=True) is None
    assert len(deletes) == 1
    ledger.deleted([(row, row.receipt) for row in (rows[0], rows[2])], 2.0)
    deletes.put_back(rows[1], ready=5.0)
    deletes.answered(rows[:3])
    deletes.add(ledger.done(rows[4:]), 3.0)
    assert deletes.due() == 5.0
    assert deletes.take(5.0) == ([rows[1], *rows[3:]], Why.TIME)
    assert deletes.put_back_count == 0
