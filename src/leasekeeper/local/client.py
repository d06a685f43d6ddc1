"""The in-process client: `leasekeeper.api.SqsApi` over a broker, without HTTP.

Owned by one consumer or test, on the event loop of the broker. It promises the same as the client over HTTP, with the
same errors and deadlines, in the time of the loop. Under a virtual clock, runs repeat from the seed.
"""

from __future__ import annotations

import asyncio
import base64
import math
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from leasekeeper.api import RECEIVE_GRACE, EntryFailure, Sent
from leasekeeper.errors import Closed, SqsError, Verdict
from leasekeeper.local.faults import NoAnswer
from leasekeeper.local.model import Refusal
from leasekeeper.message import Received
from leasekeeper.sqs.errors import verdict_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from leasekeeper.api import Outgoing
    from leasekeeper.local.model.fields import Answer

TIMEOUT = 10.0
"""Seconds after which a call other than a receive is given up."""


class Server(Protocol):
    """What performs calls: a broker, or something on the way to one."""

    def start(self, operation: str, request: dict[str, Any], /) -> Answer | Awaitable[Answer]:
        """Perform an operation of the API; the answer, at once or later."""
        ...


class LocalClient:
    """A client of a broker's queues.

    Args:
        broker: the owner of the queues.
        timeout: seconds after which a call other than a receive is given up as `ReadTimeout`.
    """

    def __init__(self, broker: Server, *, timeout: float = TIMEOUT) -> None:
        self.broker = broker
        self._timeout = timeout
        self._closed = False

    def __repr__(self) -> str:
        return f"<LocalClient of {self.broker!r}>"

    async def queue_url(self, name: str, *, account: str | None = None) -> str:
        """The URL of the queue with that name; `account` is the id of another account."""
        request = {"QueueName": name} if account is None else {"QueueName": name, "QueueOwnerAWSAccountId": account}
        url: str = (await self._call("GetQueueUrl", request, self._timeout))["QueueUrl"]
        return url

    async def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        """The attributes of a queue, with their values as text."""
        request = {"QueueUrl": queue_url, "AttributeNames": list(names)}
        attributes: dict[str, str] = (await self._call("GetQueueAttributes", request, self._timeout)).get(
            "Attributes", {}
        )
        return attributes

    async def receive(
        self,
        queue_url: str,
        *,
        maximum: int,
        wait: float,
        visibility: int,
        attribute_names: Sequence[str] = ("All",),
        attempt_id: str | None = None,
    ) -> list[Received]:
        """Receive 1 to 10 messages, waiting up to `wait` (0-20, rounded up to seconds) for the first.

        They are hidden for `visibility` seconds. The call is given up 5 seconds after the end of its wait.
        """
        seconds = math.ceil(wait)
        request: dict[str, Any] = {
            "QueueUrl": queue_url,
            "MaxNumberOfMessages": maximum,
            "WaitTimeSeconds": seconds,
            "VisibilityTimeout": visibility,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": list(attribute_names),
        }
        if attempt_id is not None:
            request["ReceiveRequestAttemptId"] = attempt_id
        answer = await self._call("ReceiveMessage", request, seconds + RECEIVE_GRACE)
        return msgspec.convert(answer.get("Messages", []), list[Received])

    async def delete_batch(self, queue_url: str, receipts: Sequence[str]) -> list[EntryFailure | None]:
        """Delete up to ten messages. The results are in the order of the receipts; None is a confirmed delete."""
        entries = [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate(receipts)]
        answer = await self._batch("DeleteMessageBatch", queue_url, entries)
        return _by_position(answer, len(entries))

    async def change_visibility_batch(
        self, queue_url: str, entries: Sequence[tuple[str, int]]
    ) -> list[EntryFailure | None]:
        """Change the visibility of up to ten messages (receipt, seconds from now). The results are in this order."""
        changes = [
            {"Id": str(at), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
            for at, (receipt, seconds) in enumerate(entries)
        ]
        answer = await self._batch("ChangeMessageVisibilityBatch", queue_url, changes)
        return _by_position(answer, len(changes))

    async def send_batch(self, queue_url: str, messages: Sequence[Outgoing]) -> list[Sent | EntryFailure]:
        """Send up to ten messages. The results are in the same order."""
        entries = [_entry(at, message) for at, message in enumerate(messages)]
        answer = await self._batch("SendMessageBatch", queue_url, entries)
        sent = {
            entry["Id"]: Sent(entry["MessageId"], entry.get("SequenceNumber", ""))
            for entry in answer.get("Successful", ())
        }
        failures = _by_position(answer, len(entries))
        return [failure or sent[str(at)] for at, failure in enumerate(failures)]

    async def close(self) -> None:
        """Refuse further calls. Calls in progress still end. May be called twice."""
        self._closed = True

    async def _batch(self, operation: str, queue_url: str, entries: list[dict[str, Any]]) -> Answer:
        return await self._call(operation, {"QueueUrl": queue_url, "Entries": entries}, self._timeout)

    async def _call(self, operation: str, request: dict[str, Any], deadline: float) -> Answer:
        if self._closed:
            raise Closed(f"{operation} was called on a client that is closed")
        # As on a network, no call returns in the turn of the loop that made it. So many calls in a row starve no task.
        await asyncio.sleep(0)
        try:
            answer = self.broker.start(operation, request)
            if isinstance(answer, dict):
                return answer
            async with asyncio.timeout(deadline):
                return await answer
        except Refusal as refusal:
            verdict = verdict_of(refusal.code, refusal.message, refusal.status)
            raise SqsError(verdict, refusal.code, refusal.message, operation=operation, status=refusal.status) from None
        except NoAnswer as fault:
            code, problem = ("Garbage", "is not JSON") if fault.garbage else ("ConnectionReset", "did not arrive")
            status = 200 if fault.garbage else 0
            raise SqsError(
                Verdict.UNAVAILABLE, code, f"the answer {problem}", operation=operation, status=status
            ) from None
        except TimeoutError:
            message = f"no answer in {deadline:g} s"
            raise SqsError(Verdict.UNAVAILABLE, "ReadTimeout", message, operation=operation) from None


def _by_position(answer: Answer, size: int) -> list[EntryFailure | None]:
    outcome: list[EntryFailure | None] = [None] * size
    for failed in answer.get("Failed", ()):
        code, message, sender_fault = failed["Code"], failed.get("Message", ""), failed["SenderFault"]
        verdict = verdict_of(code, message, 400 if sender_fault else 500)
        outcome[int(failed["Id"])] = EntryFailure(verdict, code, message, sender_fault)
    return outcome


def _entry(at: int, message: Outgoing) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": str(at), "MessageBody": message.body}
    if message.delay is not None:
        entry["DelaySeconds"] = message.delay
    if message.group_id is not None:
        entry["MessageGroupId"] = message.group_id
    if message.deduplication_id is not None:
        entry["MessageDeduplicationId"] = message.deduplication_id
    if message.attributes:
        entry["MessageAttributes"] = {
            name: {"DataType": attribute.data_type, "StringValue": attribute.string_value}
            if attribute.binary_value is None
            else {"DataType": attribute.data_type, "BinaryValue": base64.b64encode(attribute.binary_value).decode()}
            for name, attribute in message.attributes.items()
        }
    if message.system:
        entry["MessageSystemAttributes"] = {
            name: {"DataType": "String", "StringValue": value} for name, value in message.system.items()
        }
    return entry
