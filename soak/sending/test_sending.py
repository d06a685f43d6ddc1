"""A hundred thousand messages, and a process that ends with messages in its buffer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Sender
from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator

TERMINATED = """
import signal, sys, json
from leasekeeper import Sender, Unsent

sender = Sender("q", endpoint_url=sys.argv[1], region="eu-west-1", linger=60)
sender.start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
for number in range(500):
    sender.post(number)
print("buffered", flush=True)
signal.pause()
"""


@pytest.fixture
def sqs() -> Iterator[LocalSqs]:
    """A server in a process that counts what it has."""
    with LocalSqs(seed=1) as sqs:
        sqs.call("CreateQueue", QueueName="q")
        yield sqs


def bodies(sqs: LocalSqs) -> list[str]:
    return [each.content.body for each in sqs.broker.account.queues["q"].contents()]


def test_a_hundred_thousand_posts_are_ten_thousand_calls(sqs: LocalSqs) -> None:
    count = int(os.environ.get("LEASEKEEPER_POSTS", "20000"))
    with Sender("q", endpoint_url=sqs.endpoint_url, region="eu-west-1", linger=60) as sender:  # full batches go at once
        for number in range(count):
            sender.post(number)
        sender.flush().result()
        found = sender.statistics()
    assert found.sent == count
    assert found.calls <= count / 10 * 1.01, "0.1 calls a message"
    assert sorted(map(int, bodies(sqs))) == list(range(count))


@pytest.mark.parametrize("fault", [{}, {"throttle": 0.3, "reset": 0.1}])
def test_a_process_that_is_terminated_sends_what_it_has_accepted(sqs: LocalSqs, fault: dict[str, float]) -> None:
    sqs.faults.set("SendMessageBatch", **fault)
    command = [sys.executable, "-c", TERMINATED, sqs.endpoint_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "buffered\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert sorted(map(json.loads, bodies(sqs))) == list(range(500))


def test_a_full_buffer_blocks_and_bounds_memory(sqs: LocalSqs) -> None:
    """Posts from a thread wait for room: what is held never exceeds the buffer, in messages or bytes."""
    sqs.faults.set("SendMessageBatch", latency=0.02)
    messages = size = 0
    with Sender("q", endpoint_url=sqs.endpoint_url, region="eu-west-1", buffer=200, buffer_bytes=500_000) as sender:
        for number in range(3_000):
            sender.post(f"{number:05}" + "x" * 5_000)
            held = sender.statistics()
            messages, size = max(messages, held.held), max(size, held.held_bytes)
    assert 90 < messages <= 200
    assert 450_000 < size <= 500_000
    assert len(bodies(sqs)) == 3_000


@pytest.mark.parametrize("fault", ["fail_entries", "lose_by_reset"])
def test_a_fifo_queue_has_each_message_once_and_in_order_over_faults(sqs: LocalSqs, fault: str) -> None:
    """20 % of all entries fail, or the answers of 20 % of all calls are lost."""
    sqs.call("CreateQueue", QueueName="q.fifo", Attributes={"FifoQueue": "true"})
    sqs.faults.set("SendMessageBatch", **{fault: 0.2})
    with Sender("q.fifo", endpoint_url=sqs.endpoint_url, region="eu-west-1", strict_order=True, timeout=200) as sender:
        for number in range(30):
            for group in "abcdefghij":
                sender.post(f"{group}{number}", group=group)
        sender.flush().result()
        assert sender.statistics().retries > 0
    found = [each.content.body for each in sqs.broker.account.queues["q.fifo"].contents()]
    for group in "abcdefghij":
        assert [body for body in found if body[0] == group] == [f"{group}{number}" for number in range(30)]
