"""When calls to a store are cut short: while some hang and others are answered, and never else."""

from __future__ import annotations

import pytest

from leasekeeper.core.patience import AGAIN, FACTOR, MEMORY, RECENT, Patience

SHORTEST, MOST = 0.02, 5.0


class Calls:
    """A store's calls, at times that a test chooses."""

    def __init__(self) -> None:
        self.now = 100.0
        self.patience = Patience(SHORTEST, lambda: self.now)

    def answered(self, took: float, transfer: float = 0.0) -> None:
        """Make a call that takes so long."""
        with self.patience.call(transfer):
            self.now += took

    def limit(self) -> float:
        """What the next call may take."""
        return self.patience.limit(MOST)


def test_a_call_that_hangs_while_others_are_answered_cuts_the_next_ones_short() -> None:
    calls = Calls()
    assert calls.limit() == MOST
    with calls.patience.call():
        calls.answered(0.1)
        calls.answered(0.8)
        assert calls.limit() == MOST
        calls.now += 0.2
        calls.answered(0.1)
        assert calls.limit() == pytest.approx(FACTOR * 0.1)
        for _ in range(9):
            calls.answered(0.001)
        assert calls.limit() == SHORTEST


def test_a_call_is_known_to_have_hung_also_when_it_has_ended() -> None:
    calls = Calls()
    with pytest.raises(TimeoutError), calls.patience.call():
        calls.answered(0.001)
        calls.now += MOST
        raise TimeoutError
    assert calls.limit() == SHORTEST


def test_nothing_is_cut_short_while_no_call_is_answered() -> None:
    """All of the store may be slow now."""
    calls = Calls()
    calls.answered(0.001)
    with calls.patience.call():
        calls.now += 1
        calls.limit()
        assert calls.limit() == MOST
        calls.answered(0.001)
        assert calls.limit() == SHORTEST
        calls.now += RECENT + 0.1
        assert calls.limit() == MOST


def test_a_further_call_about_the_same_thing_gets_more_time() -> None:
    """A part that is slow, and does not hang, answers it."""
    calls = Calls()
    with calls.patience.call():
        calls.answered(0.001)
        calls.now += 1
        assert calls.limit() == SHORTEST
        assert calls.patience.limit(MOST, again=True) == AGAIN * SHORTEST
        assert calls.patience.limit(0.05, again=True) == 0.05


def test_what_hung_is_forgotten() -> None:
    calls = Calls()
    with calls.patience.call():
        calls.now += 0.5
        calls.answered(0.001)
        calls.now += 1
        assert calls.limit() == SHORTEST
    calls.now += MEMORY + 0.1
    calls.answered(0.001)
    assert calls.limit() == MOST


def test_the_time_in_which_a_long_answer_comes_in_does_not_count() -> None:
    calls = Calls()
    with calls.patience.call(transfer=10):
        calls.now += 0.5
        calls.answered(8.2, transfer=8)
        calls.now += 1
        assert calls.limit() == MOST
