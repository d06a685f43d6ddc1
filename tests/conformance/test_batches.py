"""Batch handlers with each server: larger than a receive, each message with its own outcome, whatever the lane."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Batch, Consumer

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 60
PATIENCE = 60.0


def put(queue: Any, count: int) -> None:
    for start in range(0, count, 10):
        entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(start, min(count, start + 10))]
        queue.ask("send_message_batch", Entries=entries)


def left(queue: Any) -> int:
    """How many messages the queue has, visible or in flight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = queue.ask("get_queue_attributes", AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def consume(queue: Any, handler: Callable[..., Any], done: threading.Event, **options: Any) -> Any:
    """Run a consumer until it is done, then stop it. Returns its report."""
    consumer = Consumer(queue.url, handler, poll_grace=0.1, ack_interval=0.1, **options)
    consumer.start()
    try:
        assert done.wait(PATIENCE), repr(consumer)
    finally:
        report = consumer.stop().result()
    return report


@pytest.mark.parametrize("kind", ["async def", "def", "pool"])
def test_batches_larger_than_a_receive_are_handled_once_and_deleted(queue: Any, kind: str) -> None:
    seen: list[int] = []
    sizes: list[int] = []
    done = threading.Event()
    put(queue, COUNT)

    def blocking(bodies: list[int]) -> None:
        sizes.append(len(bodies))
        seen.extend(bodies)
        if len(seen) >= COUNT:
            done.set()

    async def coroutine(batch: Batch[int]) -> None:
        assert all(message.receive_count == 1 for message in batch)
        blocking(batch.bodies)

    options: dict[str, Any] = {"dispatch": "pool"} if kind == "pool" else {}
    handler = blocking if kind == "def" else coroutine
    report = consume(queue, handler, done, batch=30, batch_wait=60, concurrency=2, **options)
    assert sizes == [30, 30]
    assert Counter(seen) == Counter(range(COUNT))
    assert (report.handled, report.acked, report.lost, report.unsettled) == (COUNT, COUNT, 0, 0)
    assert left(queue) == 0


@pytest.mark.always
def test_each_message_of_a_batch_has_its_own_outcome(queue: Any) -> None:
    """Of twenty, one is named, one breaks the batch until it is alone, and the others are deleted."""
    calls: list[list[int]] = []
    done = threading.Event()
    put(queue, 20)

    def load(batch: Batch[int]) -> None:
        calls.append(sorted(batch.bodies))
        for message in batch:
            if message.body == 7:
                batch.retry(message, after=600)
        if len(calls) > 1 and calls[-1][-1] == max(calls[0]):
            done.set()
        if 13 in batch.bodies:
            raise ValueError("all or nothing")

    report = consume(queue, load, done, batch=20, batch_wait=10, concurrency=1, on_batch_error="singly", retry_base=600)
    assert calls[0] == list(range(20))
    assert sorted(calls[1:]) == [[number] for number in range(20) if number != 7]
    assert (report.acked, report.retried, report.failed) == (18, 1, 1)
    assert left(queue) == 2


def test_leases_are_kept_while_messages_are_collected_and_while_they_are_at_work(queue: Any) -> None:
    """L3: a window and a handler that both take longer than the visibility timeout of two seconds."""
    done, end = threading.Event(), threading.Event()
    put(queue, 20)

    def load(bodies: list[int]) -> None:
        end.wait(3)
        done.set()

    report = consume(queue, load, done, batch=100, batch_wait=3, concurrency=1, visibility_timeout=2)
    assert (report.received, report.handled, report.acked, report.lost) == (20, 20, 20, 0)
    assert left(queue) == 0
