"""Collecting: complete batches by size, bytes, time and key; nothing twice, nothing left out, the order kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.core.batch_collector import BatchPolicy, Collector
from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.message import Received

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.core.batch_collector import Collected
    from leasekeeper.core.delivery import Delivery


def rows(*bodies: str) -> list[Delivery]:
    ledger = Ledger(LeasePolicy(visibility=30, extend_after=15))
    batch = [Received(message_id=f"m{n}", receipt=f"r{n}", body=body) for n, body in enumerate(bodies)]
    return ledger.receive(batch, requested_at=0.0, now=0.0)[0]


def collector(*, size: int = 100, wait: float = 2.0, most_bytes: int = 1_000) -> Collector:
    return Collector(BatchPolicy(size=size, wait=wait, most_bytes=most_bytes))


def bodies(collected: Collected) -> list[str]:
    return [row.received.body for row in collected.rows]


def test_a_batch_is_complete_with_its_last_message() -> None:
    found = collector(size=3)
    assert found.add(rows("a", "b"), 10.0) == []
    first, second = found.add(rows("c", "d", "e", "f", "g"), 10.5)
    assert (bodies(first), first.trigger, first.waited) == (["a", "b", "c"], "size", 0.5)
    assert (bodies(second), second.trigger, second.waited) == (["d", "e", "f"], "size", 0.0)
    assert len(found) == 1


def test_a_batch_is_complete_before_the_message_that_would_make_it_too_large() -> None:
    found = collector(most_bytes=10)
    assert found.add(rows("aaaa"), 0.0) == []
    [first] = found.add(rows("bbbb", "cccc"), 1.0)
    assert (bodies(first), first.trigger) == (["aaaa", "bbbb"], "bytes")


def test_a_message_above_the_bound_is_a_batch_alone() -> None:
    found = collector(most_bytes=10)
    complete = found.add(rows("a", "b" * 50, "c"), 0.0)
    assert [bodies(each) for each in complete] == [["a"], ["b" * 50]]
    assert len(found) == 1


def test_bytes_are_counted_not_characters() -> None:
    found = collector(most_bytes=10)
    [first] = found.add(rows("ü" * 4, "ü" * 4), 0.0)
    assert bodies(first) == ["ü" * 4]


def test_the_time_counts_from_the_oldest_message() -> None:
    """L13: what is added later does not put it off."""
    found = collector(wait=2.0)
    found.add(rows("a"), 10.0)
    found.add(rows("b"), 11.9)
    assert found.next_due() == 12.0
    assert found.take_due(11.99, 5) == []
    [batch] = found.take_due(12.0, 5)
    assert (bodies(batch), batch.trigger, batch.waited) == (["a", "b"], "wait", 2.0)
    assert found.next_due() == math.inf


def test_keys_are_collected_apart_and_those_that_wait_longest_go_first() -> None:
    found = collector(size=2)
    found.add(rows("a"), 10.0, "A")
    found.add(rows("b"), 9.0, "B")
    found.add(rows("c"), 11.0, "C")
    assert found.next_due() == 11.0
    assert [bodies(each) for each in found.take_due(20.0, 2)] == [["b"], ["a"]]
    [full] = found.add(rows("d"), 20.0, "C")
    assert bodies(full) == ["c", "d"]


def test_no_batch_is_taken_when_no_handler_is_free() -> None:
    found = collector()
    found.add(rows("a"), 0.0)
    assert found.take_due(100.0, 0) == []
    assert found.take_due(100.0, -3) == []
    assert len(found) == 1


def test_a_stop_takes_everything() -> None:
    found = collector()
    found.add(rows("a"), 0.0, "A")
    found.add(rows("b"), 1.0, "B")
    assert [(bodies(each), each.trigger) for each in found.take_all(1.0)] == [(["a"], "stop"), (["b"], "stop")]
    assert (len(found), found.take_all(2.0)) == (0, [])


def test_messages_that_belong_together_are_in_one_batch() -> None:
    found = collector(size=5, most_bytes=20)
    assert found.add_together(rows("a", "b", "c"), 0.0) == []
    [first] = found.add_together(rows("d", "e", "f"), 1.0)
    assert (bodies(first), first.trigger) == (["a", "b", "c"], "size")
    [second] = found.add_together(rows("g", "h"), 2.0)
    assert (bodies(second), second.waited) == (["d", "e", "f", "g", "h"], 1.0)
    assert found.add_together(rows("x" * 15), 3.0) == []
    [third] = found.add_together(rows("y" * 4, "z" * 4), 4.0)
    assert (bodies(third), third.trigger) == (["x" * 15], "bytes")
    assert len(found) == 2


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 12), st.sampled_from("ab")), max_size=12), max_size=12),
    st.integers(1, 8),
    st.integers(1, 30),
)
def test_each_message_is_in_one_batch_in_order_and_within_the_bounds(
    receives: Sequence[Sequence[tuple[int, str]]], size: int, most_bytes: int
) -> None:
    found = collector(size=size, most_bytes=most_bytes)
    complete: list[Collected] = []
    given_in: dict[str, list[str]] = {"a": [], "b": []}
    number = 0
    for now, receive in enumerate(receives):
        for key in "ab":
            new = [f"{key}{number + n}{'x' * length}" for n, (length, each) in enumerate(receive) if each == key]
            number += len(receive)
            given_in[key] += new
            complete += found.add(rows(*new), float(now), key)
    complete += found.take_all(99.0)
    for key, expected in given_in.items():
        assert [body for each in complete for body in bodies(each) if body[0] == key] == expected
    for each in complete:
        assert len({body[0] for body in bodies(each)}) == 1
        assert 1 <= len(each.rows) <= size
        assert len(each.rows) == 1 or sum(map(len, bodies(each))) <= most_bytes
