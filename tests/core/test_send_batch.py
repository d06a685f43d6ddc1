"""Which messages are sent together, and in which order."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.core.batch import Why
from leasekeeper.core.send_batch import GroupedSendBatch, SendBatch


@dataclass(eq=False)
class Item:
    number: int
    size: int = 10
    group: str = ""

    def __repr__(self) -> str:
        return f"{self.group}{self.number}"


def standard(*, most_bytes: int = 1000) -> SendBatch[Item]:
    return SendBatch(size=10, most_bytes=most_bytes, linger=1.0)


def grouped(*, singly: bool = False, size: int = 10) -> GroupedSendBatch[Item]:
    return GroupedSendBatch(size=size, most_bytes=1000, linger=1.0, singly=singly)


def shown(taken: tuple[list[Item], Why] | None) -> str:
    return "" if taken is None else " ".join(map(repr, taken[0]))


def items(*names: str) -> list[Item]:
    return [Item(int(name[1:]), group=name[0]) for name in names]


def test_ten_messages_go_at_once() -> None:
    batch = standard()
    assert not batch.add([Item(number) for number in range(9)], 0.0)
    assert batch.due() == 1.0
    assert batch.add([Item(9)], 0.5)
    taken = batch.take(0.5)
    assert taken is not None
    assert len(taken[0]) == 10
    assert taken[1] is Why.SIZE
    assert batch.due() == math.inf
    assert not len(batch)


def test_a_megabyte_goes_at_once_and_never_more() -> None:
    batch = standard(most_bytes=100)
    assert not batch.add([Item(1, 60)], 0.0)
    assert batch.add([Item(2, 60)], 0.0)
    assert shown(batch.take(0.0)) == "1"
    assert batch.due() == 1.0, "the second one waits for others"
    assert batch.take(0.9) is None
    assert shown(batch.take(1.0)) == "2"


def test_one_message_that_fills_a_call_goes_alone() -> None:
    batch = standard(most_bytes=100)
    batch.add([Item(1, 100), Item(2, 1)], 0.0)
    assert shown(batch.take(0.0)) == "1"


def test_what_failed_goes_again_when_it_is_ready_and_first() -> None:
    batch = standard()
    one, two = Item(1), Item(2)
    batch.put_back(one, ready=2.0)
    batch.add([two], 1.5)
    assert batch.due() == 2.0
    assert shown(batch.take(2.0)) == "1 2"


def test_a_flush_takes_everything() -> None:
    batch = standard()
    batch.put_back(Item(1), ready=50.0)
    batch.add([Item(2)], 0.0)
    taken = batch.take(0.0, flush=True)
    assert shown(taken) == "1 2"
    assert taken is not None
    assert taken[1] is Why.FLUSH


def test_a_group_has_one_call_out_at_a_time() -> None:
    batch = grouped(size=2)
    batch.add(items("a1", "a2", "a3", "b4"), 0.0)
    first = batch.take(0.0)
    assert shown(first) == "a1 a2"
    assert first is not None
    assert shown(batch.take(1.0)) == "b4"
    assert batch.take(1.0, flush=True) is None, "a3 waits for the answer"
    batch.answered(first[0])
    assert shown(batch.take(1.0)) == "a3"


def test_nothing_of_a_group_overtakes_what_failed() -> None:
    batch = grouped()
    batch.add(items("a1", "a2", "b3"), 0.0)
    taken = batch.take(1.0)
    assert taken is not None
    assert shown(taken) == "a1 a2 b3"
    one, two, three = taken[0]
    batch.add(items("a4"), 1.1)
    batch.put_back(two, ready=5.0)
    batch.put_back(one, ready=4.0)
    batch.answered([one, two, three])
    assert batch.put_back_count == 1
    assert batch.due() == 5.0
    assert batch.take(4.9) is None
    assert shown(batch.take(5.0)) == "a1 a2 a4"


def test_in_strict_order_a_call_has_one_message_of_a_group() -> None:
    batch = grouped(singly=True)
    batch.add(items("a1", "a2", "b3"), 0.0)
    taken = batch.take(1.0)
    assert shown(taken) == "a1 b3"
    assert taken is not None
    batch.answered(taken[0])
    assert shown(batch.take(1.0)) == "a2"


def test_many_groups_fill_a_call() -> None:
    batch = grouped(singly=True)
    assert not batch.add(items(*(f"{letter}1" for letter in "abcdefghi")), 0.0)
    assert batch.add(items("j1"), 0.0)
    assert batch.due() == -math.inf


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1, 400, 1000])), max_size=60),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_whatever_fails_each_group_keeps_its_order_and_nothing_is_lost(
    given: list[tuple[str, int]], random: object, singly: bool
) -> None:
    batch = grouped(singly=singly)
    draw = random.random  # type: ignore[attr-defined]
    now, sent, out = 0.0, list[Item](), list[list[Item]]()
    waiting = [Item(number, size, group) for number, (group, size) in enumerate(given)]
    total = len(waiting)
    for _ in range(100_000):
        if len(sent) == total:
            break
        if waiting and draw() < 0.5:
            count = 1 + int(draw() * 5)
            batch.add(waiting[:count], now)
            waiting = waiting[count:]
        taken = batch.take(now)
        if taken is not None:
            assert len(taken[0]) <= 10
            assert sum(item.size for item in taken[0]) <= 1000
            groups = [item.group for item in taken[0]]
            assert not singly or len(set(groups)) == len(groups)
            assert not {item.group for call in out for item in call} & set(groups)
            out.append(taken[0])
        if out and draw() < 0.5:
            call = out.pop(int(draw() * len(out)))
            failed_from = int(draw() * (len(call) + 1)) if draw() < 0.3 else len(call)
            for item in call[failed_from:]:
                batch.put_back(item, ready=now + draw())
            sent += call[:failed_from]
            batch.answered(call)
        now += draw()
    assert len(sent) == total
    assert not len(batch)
    for group in "abc":
        numbers = [item.number for item in sent if item.group == group]
        assert numbers == sorted(numbers)
