from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.local.model.content import read
from leasekeeper.local.model.stored import Stored
from leasekeeper.local.model.timers import Timers

CONTENT = read({"MessageBody": "x"})


def stored(number: int) -> Stored:
    return Stored(number, f"m{number}", CONTENT, {}, 0.0)


def test_messages_fire_in_the_order_of_their_times() -> None:
    timers = Timers()
    messages = [stored(at) for at in range(3)]
    for message, due in zip(messages, (3.0, 1.0, 2.0), strict=True):
        timers.arm(message, due)
    assert timers.next() == 1.0
    assert [message.number for message in timers.fire(2.5)] == [1, 2]
    assert [message.number for message in timers.fire(3.0)] == [0]
    assert timers.next() == inf


def test_extending_changes_nothing_until_the_old_time() -> None:
    timers = Timers()
    message = stored(1)
    timers.arm(message, 1.0)
    for due in (2.0, 5.0, 9.0):
        timers.arm(message, due)
    assert len(timers) == 1
    assert list(timers.fire(8.0)) == []
    assert timers.next() == 9.0
    assert list(timers.fire(9.0)) == [message]


def test_invalid_entries_are_removed() -> None:
    timers = Timers()
    for at in range(5_000):
        message = stored(at)
        timers.arm(message, 100.0 + at)
        timers.disarm(message)
    assert len(timers) <= 1_025


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(0, 4), st.integers(0, 20)),
        st.tuples(st.just("disarm"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("rest"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("pass"), st.just(0), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(ACTIONS)
def test_each_message_fires_when_it_is_due_and_only_then(actions: list[tuple[str, int, int]]) -> None:
    timers = Timers()
    messages = [stored(at) for at in range(5)]
    due: dict[int, float] = {}
    now = 0.0
    for action, which, number in actions:
        if action == "arm":
            due[which] = now + number
            timers.arm(messages[which], now + number)
        elif action == "pass":
            now += number
        else:
            due.pop(which, None)
            (timers.disarm if action == "disarm" else timers.rest)(messages[which])
        fired = {message.number for message in timers.fire(now)}
        assert fired == {at for at, when in due.items() if when <= now}
        due = {at: when for at, when in due.items() if when > now}
        assert timers.next() <= min(due.values(), default=inf)
