"""The ledger and messages that come again: twice in a batch (L11), or while they are at work here (L29)."""

from __future__ import annotations

import pytest
from ledger_kit import POLICY, beat, hold, message, run

from leasekeeper.core.delivery import Action, Delivery
from leasekeeper.core.ledger import Ledger
from leasekeeper.core.states import State
from leasekeeper.errors import Verdict
from leasekeeper.outcomes import Settled, Settlement

# L11, L12


def test_two_deliveries_of_one_id_in_one_batch_are_one_row_with_the_later_receipt() -> None:
    """L11: run once; the later receipt deletes."""
    ledger = Ledger(POLICY)
    fresh, _ = ledger.receive([message("a", "a-1"), message("a", "a-2")], requested_at=100.0, now=100.0)
    [row] = fresh
    assert (row.receipt, len(ledger), ledger.statistics().duplicates) == ("a-2", 1, 1)
    ledger.done([row])
    ledger.deleted([(row, "a-2")], 101.0)
    assert (row.state, len(ledger)) == (State.ACKED, 0)


def test_two_deliveries_of_finished_work_in_one_batch_are_one_delete() -> None:
    """L8, L11."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.done([row])
    ledger.delete_refused(row)
    fresh, finished = ledger.receive([message("a", "a-2"), message("a", "a-3")], requested_at=140.0, now=140.0)
    assert (fresh, [each.receipt for each in finished]) == ([], ["a-3"])


# Redeliveries


def test_a_redelivery_while_waiting_takes_up_the_receipt() -> None:
    """L29: it is run once, and the new lease is kept."""
    ledger = Ledger(POLICY)
    [row] = hold(ledger, "a")
    assert ledger.receive([message("a", "a-2")], requested_at=120.0, now=120.0) == ([], [])
    assert (row.receipt, row.state, row.lease.deadline, len(ledger)) == ("a-2", State.WAITING, 149.0, 1)
    assert ledger.leases.next_due() == 135.0


def test_a_redelivery_while_running_is_not_run_and_keeps_being_extended() -> None:
    """L29."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    assert ledger.receive([message("a", "a-2")], requested_at=120.0, now=120.0) == ([], [])
    assert row.state is State.RUNNING
    assert beat(ledger, 135.0) == [(row, "a-2", 30)]


def test_a_redelivery_of_a_lapsed_one_brings_a_lease_back() -> None:
    """L29: never left invisible without a handler at work on it, and acked in time after all."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.tick(129.0)
    ledger.receive([message("a", "a-2")], requested_at=131.0, now=131.0)
    assert (row.state, row.lost, row.receipt) == (State.RUNNING, True, "a-2")
    assert beat(ledger, 146.0) == [(row, "a-2", 30)]
    ledger.done([row])
    ledger.deleted([(row, "a-2")], 147.0)
    assert ledger.statistics().acked == 1


def test_a_delete_sent_with_an_older_receipt_is_repeated() -> None:
    """L29: the older cannot delete, whatever SQS answers to it."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.done([row])
    assert ledger.receive([message("a", "a-2")], requested_at=101.0, now=101.0) == ([], [])
    assert ledger.deleted([(row, "a-1")], 102.0) == [row]
    assert len(ledger) == 1
    assert ledger.deleted([(row, "a-2")], 103.0) == []
    assert row.state is State.ACKED


def test_a_delete_refused_with_an_older_receipt_is_repeated() -> None:
    """L29: the newer receipt may still delete."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.done([row])
    ledger.receive([message("a", "a-2")], requested_at=101.0, now=101.0)
    assert ledger.delete_refused(row, "a-1") is Action.DELETE
    assert row.state is State.ACKING
    assert ledger.delete_refused(row, "a-2") is Action.NOTHING
    assert (row.state, ledger.statistics().unsettled) == (State.LOST, 1)


@pytest.mark.parametrize("verdict", [Verdict.LEASE_LOST, Verdict.LEASE_CAPPED])
def test_what_sqs_says_of_an_older_receipt_is_no_word_on_the_newer(verdict: Verdict) -> None:
    """L29: the extension crossed the redelivery; the new lease is as good as any."""
    told: list[Delivery] = []
    ledger = Ledger(POLICY, on_lease_lost=told.append)
    [row] = run(ledger, "a")
    ledger.leases.tick(115.0)
    ledger.receive([message("a", "a-2")], requested_at=116.0, now=116.0)
    assert ledger.leases.extension_failed(row, verdict, 117.0, "a-1") is Action.NOTHING
    assert (row.state, row.lost, row.capped, told) == (State.RUNNING, False, False, [])
    assert ledger.leases.next_due() == 131.0
    assert ledger.leases.tick(131.0) == [row]


def test_an_extension_made_with_an_older_receipt_does_not_lengthen_the_newer_lease() -> None:
    """L29."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    sent = beat(ledger, 115.0)
    ledger.receive([message("a", "a-2")], requested_at=116.0, now=116.0)
    ledger.leases.extended(sent, 115.0)
    assert (row.extending, row.lease.due, row.lease.deadline) == (False, 131.0, 145.0)


def test_a_redelivery_before_the_release_is_confirmed_is_a_new_delivery() -> None:
    """L29: the release did take effect."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    row.settlement = Settlement()
    ledger.release(row, 0.0, 101.0)
    [again], _ = ledger.receive([message("a", "a-2")], requested_at=102.0, now=102.0)
    assert again is not row
    assert row.settlement.result(0) is Settled.RELEASED
    ledger.released(row)  # the answer, late
    assert (set(ledger), ledger.statistics().released, ledger.statistics().duplicates) == ({again}, 1, 0)


def test_a_redelivery_while_it_is_being_rejected_is_deleted_with_the_newer_receipt() -> None:
    """L29, L30."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.reject(row)
    assert ledger.receive([message("a", "a-2")], requested_at=101.0, now=101.0) == ([], [])
    assert ledger.copied(row) is Action.DELETE
    ledger.deleted([(row, "a-2")], 102.0)
    assert row.state is State.ACKED


def test_an_end_of_an_old_delivery_leaves_a_new_one_of_the_same_id_alone() -> None:
    """L6: rows are told apart by themselves, not by their ids."""
    ledger = Ledger(POLICY)
    [old] = hold(ledger, "a")
    ledger.leases.tick(129.0)
    [new] = hold(ledger, "a", now=130.0)
    assert ledger.done([old]) == []
    ledger.released(old)
    assert set(ledger) == {new}


def test_who_rejects_has_started_though_the_clock_stood_at_zero() -> None:
    """L6: a virtual clock begins at 0.0, which must not read as 'not started' and leave the row held for ever."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a", now=0.0)
    assert ledger.reject(row) is Action.COPY
