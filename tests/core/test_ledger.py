"""The ledger: how leases are counted, one writer a receipt (L5), and every way out (L6)."""

from __future__ import annotations

import math

import pytest
from ledger_kit import POLICY, beat, hold, message, run

from leasekeeper.core.delivery import Action, Delivery, LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.core.states import State
from leasekeeper.errors import Verdict

# The lease


def test_a_lease_is_counted_from_the_answers_arrival_less_a_margin() -> None:
    """L3: some of the answer's way is already gone."""
    [row] = hold(Ledger(POLICY), "a", now=100.0, requested_at=98.0)
    assert (row.lease.due, row.lease.deadline) == (115.0, 129.0)


def test_the_margin_of_a_short_lease_is_a_fifth() -> None:
    ledger = Ledger(LeasePolicy(visibility=1, extend_after=0.5))
    [row] = hold(ledger, "a", now=100.0)
    assert (row.lease.due, row.lease.deadline) == (100.5, 100.8)


def test_a_receive_may_have_another_visibility() -> None:
    ledger = Ledger(POLICY)
    [row], _ = ledger.receive([message("a")], requested_at=100.0, now=100.0, visibility=60)
    assert (row.lease.due, row.lease.deadline) == (130.0, 159.0)


def test_messages_of_one_receive_share_a_lease() -> None:
    """The cost stays per receive: ten messages are one entry to look after."""
    ledger = Ledger(POLICY)
    rows = hold(ledger, *"abcdefghij")
    assert len({id(row.lease) for row in rows}) == 1
    assert len(ledger.leases._extensions) == 1
    ledger.leases.extended(beat(ledger, 115.0), 115.0)
    assert len({id(row.lease) for row in rows}) == 1


def test_an_extension_counts_from_when_it_was_sent() -> None:
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.extended(beat(ledger, 115.0), 115.0)  # answered whenever
    assert (row.lease.due, row.lease.deadline) == (130.0, 145.0)
    assert ledger.leases.next_due() == 130.0


def test_an_extension_of_fewer_seconds_is_due_earlier() -> None:
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.tick(115.0)
    ledger.leases.extended([(row, row.receipt, 10)], 115.0)
    assert (row.lease.due, row.lease.deadline) == (120.0, 125.0)


def test_nothing_is_due_of_an_empty_ledger() -> None:
    ledger = Ledger(POLICY)
    assert ledger.receive([], requested_at=100.0, now=100.0) == ([], [])
    assert ledger.leases.next_due() == math.inf
    assert ledger.leases.tick(1e9) == []
    assert repr(ledger) == "<Ledger empty>"


def test_a_repr_reads() -> None:
    ledger = Ledger(POLICY)
    first, *_ = hold(ledger, "a", "b", "c")
    first.started = 100.0
    assert repr(ledger) == "<Ledger 1 running, 2 waiting>"
    assert repr(first) == "<Delivery a WAITING>"


@pytest.mark.parametrize("state", ["waiting", "running", "rejecting", "acking"])
def test_a_lease_is_kept_until_the_delete_is_confirmed(state: str) -> None:
    """L3: in the buffer, in the handler, while the copy is made, while the ack waits."""
    ledger = Ledger(POLICY)
    [row] = hold(ledger, "a") if state == "waiting" else run(ledger, "a")
    if state == "rejecting":
        ledger.reject(row)
    elif state == "acking":
        ledger.done([row])
    for now in (115.0, 130.0, 145.0):
        due = beat(ledger, now)
        assert due == [(row, "a-1", 30)]
        ledger.leases.extended(due, now)
    assert row.lease.deadline == 175.0


# L5: one writer a receipt


def test_a_release_waits_for_the_extension_in_flight() -> None:
    """L5: a back-off of 60 s stays 60 s however slow the heartbeat's answer."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    sent = beat(ledger, 115.0)
    assert ledger.release(row, 60.0, 116.0) is Action.RELEASE_IN_TIME
    assert ledger.leases.extended(sent, 115.0) == [row]
    assert (row.state, row.visible_at, row.extending) == (State.RELEASING, 176.0, False)


@pytest.mark.parametrize("verdict", [None, Verdict.UNAVAILABLE, Verdict.LEASE_LOST, Verdict.LEASE_CAPPED])
def test_a_release_follows_an_extension_that_failed(verdict: Verdict | None) -> None:
    """L5: over is over, however it ended."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.tick(115.0)
    assert ledger.release(row, 60.0, 116.0) is Action.RELEASE_IN_TIME
    assert ledger.leases.extension_failed(row, verdict, 117.0, row.receipt) is Action.RELEASE


def test_a_release_that_was_sent_beside_an_extension_is_not_the_last_one() -> None:
    """L5: the extension was answered before the release, and may have taken effect after it all the same."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    sent = beat(ledger, 115.0)
    ledger.release(row, 60.0, 116.0)
    assert ledger.leases.extended(sent, 115.0) == [row]
    ledger.released(row, 117.0, beside=True)
    assert list(ledger) == [row]
    ledger.released(row, 118.0)
    assert list(ledger) == []


def test_a_release_is_not_repeated_when_others_may_have_the_message() -> None:
    """A repetition would take it away from them."""
    ledger = Ledger(POLICY)
    rows = run(ledger, "a", "b")
    ledger.leases.tick(115.0)
    for row, after in zip(rows, (0.0, 2.0), strict=True):
        ledger.release(row, after, 116.0)
        ledger.released(row, 117.0, beside=True)
    assert list(ledger) == rows[1:]
    assert not ledger.released_for_good(rows[1], 117.9)
    assert ledger.released_for_good(rows[1], 118.0)
    assert ledger.statistics().released == 2


def test_a_release_that_was_confirmed_is_none_that_was_lost_when_its_repetition_is_refused() -> None:
    """The extension came later and found the message visible, and so did the second release."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    sent = beat(ledger, 115.0)
    ledger.release(row, 60.0, 116.0)
    ledger.released(row, 116.5, beside=True)
    assert ledger.leases.extension_failed(row, Verdict.LEASE_LOST, 117.0, row.receipt) is Action.RELEASE
    assert sent
    ledger.released(row, 118.0, refused=True)
    assert (ledger.statistics().released, ledger.statistics().lost) == (1, 0)


def test_a_refused_copy_waits_for_the_extension_in_flight_too() -> None:
    """L5, L30."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.reject(row)
    sent = beat(ledger, 115.0)
    assert ledger.copy_refused(row, 900.0, 116.0) is Action.RELEASE_IN_TIME
    assert ledger.leases.extended(sent, 115.0) == [row]


def test_a_release_with_nothing_in_flight_goes_at_once() -> None:
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.extended(beat(ledger, 115.0), 115.0)
    assert ledger.release(row, 60.0, 116.0) is Action.RELEASE


def test_a_heartbeat_that_fails_after_the_delete_is_no_error() -> None:
    """L5: SQS says that the message is not in flight, because it is deleted."""
    told: list[Delivery] = []
    ledger = Ledger(POLICY, on_lease_lost=told.append)
    [row] = run(ledger, "a")
    ledger.leases.tick(115.0)
    ledger.done([row])
    ledger.deleted([(row, "a-1")], 116.0)
    assert ledger.leases.extension_failed(row, Verdict.LEASE_LOST, 117.0, "a-1") is Action.NOTHING
    assert (row.state, row.lost, told, ledger.statistics().lost) == (State.ACKED, False, [], 0)


def test_a_heartbeat_that_fails_before_the_delete_is_answered_leaves_the_word_to_the_delete() -> None:
    """L5: the delete may have been first."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.leases.tick(115.0)
    ledger.done([row])
    ledger.leases.extension_failed(row, Verdict.LEASE_LOST, 117.0, "a-1")
    assert (row.state, row.lost) == (State.ACKING, False)
    ledger.deleted([(row, "a-1")], 118.0)
    assert ledger.statistics().acked == 1


# L6: every way out untracks


def _ways_out(way: str, ledger: Ledger, row: Delivery) -> None:
    if way == "acked":
        ledger.done([row])
        ledger.deleted([(row, row.receipt)], 101.0)
    elif way == "delete refused":
        ledger.done([row])
        ledger.delete_refused(row, row.receipt)
    elif way in ("released", "release refused"):
        ledger.release(row, 0.0, 101.0)
        ledger.released(row, refused=way == "release refused")
    elif way == "dead-lettered":
        ledger.reject(row)
        ledger.copied(row)
        ledger.deleted([(row, row.receipt)], 101.0)
    elif way == "not dead-lettered":
        ledger.reject(row)
        ledger.copy_refused(row, 900.0, 101.0)
        ledger.released(row)
    elif way == "expired":
        ledger.leases.tick(200.0)
        ledger.release(row, 0.0, 201.0)
    elif way == "lost":
        ledger.leases.tick(115.0)
        ledger.leases.extension_failed(row, Verdict.LEASE_LOST, 116.0, row.receipt)
        ledger.reject(row)


WAYS = [
    "acked",
    "delete refused",
    "released",
    "release refused",
    "dead-lettered",
    "not dead-lettered",
    "expired",
    "lost",
]


@pytest.mark.parametrize("way", WAYS)
def test_after_every_way_out_no_extension_names_the_row(way: str) -> None:
    """L6."""
    ledger = Ledger(POLICY)
    row, other = run(ledger, "a", "b")
    _ways_out(way, ledger, row)
    assert set(ledger) == {other}
    assert row not in row.lease.members
    assert row not in ledger.leases.tick(215.0)
    assert ledger.leases.seconds_for(row, 215.0) == 0


@pytest.mark.parametrize("way", WAYS)
def test_after_every_way_out_what_is_said_is_not_heard(way: str) -> None:
    """L6: late answers and a handler's second word change nothing and ask for nothing."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    _ways_out(way, ledger, row)
    state, counts = row.state, ledger.statistics()
    assert ledger.release(row, 0.0, 300.0) is Action.NOTHING
    assert ledger.reject(row) is Action.NOTHING
    assert ledger.copy_refused(row, 0.0, 300.0) is Action.NOTHING
    assert ledger.deleted([(row, row.receipt)], 300.0) == []
    assert ledger.delete_refused(row, row.receipt) is Action.NOTHING
    ledger.released(row)
    assert ledger.leases.extended([(row, row.receipt, 30)], 300.0) == []
    assert ledger.leases.extension_failed(row, Verdict.UNAVAILABLE, 300.0) is Action.NOTHING
    assert (row.state, ledger.statistics(), ledger.leases.next_due()) == (state, counts, math.inf)


@pytest.mark.parametrize("way", ["acking", "releasing", "rejecting"])
def test_what_is_on_its_way_out_is_said_once(way: str) -> None:
    """L6: a settlement is requested_at for once, whatever lanes say after it."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    match way:
        case "acking":
            ledger.done([row])
        case "rejecting":
            ledger.reject(row)
        case _:
            ledger.release(row, 5.0, 101.0)
    state = row.state
    assert [ledger.done([row]), ledger.release(row, 0.0, 101.0), ledger.reject(row)] == [
        [],
        Action.NOTHING,
        Action.NOTHING,
    ]
    assert (row.state, row.state.name.lower()) == (state, way)
    assert not row.open


def test_a_releasing_row_is_not_extended() -> None:
    """L6: a back-off is not overwritten by a heartbeat."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    ledger.release(row, 900.0, 101.0)
    assert ledger.leases.tick(115.0) == []
    assert ledger.leases.seconds_for(row, 115.0) == 0


def test_an_extension_asks_for_what_the_receive_was_given() -> None:
    """An adaptive visibility is not shortened by its first extension; extensions of extensions keep it too."""
    ledger = Ledger(LeasePolicy(visibility=30, extend_after=15))
    (row,), _ = ledger.receive([message("a")], requested_at=100, now=100, visibility=120)
    row.started = 100.0
    assert ledger.leases.tick(159.0) == []
    assert ledger.leases.tick(160.0) == [row]
    assert ledger.leases.seconds_for(row, 160.0) == 120
    ledger.leases.extended([(row, row.receipt, 120)], 160.0)
    assert ledger.leases.tick(219.0) == []
    assert ledger.leases.tick(220.0) == [row]
    assert ledger.leases.seconds_for(row, 220.0) == 120
