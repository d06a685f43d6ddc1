"""`peek` and `redrive` with each server: what they rely on, and what they do."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.cli.causes import Causes, DeadLetter
from leasekeeper.cli.holding import Holding
from leasekeeper.cli.peek import look
from leasekeeper.cli.redrive.copying import Copying, CopyPlan, Destination
from leasekeeper.cli.redrive.filters import Filters
from leasekeeper.failure import FAILURE, REDRIVEN, Failure
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ONE_AT_A_TIME = 30
"""A rate at which one receive is made at a time: an answer that comes late on a busy machine takes no messages from the
next receive."""


def put(queue: Any, count: int, error: str, **request: str) -> list[str]:
    """Send dead letters as a consumer sends them; the bodies."""
    bodies = [f"{error}-{number:02}" for number in range(count)]
    for number, body in enumerate(bodies):
        failure = Failure(reason="exhausted", error=error, message=f"in {number} s", queue="orders").attribute()
        attributes = {
            FAILURE: {"DataType": "String", "StringValue": failure.value},
            "n": {"DataType": "Number", "StringValue": str(number)},
        }
        more = {name: value.format(number) for name, value in request.items()}
        queue.send(body, MessageAttributes=attributes, **more)
    return bodies


class To:
    """All go to one queue."""

    def __init__(self, queue: Any) -> None:
        self._target = Destination(queue.name, queue.url)

    async def target_of(self, _letter: DeadLetter) -> Destination | None:
        return self._target


def with_client(queue: Any, use: Callable[[SqsClient], Awaitable[None]]) -> None:
    async def run() -> None:
        settings = ClientSettings(endpoint_url=queue.sqs.endpoint_url, region="us-east-1")
        async with await SqsClient.connect(settings) as client:
            await use(client)

    asyncio.run(run())


def redrive(dead: Any, to: Any, where: Sequence[str] = (), **plan: Any) -> Copying:
    runs: list[Copying] = []

    async def use(client: SqsClient) -> None:
        filters = Filters.read(where, None, None)
        runs.append(Copying(client, dead.url, To(to), CopyPlan(filters=filters, rate=ONE_AT_A_TIME, **plan)))
        await runs[0].run()

    with_client(dead, use)
    return runs[0]


def taken(queue: Any) -> list[dict[str, Any]]:
    """Receive and delete all messages of a queue."""
    found: list[dict[str, Any]] = []
    while more := queue.receive():
        found += more
        for message in more:
            queue.delete(message)
    return found


def test_chosen_dead_letters_are_sent_back_and_the_others_stay(sqs: Any) -> None:
    dead, orders = sqs.queue(), sqs.queue()
    put(dead, 15, "KeyError")
    chosen = put(dead, 15, "TimeoutError")
    copying = redrive(dead, orders, ["error=TimeoutError"])
    assert copying.moved.total() == 15
    assert (copying.refused, copying.not_deleted, copying.failure) == ({}, 0, None)
    arrived = taken(orders)
    assert Counter(message["Body"] for message in arrived) == Counter(chosen)
    for message in arrived:
        assert message["MessageAttributes"] == {
            "n": {"DataType": "Number", "StringValue": str(int(message["Body"][-2:]))},
            REDRIVEN: {"DataType": "Number", "StringValue": "1"},
        }
    assert dead.counts() == (15, 0, 0)


def test_fifo_dead_letters_with_ids_that_were_just_used_arrive_in_order(sqs: Any) -> None:
    dead, orders = sqs.queue(fifo=True), sqs.queue(fifo=True)
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "m{}"}
    bodies = put(orders, 25, "TimeoutError", **ids)
    assert [message["Body"] for message in taken(orders)] == bodies
    put(dead, 25, "TimeoutError", **ids)
    copying = redrive(dead, orders)
    assert (copying.moved.total(), copying.failure) == (25, None)
    assert [message["Body"] for message in taken(orders)] == bodies
    assert dead.counts() == (0, 0, 0)


def test_a_second_redrive_of_a_fifo_dead_letter_that_was_not_deleted_arrives_once(sqs: Any) -> None:
    """As after a kill between the copy and the delete, or a delete that was refused."""
    dead, orders = sqs.queue(fifo=True), sqs.queue(fifo=True)
    bodies = put(dead, 5, "TimeoutError", MessageGroupId="g", MessageDeduplicationId="m{}")

    async def use(client: SqsClient) -> None:
        class NoDeletes(SqsClient):
            async def delete_batch(self, queue_url: str, receipts: Sequence[str]) -> list[Any]:
                return await client.delete_batch(queue_url, ["nothing"] * len(receipts))

        unable = NoDeletes(client._wire, client.endpoint)
        copying = Copying(unable, dead.url, To(orders), CopyPlan(rate=ONE_AT_A_TIME))
        await copying.run()
        assert (copying.moved.total(), copying.not_deleted) == (5, 5)

    with_client(dead, use)
    assert redrive(dead, orders).moved.total() == 5
    assert [message["Body"] for message in taken(orders)] == bodies


@pytest.mark.always
def test_a_look_at_the_causes_gives_back_every_message(sqs: Any) -> None:
    dead = sqs.queue()
    put(dead, 12, "KeyError")
    put(dead, 25, "TimeoutError")
    causes = Causes()

    async def use(client: SqsClient) -> None:
        holding = Holding(client, dead.url, 20)
        # One receive at a time, as above.
        await look(holding, 1_000, causes.add, waiting=1)
        assert (holding.seen, await holding.give_back()) == (37, 37)

    with_client(dead, use)
    assert [(cause.count, cause.title) for cause in causes.sorted()] == [
        (25, "TimeoutError: in * s"),
        (12, "KeyError: in * s"),
    ]
    assert dead.counts() == (37, 0, 0)


@pytest.mark.differs("moto", because="move tasks answer 500")
@pytest.mark.differs("ministack", because="move tasks are not known")
def test_a_move_task_stops_half_way_at_a_message_that_sqs_did_not_move_there(sqs: Any) -> None:
    dead = sqs.queue()
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    source = sqs.queue(RedrivePolicy=policy, VisibilityTimeout="0")
    source.send("by SQS")
    source.one()
    source.receive()
    dead.send("a copy")
    dead.send("behind it")
    sqs.client.start_message_move_task(SourceArn=dead.arn)
    (task,) = sqs.client.list_message_move_tasks(SourceArn=dead.arn)["Results"]
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert task["ApproximateNumberOfMessagesMoved"] == 1
    assert source.bodies() == ["by SQS"]
    assert dead.counts() == (2, 0, 0)
    sqs.client.start_message_move_task(SourceArn=dead.arn, DestinationArn=source.arn)
    (task, _) = sqs.client.list_message_move_tasks(SourceArn=dead.arn, MaxResults=2)["Results"]
    assert task["Status"] == "RUNNING" or task["ApproximateNumberOfMessagesMoved"] == 2
