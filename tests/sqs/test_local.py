"""The client's calls against the local server: what one sends the other understands."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.api import EntryFailure, Outgoing, Sent
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.local import LocalSqs
from leasekeeper.message import MessageAttribute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from leasekeeper.sqs.client import SqsClient


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSqs]:
    with LocalSqs() as server:
        yield server


@pytest.fixture
def play(kit: Any, local: LocalSqs, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Runs a story with a client and a fresh queue of the test's own."""

    def run(story: Callable[[SqsClient, str], Awaitable[None]], *, fifo: bool = False, **attributes: str) -> None:
        async def whole() -> None:
            async with await kit.connect(local.endpoint_url) as client:
                name = re.sub(r"\W", "-", request.node.name) + (".fifo" if fifo else "")
                if fifo:
                    attributes["FifoQueue"] = "true"
                queue = await client.create_queue(name, attributes=attributes)
                assert await client.queue_url(name) == queue
                await story(client, queue)
                await client.delete_queue(queue)

        asyncio.run(whole())

    return run


def test_a_message_goes_out_and_comes_back_whole(play: Any) -> None:
    attributes = {
        "kind": MessageAttribute(data_type="String", string_value="\u00fcber"),
        "count": MessageAttribute(data_type="Number", string_value="42"),
        "raw": MessageAttribute(data_type="Binary", binary_value=bytes(range(256))),
    }

    async def story(client: SqsClient, queue: str) -> None:
        sent = await client.send(
            queue, Outgoing(body='{"\u00fc": "\U0001f30a"}', attributes=attributes, system={"AWSTraceHeader": "Root=1"})
        )
        (got,) = await client.receive(queue, maximum=10, wait=0, visibility=30)
        assert got.message_id == sent.message_id
        assert got.body == '{"\u00fc": "\U0001f30a"}'
        assert got.attributes == attributes
        assert got.system["ApproximateReceiveCount"] == "1"
        assert got.system["AWSTraceHeader"] == "Root=1"
        await client.delete(queue, got.receipt)
        assert await client.receive(queue, maximum=10, wait=0, visibility=30) == []

    play(story)


def test_batches_settle_by_position(play: Any) -> None:
    async def story(client: SqsClient, queue: str) -> None:
        outcome = await client.send_batch(queue, [Outgoing(body=str(n)) for n in range(10)])
        assert all(isinstance(sent, Sent) for sent in outcome)
        got = await client.receive(queue, maximum=10, wait=0, visibility=30)
        assert sorted(message.body for message in got) == [str(n) for n in range(10)]
        receipts = [message.receipt for message in got]
        assert await client.change_visibility_batch(queue, [(receipts[0], 0), (receipts[1], 60)]) == [None, None]
        (again,) = await client.receive(queue, maximum=10, wait=0, visibility=30)
        assert again.message_id == got[0].message_id
        failures = await client.delete_batch(queue, [again.receipt, "no such receipt", *receipts[2:]])
        assert isinstance(failures[1], EntryFailure)
        assert failures[1].verdict is Verdict.LEASE_LOST
        assert [failure for position, failure in enumerate(failures) if position != 1] == [None] * 9

    play(story)


def test_a_fifo_queue_keeps_groups_and_numbers(play: Any) -> None:
    async def story(client: SqsClient, queue: str) -> None:
        sent = await client.send_batch(
            queue, [Outgoing(body=str(n), group_id="g", deduplication_id=str(n)) for n in range(3)]
        )
        numbers = [entry.sequence_number for entry in sent if isinstance(entry, Sent)]
        assert numbers == sorted(numbers)
        assert all(numbers)
        got = await client.receive(queue, maximum=10, wait=0, visibility=30, attempt_id="one")
        assert [(message.body, message.system["MessageGroupId"]) for message in got] == [
            ("0", "g"),
            ("1", "g"),
            ("2", "g"),
        ]

    play(story, fifo=True)


def test_a_queue_is_administered(play: Any) -> None:
    async def story(client: SqsClient, queue: str) -> None:
        await client.set_queue_attributes(queue, {"VisibilityTimeout": "7"})
        assert (await client.queue_attributes(queue))["VisibilityTimeout"] == "7"
        assert await client.queue_attributes(queue, ["VisibilityTimeout"]) == {"VisibilityTimeout": "7"}
        assert queue in await client.list_queues(queue.rpartition("/")[2])
        await client.send(queue, Outgoing(body="x"))
        await client.purge_queue(queue)
        assert await client.receive(queue, maximum=1, wait=0, visibility=30) == []
        assert await client.list_dead_letter_sources(queue) == []

    play(story)


def test_a_missing_queue_and_a_bad_receipt_are_told_apart(play: Any) -> None:
    async def story(client: SqsClient, queue: str) -> None:
        for call, verdict in (
            (client.queue_url("nowhere"), Verdict.MISSING),
            (client.delete(queue + "x", "r"), Verdict.MISSING),
            (client.delete(queue, "garbage"), Verdict.LEASE_LOST),
            (client.receive(queue, maximum=11, wait=0, visibility=30), Verdict.REFUSED),
        ):
            with pytest.raises(SqsError) as failed:
                await call
            assert failed.value.verdict is verdict

    play(story)


def test_dead_letters_are_moved_back(play: Any) -> None:
    async def story(client: SqsClient, queue: str) -> None:
        arn = (await client.queue_attributes(queue, ["QueueArn"]))["QueueArn"]
        policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}'
        source = await client.create_queue(queue.rpartition("/")[2] + "-src", attributes={"RedrivePolicy": policy})
        try:
            assert await client.list_dead_letter_sources(queue) == [source]
            await client.send(source, Outgoing(body="poison"))
            await client.receive(source, maximum=1, wait=0, visibility=0)
            assert await client.receive(source, maximum=1, wait=0, visibility=0) == []
            handle = await client.start_message_move_task(arn, per_second=500)
            assert handle
            (task,) = await client.list_message_move_tasks(arn)
            assert (task.source_arn, task.status in {"RUNNING", "COMPLETED"}) == (arn, True)
        finally:
            await client.delete_queue(source)

    play(story)
