"""The consumer of a FIFO queue, and messages sent by boto3: the order of each group, and retries.

moto cannot show this, because it ignores attempt ids. A receive that a client gave up on a busy machine still takes
messages there, and so does a second one.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from typing import Any

import pytest

from leasekeeper import Consumer, Message

PATIENCE = 60.0
GROUPS = 6
EACH = 12

orderly = pytest.mark.only("leasekeeper", "ministack")


class Runs:
    """What handlers did: (what, body, receive count, attempt, sequence number), by group."""

    def __init__(self, expected: int) -> None:
        self.by_group = defaultdict[str, list[tuple[str, str, int, int, int | None]]](list)
        self.done = threading.Event()
        self._left = expected

    def note(self, what: str, message: Message[str]) -> None:
        entry = what, message.body, message.receive_count, message.attempt, message.sequence_number
        self.by_group[message.group_id or ""].append(entry)
        self._left -= what == "done"
        if not self._left:
            self.done.set()

    def bodies(self, group: str, what: str = "done") -> list[str]:
        return [body for each, body, *_ in self.by_group[group] if each == what]


def _put(queue: Any) -> dict[str, list[str]]:
    sent = {f"g{group}": [f"{group}.{number}" for number in range(EACH)] for group in range(GROUPS)}
    for number in range(EACH):
        entries = [
            {"Id": group, "MessageBody": bodies[number], "MessageGroupId": group} for group, bodies in sent.items()
        ]
        queue.ask("send_message_batch", Entries=entries)
    return sent


@orderly
@pytest.mark.parametrize("ack", ["batched", "confirmed"])
def test_each_group_is_handled_in_order_and_a_failed_message_is_repeated_before_the_next(fifo: Any, ack: str) -> None:
    """L25, L26, L28: the heads of three groups fail once; their followers wait, and keep receive count 1."""
    sent = _put(fifo)
    runs = Runs(GROUPS * EACH)

    async def handle(message: Message[str]) -> None:
        if message.body in {"0.0", "1.3", "2.11"} and message.attempt == 1:
            runs.note("fail", message)
            raise RuntimeError("once")
        runs.note("done", message)

    options: dict[str, Any] = {"fifo_ack": ack, "retry_base": 0.2, "concurrency": 4, "poll_grace": 0.1}
    consumer = Consumer(fifo.url, handle, wait_time=1, **options)
    consumer.start()
    assert runs.done.wait(PATIENCE), f"{dict(runs.by_group)}: {consumer}"
    report = consumer.stop().result()
    assert {group: runs.bodies(group) for group in sent} == sent
    assert [runs.bodies(f"g{group}", "fail") for group in range(3)] == [["0.0"], ["1.3"], ["2.11"]]
    noted = [entry for entries in runs.by_group.values() for entry in entries]
    assert {count for _, _, count, _, _ in noted} == {1}
    assert {attempt for what, body, _, attempt, _ in noted if body == "1.3" and what == "done"} == {2}
    for entries in runs.by_group.values():
        numbers = [sequence for what, *_, sequence in entries if what == "done" and sequence is not None]
        assert len(numbers) == EACH
        assert numbers == sorted(numbers)
    assert (report.acked, report.lost, report.unsettled) == (GROUPS * EACH, 0, 0)
    assert fifo.counts() == (0, 0, 0)


@orderly
def test_a_head_that_always_fails_is_the_only_dead_letter(sqs: Any) -> None:
    """L26: it is dead-lettered after its attempts, and the others of its group run afterwards, at receive 1."""
    dead = sqs.queue(fifo=True)
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 3})
    fifo = sqs.queue(fifo=True, RedrivePolicy=policy)
    for number in range(5):
        fifo.send(str(number), group="g")
    runs = Runs(4)

    async def handle(message: Message[str]) -> None:
        runs.note("fail" if message.body == "0" else "done", message)
        if message.body == "0":
            raise RuntimeError("always")

    consumer = Consumer(fifo.url, handle, wait_time=1, retry_base=0.2, retry_maximum=0.2, poll_grace=0.1, max_pollers=1)
    consumer.start()
    assert runs.done.wait(PATIENCE), f"{dict(runs.by_group)}: {consumer}"
    consumer.stop().result()
    assert [entry[:3] for entry in runs.by_group["g"]] == [
        *(("fail", "0", 1),) * 3,
        *(("done", str(number), 1) for number in range(1, 5)),
    ]
    assert dead.bodies(wait=3) == ["0"]
    assert fifo.counts() == (0, 0, 0)
