"""The batch: when it is due, what goes, and that nothing is lost; against a naive list of entries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leasekeeper.core.batch import Batch, BatchStatistics, Why

SIZE, LINGER = 3, 5.0
times = st.floats(0, 12)


@dataclass(eq=False)
class Entry:
    """One item as the naive model sees it. Entries have no order and are not equal, as receipts need not be."""

    due: float
    number: int
    again: bool = False


class BatchMachine(RuleBasedStateMachine):
    """Whatever is done to the batch is done to a list, which is searched from end to end at every question."""

    def __init__(self) -> None:
        super().__init__()
        self.batch: Batch[Entry] = Batch(size=SIZE, linger=LINGER)
        self.now = 0.0
        self.naive: list[Entry] = []
        self.gone: list[Entry] = []
        self.number = 0

    def fresh(self) -> list[Entry]:
        return [entry for entry in self.naive if not entry.again]

    def naive_due(self) -> float:
        if len(self.fresh()) >= SIZE:
            return -math.inf
        return min((entry.due for entry in self.naive), default=math.inf)

    def naive_take(self, until: float) -> list[Entry]:
        ready = sorted(
            (entry for entry in self.naive if entry.again and entry.due <= until), key=lambda e: (e.due, e.number)
        )
        return (ready + self.fresh())[:SIZE]

    @rule(count=st.integers(0, 2 * SIZE + 1), ahead=st.none() | times)
    def add(self, count: int, ahead: float | None) -> None:
        latest = math.inf if ahead is None else self.now + ahead
        entries = [Entry(min(self.now + LINGER, latest), self.number + each) for each in range(1, count + 1)]
        self.number += count
        self.naive += entries
        assert self.batch.add(entries, self.now, latest=latest) is (len(self.fresh()) >= SIZE)

    @precondition(lambda self: self.gone)
    @rule(ready=times, ahead=st.none() | times)
    def put_back(self, ready: float, ahead: float | None) -> None:
        self.number += 1
        entry = self.gone.pop()
        latest = math.inf if ahead is None else self.now + ahead
        entry.due, entry.number, entry.again = min(self.now + ready, latest), self.number, True
        self.naive.append(entry)
        self.batch.put_back(entry, ready=self.now + ready, latest=latest)

    @rule(flush=st.booleans())
    def take(self, flush: bool) -> None:
        due = self.naive_due() <= self.now
        expected = self.naive_take(math.inf if flush else self.now) if due or flush else []
        taken = self.batch.take(self.now, flush=flush)
        if not expected:
            assert taken is None
            return
        why = Why.SIZE if len(expected) == SIZE else Why.TIME if due else Why.FLUSH
        assert taken == (expected, why)
        self.naive = [entry for entry in self.naive if entry not in expected]
        self.gone += expected

    @rule(seconds=times)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: math.isfinite(self.batch.due()))
    @rule()
    def wait_until_due(self) -> None:
        self.now = max(self.now, self.batch.due())
        self.take(flush=False)

    @invariant()
    def agrees(self) -> None:
        assert self.batch.due() == self.naive_due()
        assert len(self.batch) == len(self.naive)
        waiting = len(self.fresh())
        assert self.batch.statistics() == BatchStatistics(
            waiting=waiting, put_back=len(self.naive) - waiting, due=self.naive_due()
        )


TestBatch = BatchMachine.TestCase
TestBatch.settings = settings(max_examples=18, stateful_step_count=18)


def test_it_goes_when_it_is_full() -> None:
    batch: Batch[int] = Batch(linger=1.0)
    assert [batch.add([item], 0.0) for item in range(10)] == [False] * 9 + [True]
    assert batch.due() == -math.inf
    assert batch.take(0.0) == (list(range(10)), Why.SIZE)
    assert batch.due() == math.inf
    assert batch.take(0.0) is None


def test_adding_does_not_put_it_off() -> None:
    """L13: a steady trickle goes by the age of its oldest item."""
    batch: Batch[int] = Batch(linger=1.0)
    for item in range(5):
        batch.add([item], item * 0.2)
        assert batch.due() == 1.0
    assert batch.take(0.99) is None
    assert batch.take(1.0) == ([0, 1, 2, 3, 4], Why.TIME)


def test_what_is_left_over_is_due_by_its_own_oldest_item() -> None:
    """L13: also when a full batch was taken from before it."""
    batch: Batch[int] = Batch(size=2, linger=1.0)
    for item, now in enumerate((0.0, 0.1, 0.2)):
        batch.add([item], now)
    assert batch.take(0.3) == ([0, 1], Why.SIZE)
    assert batch.due() == pytest.approx(1.2)
    batch.add([3], 0.9, latest=5.0)
    assert batch.take(0.9) == ([2, 3], Why.SIZE)


def test_it_goes_before_the_lease_of_any_item_ends() -> None:
    """L13: one entry with a lease that ends soon takes the others with it."""
    batch: Batch[str] = Batch(linger=10.0)
    batch.add(["patient"], 0.0, latest=100.0)
    batch.add(["urgent"], 1.0, latest=2.0)
    assert batch.due() == 2.0
    assert batch.take(2.0) == (["patient", "urgent"], Why.TIME)


def test_an_item_put_back_goes_when_it_is_ready_and_first() -> None:
    """L12: it waits out its pause, then makes the batch due and takes along what is there."""
    batch: Batch[str] = Batch(linger=10.0)
    batch.put_back("failed", ready=3.0)
    batch.add(["fresh"], 2.0)
    assert batch.due() == 3.0
    assert batch.take(2.9) is None
    assert batch.take(3.0) == (["failed", "fresh"], Why.TIME)


def test_an_item_put_back_that_is_not_ready_stays_behind() -> None:
    """L12: those entries only; the pause of one does not hold up the rest."""
    batch: Batch[str] = Batch(size=2, linger=10.0)
    batch.put_back("failed", ready=60.0)
    batch.add(["a"], 0.0)
    assert batch.add(["b"], 0.0)
    assert batch.take(0.0) == (["a", "b"], Why.SIZE)
    assert batch.take(0.0) is None
    assert repr(batch) == "<Batch 0/2, 1 put back>"


def test_an_item_put_back_goes_before_its_lease_ends_ready_or_not() -> None:
    """L12: retried while the lease lasts, so once more before it ends."""
    batch: Batch[str] = Batch(linger=10.0)
    batch.put_back("failed", ready=60.0, latest=20.0)
    assert batch.due() == 20.0
    assert batch.take(20.0) == (["failed"], Why.TIME)


def test_a_flush_takes_everything_batch_by_batch() -> None:
    """L1: at a stop nothing waits for a threshold, an interval or a pause."""
    batch: Batch[int] = Batch(linger=10.0)
    batch.put_back(99, ready=60.0)
    for item in range(13):
        batch.add([item], 0.0)
    assert batch.take(0.0, flush=True) == ([99, *range(9)], Why.SIZE)
    assert batch.take(0.0, flush=True) == ([9, 10, 11, 12], Why.FLUSH)
    assert batch.take(0.0, flush=True) is None


def test_equal_items_put_back_at_the_same_time_are_not_compared() -> None:
    """L11: two deliveries of one message are two entries, whatever they are made of."""
    batch: Batch[dict[str, int]] = Batch(linger=1.0)
    for _ in range(2):
        batch.put_back({"receipt": 1}, ready=0.0)
    assert batch.take(0.0) == ([{"receipt": 1}, {"receipt": 1}], Why.TIME)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 0, "linger": 1.0}, "a batch of 0 items cannot be: give a size of 1 or more"),
        ({"linger": -1.0}, "a batch cannot linger for -1.0 s: give 0 or more"),
        ({"linger": math.nan}, "a batch cannot linger for nan s: give 0 or more"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:
        Batch(**options)
    assert str(refusal.value) == sentence
