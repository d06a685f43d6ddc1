"""The weighted semaphore against a naive count of who holds what."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from leasekeeper.core.semaphore import WeightedSemaphore

weights = st.integers(0, 8)


class SemaphoreMachine(RuleBasedStateMachine):
    """Holders, each with the weight it took; the semaphore must agree with their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = 10
        self.semaphore = WeightedSemaphore(10)
        self.held: list[int] = []

    @rule(weight=weights)
    def acquire_up_to(self, weight: int) -> None:
        got = self.semaphore.acquire_up_to(weight)
        assert got == min(weight, max(0, self.permits - sum(self.held)))
        self.held.append(got)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.held:
            self.semaphore.release(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    @rule(excess=st.integers(1, 5))
    def release_too_much(self, excess: int) -> None:
        with pytest.raises(ValueError, match="cannot be given back"):
            self.semaphore.release(sum(self.held) + excess)

    @rule(permits=st.integers(0, 20))
    def resize(self, permits: int) -> None:
        self.permits = permits
        self.semaphore.resize(permits)

    @invariant()
    def agrees(self) -> None:
        assert self.semaphore.permits == self.permits
        assert self.semaphore.taken == sum(self.held)
        assert self.semaphore.available == self.permits - sum(self.held)


TestSemaphore = SemaphoreMachine.TestCase
TestSemaphore.settings = settings(max_examples=12, stateful_step_count=20)


def test_ten_thousand_takings_leave_every_permit_there() -> None:
    """L20: what is given back in the sizes it was taken in is all there again."""
    semaphore = WeightedSemaphore(64)
    for turn in range(10_000):
        semaphore.release(semaphore.acquire_up_to(turn % 11))
    assert semaphore.available == semaphore.permits == 64


def test_fewer_permits_than_are_out_leaves_a_debt() -> None:
    semaphore = WeightedSemaphore(3)
    assert semaphore.acquire_up_to(3) == 3
    semaphore.resize(1)
    assert semaphore.available == -2
    assert semaphore.acquire_up_to(1) == 0
    semaphore.release(2)
    assert semaphore.acquire_up_to(1) == 0
    semaphore.release()
    assert semaphore.acquire_up_to(1) == 1
    assert repr(semaphore) == "<WeightedSemaphore 1/1 taken>"


def test_numbers_below_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="a semaphore of -1 permits cannot be: give 0 or more"):
        WeightedSemaphore(-1)
    semaphore = WeightedSemaphore(1)
    with pytest.raises(ValueError, match="a semaphore of -2 permits cannot be: give 0 or more"):
        semaphore.resize(-2)
    with pytest.raises(ValueError, match="-1 permits cannot be taken: give 0 or more"):
        semaphore.acquire_up_to(-1)
    with pytest.raises(ValueError, match="-1 permits cannot be given back: 0 are out"):
        semaphore.release(-1)
    assert (semaphore.permits, semaphore.taken, semaphore.available) == (1, 0, 1)
