"""What a keeper does after the death of its consumer's process, at servers that are not ours: over its own client."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.core.delivery import Lease
from leasekeeper.keeper.entries import Entries, KeptDelivery
from leasekeeper.keeper.layout import FINISHED, RUNNING, WAITING, Credentials, Settings
from leasekeeper.keeper.table import Table
from leasekeeper.keeper.threads import Threads
from leasekeeper.keeper.watched_process import WatchedProcess
from leasekeeper.message import Received

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def settle(sqs: Any) -> Iterator[Callable[..., str]]:
    """Settles messages with a state each, or repeats a receive, as after a death; returns what the keeper says."""
    tables: list[Table] = []

    def run(queue: Any, held: list[tuple[dict[str, Any], int]], attempt_id: str | None = None) -> str:
        settings = Settings(sqs.endpoint_url, "us-east-1", queue.url, queue.name, back_offs=[3.0])
        table = Table.make(100, settings, keep_for=60)
        tables.append(table)
        table.write_credentials(Credentials("test", "test", None))
        entries, now = Entries(table), time.monotonic()
        for message, state in held:
            received = Received(message_id=message["MessageId"], receipt=message["ReceiptHandle"])
            row = KeptDelivery(received, Lease(600, now, now + 300, now + 599), now, now)
            entries.enter([row], [received], state)
        if attempt_id is not None:
            table.write_receive(0, now, 600, 10, attempt_id)
        said: list[str] = []
        watched = WatchedProcess(0, threads, threads, say=said.append)
        watched.add(os.dup(table.descriptor))
        watched.settle()
        watched.close()
        return "".join(said)

    threads = Threads()
    threads.start()
    yield run
    threads.close()
    for table in tables:
        table.close()


def test_finished_messages_are_deleted_waiting_ones_visible_and_running_ones_later(
    sqs: Any, settle: Callable[..., str]
) -> None:
    queue = sqs.queue(VisibilityTimeout="600")
    for number in range(6):
        queue.send(str(number))
    messages: list[dict[str, Any]] = []
    while len(messages) < 6:
        messages += queue.receive(wait=1)
    states = dict(zip("012345", (FINISHED, FINISHED, WAITING, WAITING, RUNNING, RUNNING), strict=True))
    began = time.monotonic()
    said = settle(queue, [(message, states[message["Body"]]) for message in messages])
    assert said.startswith("the process ended and held 6 messages: 2 deleted and 4 given back in ")
    visible: dict[str, float] = {}
    while len(visible) < 4:
        bodies = queue.bodies(wait=2)
        visible |= dict.fromkeys(bodies, time.monotonic() - began)
    assert sorted(visible) == ["2", "3", "4", "5"]
    assert max(visible["2"], visible["3"]) <= min(visible["4"], visible["5"])
    assert min(visible["4"], visible["5"]) > 2.5
    assert queue.counts() == (0, 4, 0)


@pytest.mark.differs("moto", "ministack", because="attempt ids are ignored")
def test_a_receive_of_a_fifo_queue_that_was_never_read_is_given_back(sqs: Any, settle: Callable[..., str]) -> None:
    queue = sqs.queue(fifo=True, VisibilityTimeout="600")
    for number in range(3):
        queue.send(str(number), group="g")
    assert len(queue.receive(ReceiveRequestAttemptId="never-read")) == 3
    assert queue.bodies() == []
    settle(queue, [], "never-read")
    assert queue.bodies(wait=1) == ["0", "1", "2"]
