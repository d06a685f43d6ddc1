"""The gate and its lines: what may start, in which order, and what that says of messages that wait."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.core.delivery import Delivery, Lease
from leasekeeper.core.gate import Gate
from leasekeeper.core.line import FairLine, Line
from leasekeeper.core.rate import TokenBucket
from leasekeeper.message import Received


def row(name: str, group: str = "") -> Delivery:
    system = {"MessageGroupId": group} if group else {}
    received = Received(message_id=name, receipt=name, body=name, system=system)
    return Delivery(received, Lease(30, 0, 15, 30), 0, 0)


def names(rows: list[Delivery]) -> list[str]:
    return [each.received.message_id for each in rows]


def test_first_come_first_served_as_far_as_there_are_handlers() -> None:
    gate = Gate(2, Line())
    gate.line.add([row("a"), row("b"), row("c"), row("d")])
    started = gate.start(0.0)
    assert names(started) == ["a", "b"]
    assert names(gate.start(0.0)) == []
    gate.ended(started[1])
    gate.ended(started[1])  # once only, whatever the lane says again
    assert names(gate.start(0.0)) == ["c"]
    gate.ended(row("stranger"))
    assert names(gate.start(0.0)) == []
    assert names(gate.line.clear()) == ["d"]
    assert gate.waiting == 0


def test_a_message_that_waits_for_its_token_only_starts_when_that_has_come() -> None:
    gate = Gate(10, Line(), TokenBucket(2, 1))
    gate.line.add([row("a"), row("b")])
    started = gate.start(1.0)
    assert names(started) == ["a"]
    assert gate.next_start(1.0) == pytest.approx(1.5)
    start_all(started, 1.0)
    assert names(gate.start(1.49)) == []
    assert names(gate.start(1.5)) == ["b"]
    assert gate.next_start(1.5) == math.inf


def start_all(rows: list[Delivery], now: float) -> None:
    """Start them, as a lane does whose loop turns."""
    for each in rows:
        each.started = now


def test_what_a_blocked_lane_has_not_started_counts_until_it_starts() -> None:
    """Rate 5, burst 2, a block of 4 s: 2 messages start when it ends, and the third comes 0.2 s later."""
    gate = Gate(20, Line(), TokenBucket(5, 2))
    gate.line.add([row(str(number)) for number in range(30)])
    handed_over = gate.start(100.0)
    assert len(handed_over) == 2
    now, looks = 100.0, 0
    while now < 104:
        now, looks = gate.next_start(now), looks + 1
        assert gate.start(now) == []
    assert looks <= 25
    assert gate.promised(now, 0.0, 0, 50) == 0  # so nothing more is received
    start_all(handed_over, 104.0)
    starts = [104.0, 104.0]
    while now < 110:
        rows = gate.start(now)
        start_all(rows, now)
        starts += [now for _ in rows]
        now = max(gate.next_start(now), now + 0.001)
    assert [round(start - 104, 2) for start in starts[:6]] == [0, 0, 0.2, 0.4, 0.6, 0.8]


@given(
    st.floats(0.1, 100),
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["look", "start one", "start all", "end", "call off"]))),
)
def test_no_window_has_more_starts_than_the_rate_allows_however_late_the_lane_starts_them(
    rate: float, burst: int, steps: list[tuple[float, str]]
) -> None:
    bucket = TokenBucket(rate, burst)
    gate, now = Gate(1000, Line(), bucket), 1000.0
    gate.line.add([row(str(number)) for number in range(1000)])
    given: list[Delivery] = []
    running: list[Delivery] = []
    starts: list[float] = []
    for pause, step in steps:
        now += pause / rate
        if step == "look":
            given += gate.start(now)
        elif step == "end" and running:
            gate.note_starts()
            gate.ended(running.pop(0))
        elif step == "call off" and given:
            gate.ended(given.pop())
        elif step.startswith("start"):
            many = 1 if step == "start one" else len(given)
            start_all(given[:many], now)
            starts += [now] * len(given[:many])
            running, given = running + given[:many], given[many:]
        assert len(given) <= burst
    for first, began in enumerate(starts):
        for last in range(first, len(starts)):
            assert last - first + 1 <= burst + rate * (starts[last] - began) + 1e-4
    for each in given + running:
        gate.note_starts()
        gate.ended(each)
    assert bucket.reserved == 0


def test_a_lane_that_collects_messages_is_given_them_at_the_rate() -> None:
    """A batch of three fills up although the burst is one."""
    gate = Gate(20, Line(), TokenBucket(5, 1), tells_starts=False)
    gate.line.add([row(name) for name in "abc"])
    assert [names(gate.start(now)) for now in (10.0, 10.2, 10.4)] == [["a"], ["b"], ["c"]]


def test_a_message_that_waits_for_a_handler_asks_for_no_timer() -> None:
    gate = Gate(1, Line(), TokenBucket(2, 1))
    gate.line.add([row("a"), row("b")])
    gate.start(0.0)
    assert gate.next_start(0.0) == math.inf


def test_groups_take_turns_and_messages_without_one_are_one_group() -> None:
    line = FairLine()
    line.add([*(row(f"a{at}", "a") for at in range(4)), row("b0", "b"), row("0"), row("1"), row("b1", "b")])
    assert line.groups == 3
    assert [line.pop().received.message_id for _ in range(8)] == ["a0", "b0", "0", "a1", "b1", "1", "a2", "a3"]


def test_a_group_that_comes_waits_for_one_turn_of_the_others_only() -> None:
    line = FairLine()
    line.add([row(f"a{at}", "a") for at in range(100)])
    assert line.pop().received.message_id == "a0"
    line.add([row("b0", "b")])
    assert [line.pop().received.message_id for _ in range(3)] == ["a1", "b0", "a2"]


def test_a_group_has_no_more_handlers_than_it_may() -> None:
    gate = Gate(10, FairLine(2))
    gate.line.add([row(f"a{at}", "a") for at in range(5)])
    gate.line.add([row("b0", "b")])
    started = gate.start(0.0)
    assert names(started) == ["a0", "b0", "a1"]
    assert gate.line.limited == gate.waiting == 3
    assert gate.next_start(0.0) == math.inf
    gate.ended(started[0])
    assert names(gate.start(0.0)) == ["a2"]
    assert gate.line.limited == 2


GROUPS = st.sampled_from("abcd")
STEPS = st.lists(st.one_of(GROUPS, st.integers(0, 20)), max_size=120)


@given(STEPS, st.one_of(st.none(), st.integers(1, 3)), st.integers(1, 6))
def test_nothing_that_may_start_waits_and_every_message_starts_once_in_the_order_of_its_group(
    steps: list[str | int], most: int | None, handlers: int
) -> None:
    gate = Gate(handlers, FairLine(most))
    came: dict[str, list[Delivery]] = {}
    ran: dict[str, list[Delivery]] = {}
    running: list[Delivery] = []

    def start() -> None:
        for each in gate.start(0.0):
            ran.setdefault(each.received.body, []).append(each)
            running.append(each)

    for step in steps:
        if isinstance(step, str):
            came.setdefault(step, []).append(row(step, step))
            gate.line.add([came[step][-1]])
        elif running:
            gate.ended(running.pop(step % len(running)))
        start()
        per_group = Counter(each.received.body for each in running)
        waiting = {group: len(rows) - len(ran.get(group, [])) for group, rows in came.items()}
        assert len(running) <= handlers
        assert most is None or all(count <= most for count in per_group.values())
        assert gate.waiting == sum(waiting.values())
        could = [group for group, count in waiting.items() if count and (most is None or per_group[group] < most)]
        assert len(running) == handlers or not could
        assert gate.line.limited == sum(n for g, n in waiting.items() if most is not None and per_group[g] >= most)
    while running:
        gate.ended(running.pop())
        start()
    assert ran == came
