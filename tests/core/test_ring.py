"""The ring against a plain list."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leasekeeper.core.ring import Ring


class RingMachine(RuleBasedStateMachine):
    """Whatever is done to the ring is done to a list as well."""

    def __init__(self) -> None:
        super().__init__()
        self.capacity = 4
        self.ring: Ring[int] = Ring(4)
        self.naive: list[int] = []

    @rule(item=st.integers())
    def push(self, item: int) -> None:
        if len(self.naive) < self.capacity:
            self.ring.push(item)
            self.naive.append(item)
        else:
            with pytest.raises(OverflowError, match=r"^the ring is full: \d+ items of \d; take some out first$"):
                self.ring.push(item)

    @precondition(lambda self: self.naive)
    @rule()
    def pop(self) -> None:
        assert self.ring.pop() == self.naive.pop(0)

    @precondition(lambda self: not self.naive)
    @rule()
    def pop_nothing(self) -> None:
        with pytest.raises(IndexError, match="the ring is empty"):
            self.ring.pop()

    @rule()
    def drain(self) -> None:
        assert self.ring.drain() == self.naive
        self.naive.clear()

    @rule(capacity=st.integers(0, 6))
    def resize(self, capacity: int) -> None:
        self.capacity = self.ring.capacity = capacity

    @invariant()
    def agrees(self) -> None:
        assert len(self.ring) == len(self.naive)
        assert bool(self.ring) is bool(self.naive)
        assert self.ring.full is (len(self.naive) >= self.capacity)
        assert repr(self.ring) == f"<Ring {len(self.naive)}/{self.capacity}>"


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=12, stateful_step_count=20)


def test_a_large_ring_takes_up_room_only_as_it_fills() -> None:
    ring: Ring[int] = Ring(120_000)
    assert sys.getsizeof(ring._items) < 2_000
    for item in range(120_000):
        ring.push(item)
    assert ring.full
    assert ring.drain() == list(range(120_000))


def test_a_ring_of_nothing_is_full_and_empty() -> None:
    ring: Ring[int] = Ring(0)
    assert ring.full
    assert not ring


def test_a_negative_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="a ring of capacity -1 cannot be: give 0 or more"):
        Ring(-1)
