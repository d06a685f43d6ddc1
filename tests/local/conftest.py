"""What the tests of the local SQS share: an account, a clock that tests set, and short ways to call them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.local.model import Account, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH = 1_700_000_000.0


class AccountCalls:
    """Short calls to an account, with a clock that tests set."""

    def __init__(self, **options: Any) -> None:
        self.account = Account(Random(1), epoch=EPOCH, **options)
        self.now = 0.0

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.account.call(operation, request, self.now)

    def refused(self, operation: str, **request: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.ask(operation, **request)
        return caught.value

    def queue(self, name: str = "q", **attributes: str) -> QueueCalls:
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        return QueueCalls(self, name, self.ask("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"])


class QueueCalls:
    """Short calls to one queue of the account."""

    def __init__(self, desk: AccountCalls, name: str, url: str) -> None:
        self.desk = desk
        self.name = name
        self.url = url
        self.arn = desk.account.arn(name)

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.desk.ask(operation, QueueUrl=self.url, **request)

    def refused(self, operation: str, **request: Any) -> Refusal:
        return self.desk.refused(operation, QueueUrl=self.url, **request)

    def send(self, body: str, group: str | None = None, **request: Any) -> dict[str, Any]:
        if group is not None:
            request["MessageGroupId"] = group
        return self.ask("SendMessage", MessageBody=body, **request)

    def receive(self, most: int = 10, **request: Any) -> list[dict[str, Any]]:
        request = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"], **request}
        messages: list[dict[str, Any]] = self.ask("ReceiveMessage", MaxNumberOfMessages=most, **request).get(
            "Messages", []
        )
        return messages

    def bodies(self, most: int = 10, **request: Any) -> list[str]:
        return [message["Body"] for message in self.receive(most, **request)]

    def delete(self, message: dict[str, Any]) -> None:
        self.ask("DeleteMessage", ReceiptHandle=message["ReceiptHandle"])

    def hide(self, message: dict[str, Any], seconds: int) -> None:
        self.ask("ChangeMessageVisibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds)

    def counts(self) -> tuple[int, int, int]:
        """The numbers of messages that are visible, in flight and delayed, from the attributes of the queue."""
        shown = self.ask("GetQueueAttributes", AttributeNames=["All"])["Attributes"]
        names = ("", "NotVisible", "Delayed")
        visible, in_flight, delayed = (int(shown[f"ApproximateNumberOfMessages{name}"]) for name in names)
        return visible, in_flight, delayed


@pytest.fixture
def desk() -> AccountCalls:
    return AccountCalls()


@pytest.fixture
def new_desk() -> Callable[..., AccountCalls]:
    return AccountCalls


@pytest.fixture
def queue(desk: AccountCalls) -> QueueCalls:
    return desk.queue()


@pytest.fixture
def fifo(desk: AccountCalls) -> QueueCalls:
    return desk.queue("q.fifo", ContentBasedDeduplication="true")
