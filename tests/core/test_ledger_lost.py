"""The ledger when leases cannot be kept: errors that pass (L7), leases lost (L8), twelve hours (L10)."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from ledger_kit import POLICY, beat, hold, message, run

from leasekeeper.core.delivery import Action, Delivery, LeasePolicy
from leasekeeper.core.leases import LIFETIME
from leasekeeper.core.ledger import Ledger
from leasekeeper.core.states import State
from leasekeeper.errors import Verdict
from leasekeeper.outcomes import Settled, Settlement

# L7: passing errors


def keep_failing(ledger: Ledger, row: Delivery, verdict: Verdict) -> list[float]:
    """Let every extension fail at once, until nothing is due any more; the times of the tries."""
    tries = []
    while (now := ledger.leases.next_due()) < math.inf:
        for each in ledger.leases.tick(now):
            assert each is row
            tries.append(now)
            ledger.leases.extension_failed(each, verdict, now, each.receipt)
    return tries


@pytest.mark.parametrize(
    "verdict",
    [each for each in Verdict if each not in (Verdict.LEASE_LOST, Verdict.LEASE_CAPPED)],
)
def test_a_passing_error_is_tried_again_until_the_deadline(verdict: Verdict) -> None:
    """L7: and no longer; the handler is told when the lease is over, not before."""
    told: list[float] = []
    ledger = Ledger(POLICY, on_lease_lost=lambda row: told.append(row.lease.deadline))
    [row] = run(ledger, "a")
    tries = keep_failing(ledger, row, verdict)
    assert tries[0] == 115.0
    assert 128.0 < tries[-1] < 129.0
    assert told == [129.0]
    assert row.state is State.LEASE_LOST


def test_tries_do_not_come_faster_and_faster_as_the_deadline_nears() -> None:
    """L7: with a pause of at least 0.2 s, and at most 5."""
    ledger = Ledger(LeasePolicy(visibility=43_000, extend_after=20.0))
    [row] = run(ledger, "a")
    tries = keep_failing(ledger, row, Verdict.UNAVAILABLE)
    pauses = [after - before for before, after in pairwise(tries)]
    assert min(pauses) >= 0.2 - 1e-9
    assert max(pauses) <= 5.0 + 1e-9


def test_one_failure_leaves_the_others_of_the_batch_alone() -> None:
    """L7, L12: those entries only."""
    ledger = Ledger(POLICY)
    rows = run(ledger, "a", "b", "c")
    sent = beat(ledger, 115.0)
    ledger.leases.extended(sent[:2], 115.0)
    ledger.leases.extension_failed(rows[2], Verdict.THROTTLED, 115.5, "c-1")
    assert ledger.leases.next_due() == 115.5 + (129.0 - 115.5) / 4
    due = ledger.leases.tick(ledger.leases.next_due())
    assert due[0] is rows[2]
    assert rows[0].lease.deadline == 145.0


def test_a_newer_lease_is_extended_although_an_extension_of_the_older_is_out() -> None:
    """L7, L29: the newer receipt's lease came due while the older's extension was out; its beat is not forgotten."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    old = beat(ledger, 115.0)
    ledger.receive([message("a", "a-2")], requested_at=116.0, now=116.0)
    assert ledger.leases.tick(131.0) == [row]  # with the newer receipt, beside the older extension
    ledger.leases.extended(old, 115.0)
    assert (row.extending, row.lease.deadline) == (1, 145.0)
    ledger.leases.extended([(row, "a-2", 30)], 131.0)
    assert (row.extending, row.lease.deadline) == (0, 161.0)


# L8: leases lost


def test_a_lost_lease_is_told_to_the_handler_at_work() -> None:
    """L8: told, counted, and not given back."""
    told: list[Delivery] = []
    ledger = Ledger(POLICY, on_lease_lost=told.append)
    row, waiting = hold(ledger, "a", "b")
    row.started = 101.0
    assert ledger.leases.next_due() == 115.0
    ledger.leases.tick(129.0)
    assert told == [row], "the one in the buffer has no handler to be told"
    assert (row.lost, row.state, row.open) == (True, State.LEASE_LOST, True)
    assert (waiting.lost, waiting.state, waiting.open) == (True, State.LOST, False)
    assert ledger.statistics().lost == 2
    assert ledger.release(row, 0.0, 130.0) is Action.NOTHING
    assert ledger.statistics().lost == 2


def test_a_ledger_without_a_listener_loses_in_silence() -> None:
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.tick(129.0)
    assert row.state is State.LEASE_LOST


def test_work_finished_after_its_lease_is_still_deleted_and_called_late() -> None:
    """L8: not acked as if all were well."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    row.settlement = Settlement()
    ledger.leases.tick(129.0)
    assert ledger.done([row]) == [row]
    ledger.deleted([(row, "a-1")], 130.0)
    assert row.settlement.result(0) is Settled.LATE
    counts = ledger.statistics()
    assert (counts.acked, counts.late, counts.smallest_margin) == (0, 1, None)


def test_work_finished_after_sqs_said_that_the_lease_is_lost_is_called_late() -> None:
    """L8: though our own deadline has not come yet."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    row.settlement = Settlement()
    ledger.leases.tick(115.0)
    ledger.leases.extension_failed(row, Verdict.LEASE_LOST, 116.0, "a-1")
    assert row.state is State.LEASE_LOST
    assert ledger.done([row]) == [row]
    ledger.deleted([(row, "a-1")], 117.0)
    assert row.settlement.result(0) is Settled.LATE


def test_an_ack_is_tried_on_after_its_lease_and_called_late() -> None:
    """L8."""
    told: list[Delivery] = []
    ledger = Ledger(POLICY, on_lease_lost=told.append)
    [row] = run(ledger, "a")
    ledger.done([row])
    ledger.leases.tick(129.0)
    assert (row.state, told, ledger.statistics().lost) == (State.ACKING, [], 0)
    ledger.deleted([(row, "a-1")], 130.0)
    assert ledger.statistics().late == 1


def test_an_ack_extended_in_time_is_in_time_though_the_answer_came_late() -> None:
    """L8: the extension was sent before the lease ended, and SQS took it."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    sent = beat(ledger, 115.0)
    ledger.done([row])
    ledger.leases.tick(129.0)
    ledger.leases.extended(sent, 115.0)
    ledger.deleted([(row, "a-1")], 131.0)
    assert ledger.statistics().acked == 1


def test_an_extension_answered_after_the_lapse_does_not_bring_the_lease_back() -> None:
    """L8: the handler has been told; extending never proves ownership."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    sent = beat(ledger, 115.0)
    ledger.leases.tick(129.0)
    assert ledger.leases.extended(sent, 115.0) == []
    assert row.state is State.LEASE_LOST
    assert ledger.leases.next_due() == math.inf


def test_finished_but_undeleted_work_is_recognised_when_it_comes_again() -> None:
    """L8: deleted, not run."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.done([row])
    ledger.delete_refused(row, "a-1")
    fresh, finished = ledger.receive([message("a", "a-2"), message("b")], requested_at=140.0, now=140.0)
    assert ([each.received.message_id for each in fresh], [each.receipt for each in finished]) == (["b"], ["a-2"])
    assert finished[0].state is State.ACKING
    ledger.deleted([(finished[0], "a-2")], 141.0)
    counts = ledger.statistics()
    assert (counts.known_duplicates, counts.unsettled, counts.acked) == (1, 1, 1)


def test_work_finished_although_its_lease_ended_in_the_buffer_is_remembered() -> None:
    """L8: a thread started it in the very moment its lease ended."""
    ledger = Ledger(POLICY)
    [row] = hold(ledger, "a")
    ledger.leases.tick(129.0)
    assert row.state is State.LOST
    assert ledger.done([row]) == []
    assert ledger.receive([message("a", "a-2")], requested_at=140.0, now=140.0)[1]


def test_a_copy_made_although_the_lease_ended_is_remembered() -> None:
    """L8, L30: it is not copied twice."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.reject(row)
    ledger.leases.tick(129.0)
    assert row.state is State.LOST
    assert ledger.copied(row) is Action.NOTHING
    assert ledger.receive([message("a", "a-2")], requested_at=140.0, now=140.0)[1]


def test_remembering_can_be_turned_off() -> None:
    """L8."""
    ledger = Ledger(LeasePolicy(visibility=30, extend_after=15, remember=0))
    [row] = run(ledger, "a")
    ledger.done([row])
    ledger.delete_refused(row, "a-1")
    fresh, finished = ledger.receive([message("a", "a-2")], requested_at=140.0, now=140.0)
    assert (len(fresh), finished, ledger.statistics().remembered) == (1, [], 0)


def test_so_many_ids_are_remembered_at_least_and_no_more_than_twice_as_many() -> None:
    """L8: bounded; the oldest are forgotten."""
    ledger = Ledger(LeasePolicy(visibility=30, extend_after=15, remember=3))
    remembered = []
    for row in run(ledger, *"abcdefg"):
        ledger.done([row])
        ledger.delete_refused(row, row.receipt)
        remembered.append(ledger.statistics().remembered)
    assert remembered == [1, 2, 3, 4, 5, 3, 4]
    fresh, finished = ledger.receive([message(name) for name in "abcdefg"], requested_at=140.0, now=140.0)
    assert [each.received.message_id for each in fresh] == ["a", "b", "c"]
    assert [each.received.message_id for each in finished] == ["d", "e", "f", "g"]


def test_a_release_is_released_when_its_lease_ends_meanwhile() -> None:
    """It is visible again, which is what was wanted."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    row.settlement = Settlement()
    ledger.release(row, 0.0, 101.0)
    ledger.leases.tick(129.0)
    assert row.settlement.result(0) is Settled.RELEASED
    assert ledger.statistics().released == 1
    assert ledger.statistics().lost == 0


def test_a_release_asked_for_after_an_unnoticed_deadline_is_a_loss() -> None:
    """L8: the heartbeat was late; nothing is sent with that receipt."""
    told: list[Delivery] = []
    ledger = Ledger(POLICY, on_lease_lost=told.append)
    row, waiting = hold(ledger, "a", "b")
    row.started = 101.0
    for each in (row, waiting):
        assert ledger.release(each, 5.0, 129.0) is Action.NOTHING
        assert each.state is State.LOST
    assert told == [row]
    assert (ledger.statistics().lost, len(ledger)) == (2, 0)


def test_who_is_told_of_a_loss_may_give_the_message_up_at_once() -> None:
    """L8: as the worker does with a message that was withheld."""
    ledger = Ledger(POLICY, on_lease_lost=lambda row: steps.append(ledger.release(row, 0.0, 129.0)))
    steps: list[Action] = []
    first, second = run(ledger, "a", "b")
    ledger.release(first, 0.0, 129.0)
    ledger.leases.tick(129.0)
    assert (first.state, second.state) == (State.LOST, State.LOST)
    assert set(steps) == {Action.NOTHING}
    assert (ledger.statistics().lost, len(ledger)) == (2, 0)


# L10: the twelve hours


def test_extensions_stop_at_twelve_hours_since_the_receive_was_asked_for() -> None:
    """L10: less a margin; the handler is told by `capped`."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a", now=101.0, requested_at=100.0)
    while (now := ledger.leases.next_due()) < math.inf:
        assert now < 100.0 + LIFETIME
        sent = beat(ledger, now)
        assert all(now + seconds <= 100.0 + LIFETIME - 1.0 for _, _, seconds in sent)
        ledger.leases.extended(sent, now)
    assert row.capped
    assert row.lease.deadline == pytest.approx(100.0 + LIFETIME - 1.0, abs=1.0)
    assert row.state is State.LEASE_LOST


def test_the_handler_is_told_of_the_cap_while_there_is_time() -> None:
    """L10: as soon as an extension would gain less than the second that SQS counts in."""
    ledger = Ledger(POLICY)
    left = 20.9
    [row] = run(ledger, "a", now=100.0, requested_at=100.0 - LIFETIME + 1.0 + 15.0 + left)
    ledger.leases.extended(beat(ledger, 115.0), 115.0)
    assert row.lease.deadline == 135.0
    assert not row.capped
    assert ledger.leases.tick(ledger.leases.next_due()) == []
    assert row.capped
    assert row.lease.deadline - row.lease.due == 10.0


def test_sqs_may_say_first_that_the_lease_is_capped() -> None:
    """L10: the deadline stands, and it is noticed."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.tick(115.0)
    ledger.leases.extension_failed(row, Verdict.LEASE_CAPPED, 116.0, "a-1")
    assert row.capped
    assert ledger.leases.next_due() == 129.0
    assert ledger.leases.tick(128.0) == []
    ledger.leases.tick(129.0)
    assert row.state is State.LEASE_LOST


def test_an_extension_that_came_too_late_to_be_sent_caps() -> None:
    """L10: it waited for a batch while the last second went by."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a", now=100.0, requested_at=100.0 - LIFETIME + 1.0 + 17.0)
    ledger.leases.tick(115.0)
    assert ledger.leases.seconds_for(row, 116.5) == 0
    ledger.leases.extension_failed(row, None, 116.5)
    assert row.capped


def test_an_extension_that_was_merely_not_sent_is_due_again() -> None:
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.tick(115.0)
    ledger.leases.extension_failed(row, None, 116.0)
    assert not row.capped
    assert ledger.leases.next_due() < 129.0


@pytest.mark.parametrize(("after", "noted"), [(50_000.0, LIFETIME - 11.0), (60.0, 60.0), (-5.0, 0.0)])
def test_a_back_off_is_clamped_to_twelve_hours(after: float, noted: float) -> None:
    """L10."""
    ledger = Ledger(POLICY)
    row, rejected = run(ledger, "a", "b", now=100.0, requested_at=95.0)
    ledger.release(row, after, 105.0)
    ledger.reject(rejected)
    ledger.copy_refused(rejected, after, 105.0)
    assert (row.visible_at, rejected.visible_at) == (105.0 + noted, 105.0 + noted)


def test_a_newer_receipt_begins_twelve_new_hours() -> None:
    """L10, L29."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a", now=100.0, requested_at=100.0 - LIFETIME + 20.0)
    ledger.leases.tick(115.0)
    assert row.capped
    ledger.receive([message("a", "a-2")], requested_at=116.0, now=116.0)
    assert not row.capped
    assert ledger.leases.seconds_for(row, 131.0) == 30
