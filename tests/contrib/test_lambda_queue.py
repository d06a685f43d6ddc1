"""What a Lambda function does at SQS itself: back-offs and dead letters, against the local server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from leasekeeper import Consumer, Leasekeeper, Message, Reject, Retry, Sender
from leasekeeper.api import Credentials, Outgoing
from leasekeeper.contrib import lambda_
from leasekeeper.failure import Failure
from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.message import Received

pytestmark = pytest.mark.slow
KEYS = Credentials(access_key="test", secret_key="test")


class Service:
    """The local server, as Lambda's poller sees it."""

    def __init__(self, sqs: LocalSqs) -> None:
        self.sqs = sqs
        self.settings: dict[str, Any] = {"endpoint_url": sqs.endpoint_url, "region": "eu-west-1", "credentials": KEYS}

    async def create(self) -> None:
        async with await SqsClient.connect(ClientSettings(**self.settings)) as client:
            dead = await client.create_queue("dead")
            arn = (await client.queue_attributes(dead))["QueueArn"]
            policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
            await client.create_queue("orders", attributes={"RedrivePolicy": policy})

    async def event(self, *bodies: str) -> dict[str, Any]:
        """Send these, receive them, and make the event of it."""
        async with await SqsClient.connect(ClientSettings(**self.settings)) as client:
            url = await client.queue_url("orders")
            for body in bodies:
                await client.send(url, Outgoing(body=body))
            found: list[Received] = []
            while len(found) < len(bodies):
                found += await client.receive(url, maximum=10, wait=1, visibility=600)
        return {"Records": [record(each) for each in found]}

    async def receive(self, queue: str) -> list[Received]:
        async with await SqsClient.connect(ClientSettings(**self.settings)) as client:
            return await client.receive(await client.queue_url(queue), maximum=10, wait=0, visibility=0)


def record(message: Received) -> dict[str, Any]:
    return {
        "messageId": message.message_id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": message.system,
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:orders",
    }


@pytest.fixture
def service() -> Iterator[Service]:
    with LocalSqs() as sqs:
        found = Service(sqs)
        asyncio.run(found.create())
        yield found


async def handle(message: Message[str]) -> None:
    if message.body == "reject":
        raise Reject("no such customer")
    if message.body == "soon":
        raise Retry(after=0)
    if message.body == "later":
        raise Retry(after=60)


def test_a_rejected_message_is_copied_with_its_reason_and_a_retry_hides_it(service: Service) -> None:
    app = Leasekeeper(**service.settings)
    app.consumer("orders")(handle)
    handler = lambda_.handler(app)
    event = asyncio.run(service.event("good", "reject", "later"))
    ids = {each["body"]: each["messageId"] for each in event["Records"]}
    assert handler(event) == {"batchItemFailures": [{"itemIdentifier": ids["later"]}]}
    [copy] = asyncio.run(service.receive("dead"))
    failure = Failure.of(copy)
    assert failure is not None
    assert (copy.body, failure.reason, failure.message) == ("reject", "rejected", "no such customer")
    calls = service.sqs.calls
    assert (calls["ChangeMessageVisibilityBatch"], calls["DeleteMessageBatch"]) == (1, 0)
    handler.close()


def test_a_function_without_the_permissions_leaves_all_to_lambda(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.sqs.faults.set("SendMessageBatch", throttle=1.0)
    handler = lambda_.handler(Consumer("orders", handle, **service.settings))
    event = asyncio.run(service.event("reject", "reject"))
    assert len(handler(event)["batchItemFailures"]) == 2
    assert caplog.text.count("what is rejected is left to Lambda and the queue's redrive policy") == 1
    handler.close()


def test_what_a_handler_sends_is_there_when_the_function_returns(service: Service) -> None:
    async def forward(body: str, dead: Annotated[Sender, "dead"]) -> None:
        dead.post(f"from {body}")

    handler = lambda_.handler(Consumer("orders", forward, **service.settings))
    assert handler(asyncio.run(service.event("a"))) == {"batchItemFailures": []}
    assert [each.body for each in asyncio.run(service.receive("dead"))] == ["from a"]
    handler.close()


def test_a_queue_that_nothing_fails_of_is_never_called(service: Service) -> None:
    handler = lambda_.handler(Consumer("orders", handle, **service.settings))
    event = asyncio.run(service.event("good"))
    before = sum(service.sqs.calls.values())
    assert handler(event) == {"batchItemFailures": []}
    assert sum(service.sqs.calls.values()) == before
    handler.close()
