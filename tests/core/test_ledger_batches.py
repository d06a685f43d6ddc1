"""The ledger's cost: a lease a receive, extensions in full batches, and memory that follows what is held."""

from __future__ import annotations

import sys
import threading

from ledger_kit import POLICY, run

from leasekeeper.core.delivery import Delivery, LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.core.states import State
from leasekeeper.errors import Verdict

# The heartbeat's batches


def receives(ledger: Ledger, sizes: list[int], step: float = 1.0) -> list[list[Delivery]]:
    """Receives of so many messages each, `step` seconds apart, the first at 100."""
    return [
        run(ledger, *(f"m{index}-{each}" for each in range(size)), now=100.0 + index * step)
        for index, size in enumerate(sizes)
    ]


def test_a_batch_is_filled_up_with_those_due_soonest_after() -> None:
    """An extension costs a tenth of a call: a call with one entry would waste nine."""
    ledger = Ledger(POLICY)
    first, second, third = receives(ledger, [3, 4, 5])
    due = ledger.leases.tick(115.0)
    assert due == [*first, *second, *third[:3]]
    assert ledger.leases.next_due() == 117.0, "the lease that was taken in part keeps its beat"
    assert ledger.leases.tick(117.0) == third[3:]


def test_a_full_batch_takes_nothing_early() -> None:
    ledger = Ledger(POLICY)
    first, _ = receives(ledger, [10, 10])
    assert ledger.leases.tick(115.0) == first
    assert ledger.leases.next_due() == 116.0


def test_what_is_due_is_named_beyond_one_batch() -> None:
    ledger = Ledger(POLICY)
    rows = receives(ledger, [7, 7, 7], step=0.0)
    assert ledger.leases.tick(115.0) == [each for some in rows for each in some]


def test_fill_up_stops_at_the_horizon() -> None:
    """Half of the heartbeat's interval: what is younger gains too little from a call made for others."""
    ledger = Ledger(POLICY)
    first, _ = receives(ledger, [1, 1], step=7.6)
    assert ledger.leases.tick(115.0) == first


def test_a_lease_taken_in_part_forgets_none_of_its_members() -> None:
    """L7: neither those that were taken, however they ended, nor those that were left."""
    ledger = Ledger(POLICY)
    _, second = receives(ledger, [6, 6])
    due = ledger.leases.tick(115.0)
    early = [row for row in second if row.extending]
    assert len(early) == 4
    for row in due:
        ledger.leases.extension_failed(row, Verdict.UNAVAILABLE, 115.1, row.receipt)
    assert set(ledger.leases.tick(116.0)) >= set(second), "failed early, and due in their own time"


def test_members_taken_early_that_are_still_out_are_not_taken_again() -> None:
    """L5: one extension a receipt at a time."""
    ledger = Ledger(POLICY)
    _, second = receives(ledger, [6, 6])
    early = [row for row in ledger.leases.tick(115.0) if row in second]
    late = ledger.leases.tick(116.0)
    assert set(late) == set(second) - set(early)
    for row in early:
        ledger.leases.extension_failed(row, Verdict.UNAVAILABLE, 117.0, row.receipt)
    assert ledger.leases.next_due() < 122.1
    assert set(ledger.leases.tick(ledger.leases.next_due())) == set(early)


def test_a_lease_without_members_is_not_waited_for() -> None:
    ledger = Ledger(POLICY)
    first, _ = receives(ledger, [2, 2])
    for row in first:
        ledger.done([row])
        ledger.deleted([(row, row.receipt)], 102.0)
    assert ledger.leases.next_due() == 116.0


def test_leases_without_members_do_not_pile_up_behind_an_old_message() -> None:
    """The ledger's memory follows what is held, not what has been received."""
    ledger = Ledger(LeasePolicy(visibility=43_200, extend_after=21_600.0))
    run(ledger, "old")
    for index in range(2000):
        [row] = run(ledger, f"m{index}", now=101.0)
        ledger.done([row])
        ledger.deleted([(row, row.receipt)], 101.0)
        ledger.leases.next_due()
    assert len(ledger.leases._extensions) < 100
    assert ledger.leases.next_due() == 21_700.0


def test_statistics_can_be_asked_from_another_thread_and_move_nothing() -> None:
    """A dashboard asks from its own thread; the rows are the engine's."""
    ledger = Ledger(POLICY)
    [row] = run(ledger, "a")
    assert ledger.statistics().held["running"] == 1
    assert row.state is State.WAITING
    stop, problems = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                ledger.statistics()
                repr(ledger)
            except Exception as error:
                problems.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for index in range(400):
            [each] = run(ledger, f"m{index}")
            if index > 30:
                [old, *_] = [held for held in ledger if held.state is State.WAITING]
                ledger.release(old, 0.0, 101.0)
                ledger.released(old)
            assert each.state is State.WAITING
    finally:
        stop.set()
        asking.join()
        sys.setswitchinterval(interval)
    assert problems == []
