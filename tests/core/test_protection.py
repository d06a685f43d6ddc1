"""When ECS is asked to spare a task: few calls, and none that waits for a handler to end."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.core.protection import IDLE, RENEW_AFTER, RETRY_AFTER, Protection


class Task:
    """A task whose ECS always answers, and the calls that it got."""

    def __init__(self) -> None:
        self.protection = Protection()
        self.calls: list[tuple[float, bool]] = []

    def look(self, now: float, *, needed: bool, ok: bool = True) -> bool | None:
        on = self.protection.decide(now, needed=needed)
        if on is not None:
            self.calls.append((now, on))
            self.protection.answered(now, on=on, ok=ok)
        return on


def test_it_is_on_at_once_renewed_and_off_when_idle() -> None:
    task = Task()
    assert task.look(0.0, needed=False) is None
    assert task.look(5.0, needed=True) is True
    assert task.look(10.0, needed=True) is None
    assert task.look(5.0 + RENEW_AFTER, needed=True) is True
    last = 5.0 + RENEW_AFTER
    assert task.look(last + IDLE - 1, needed=False) is None
    assert task.look(last + IDLE, needed=False) is False
    assert task.look(last + IDLE + 1, needed=False) is None


def test_a_short_gap_between_two_handlers_costs_no_call() -> None:
    task = Task()
    for now in range(0, 500, 5):
        task.look(float(now), needed=now % 30 != 0)
    assert task.calls == [(5.0, True)]


def test_what_failed_is_tried_again_later() -> None:
    task = Task()
    task.look(0.0, needed=True, ok=False)
    assert task.protection.on is False
    assert task.look(RETRY_AFTER - 1, needed=True) is None
    assert task.look(RETRY_AFTER, needed=True) is True
    assert task.protection.on is True
    task.look(RETRY_AFTER + IDLE, needed=False, ok=False)
    assert task.protection.on is True  # it is renewed no more, and ends by itself
    assert task.look(2 * RETRY_AFTER + IDLE, needed=False) is False


@given(st.lists(st.tuples(st.floats(1, 100), st.booleans(), st.booleans()), max_size=200))
def test_calls_are_rare_and_a_need_is_never_left_unprotected(looks: list[tuple[float, bool, bool]]) -> None:
    task, now = Task(), 0.0
    failed = -math.inf
    for seconds, needed, ok in looks:
        now += seconds
        before = len(task.calls)
        task.look(now, needed=needed, ok=ok)
        if len(task.calls) > before and not ok:
            failed = now
        if needed and now - failed >= RETRY_AFTER:
            assert task.protection.on
    for (before_at, before_on), (at, on) in pairwise(task.calls):
        if before_on is on:
            assert at - before_at >= min(RENEW_AFTER, RETRY_AFTER)
