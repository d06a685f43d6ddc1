"""The client of SQS over HTTP: `leasekeeper.api.SqsApi` and the calls of administration.

Owned by one consumer or command, used on one event loop. It promises typed answers, verified messages, batches answered
by position, and no retries but those that a call's docstring names: the engine decides what to do about an error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from leasekeeper.api import RECEIVE_GRACE
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs import codec
from leasekeeper.sqs.connecting import connect
from leasekeeper.sqs.digests import intact
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.sqs.wire import read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.api import Credentials, EntryFailure, Outgoing, Sent
    from leasekeeper.message import Received
    from leasekeeper.sqs.endpoint import Endpoint
    from leasekeeper.sqs.wire import Wire

T = TypeVar("T")
log = safe_logger("leasekeeper.sqs")

_receive = msgspec.json.Decoder(codec.ReceiveAnswer)
_batch = msgspec.json.Decoder(codec.BatchAnswer)
_sent = msgspec.json.Decoder(codec.SendAnswer)
_sent_batch = msgspec.json.Decoder(codec.SendBatchAnswer)
_nothing = msgspec.json.Decoder(codec.EmptyAnswer)
_task_handle = msgspec.json.Decoder(codec.TaskHandleAnswer)

SHORT = 1_000
"""Bytes of the longest answer that is kept to recognise it: ten confirmations take 150."""


class SqsClient:
    """SQS over HTTP; made by `connect`."""

    def __init__(self, wire: Wire, endpoint: Endpoint, *, verify_md5: bool = True) -> None:
        self._wire = wire
        self._verify = verify_md5
        # What TLS carries, or what never leaves this machine, cannot be damaged on its way.
        self._verify_long = not (endpoint.loopback or endpoint.url.startswith("https://"))
        self.endpoint = endpoint
        self._confirmation: dict[int, bytes] = {}

    @classmethod
    async def connect(cls, settings: ClientSettings | None = None) -> SqsClient:
        """Find endpoint and credentials; no call to SQS is made yet.

        Raises:
            ConfigurationError: no region, or settings that contradict each other.
            CredentialsMissing: no credentials were found.
        """
        settings = settings or ClientSettings()
        wire, endpoint = await connect(settings)
        return cls(wire, endpoint, verify_md5=settings.verify_md5)

    async def close(self) -> None:
        """Close the connections; calls in flight fail. May be called twice."""
        await self._wire.close()

    def credentials(self) -> Credentials | None:
        """What calls are signed with now; None when that is being renewed. Begins a refresh that is due."""
        return self._wire.credentials

    def last_request_id(self) -> str:
        """The server's id of the call that ended last, for the code that goes on with its answer; empty without one."""
        return self._wire.last_request_id()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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
        """Receive 1 to 10 messages, waiting up to `wait` (0-20) seconds for the first, hidden for `visibility` seconds.

        SQS takes whole seconds only: a fraction is rounded up. The call asks for all system attributes. It fails when
        the server stays silent for 5 seconds longer than the wait. A message that does not match its MD5, or cannot be
        read, is left out and logged; SQS shows it again when its visibility timeout ends, and its redrive policy counts
        the receive.

        Args:
            queue_url: of the queue.
            maximum: messages wanted, 1 to 10.
            wait: seconds to wait for the first, 0 to 20.
            visibility: seconds until others may receive them, 0 to 43,200.
            attribute_names: the user-defined attributes to ask for.
            attempt_id: FIFO queues: repeats a failed call within five minutes and gets the same messages.
        """
        seconds = math.ceil(wait)
        names = tuple(attribute_names)
        body = codec.receive_body(queue_url, maximum, seconds, visibility, names)
        if attempt_id is not None:
            body = codec.with_attempt(body, attempt_id)
        answer = await self._wire.poll("ReceiveMessage", body, timeout=seconds + RECEIVE_GRACE)
        messages = read(_receive, "ReceiveMessage", answer).messages or []
        return self._verified(messages, queue_url, attributes="All" in names) if self._verify else messages

    async def delete_batch(self, queue_url: str, receipts: Sequence[str]) -> list[EntryFailure | None]:
        """Delete up to ten messages; one answer for each position, None where the delete was confirmed."""
        body = codec.delete_body(queue_url, receipts)
        answer = await self._wire.call("DeleteMessageBatch", body, again=True)
        return self._outcomes("DeleteMessageBatch", answer, len(receipts))

    async def change_visibility_batch(
        self, queue_url: str, entries: Sequence[tuple[str, int]]
    ) -> list[EntryFailure | None]:
        """Set when up to ten messages (receipt, seconds from now) become visible; one answer for each position."""
        body = codec.visibility_body(queue_url, entries)
        answer = await self._wire.call("ChangeMessageVisibilityBatch", body, again=True)
        return self._outcomes("ChangeMessageVisibilityBatch", answer, len(entries))

    async def send_batch(self, queue_url: str, messages: Sequence[Outgoing]) -> list[Sent | EntryFailure]:
        """Send up to ten messages; one answer for each position."""
        answer = await self._wire.call("SendMessageBatch", codec.send_batch_body(queue_url, messages))
        return codec.sent_outcomes(read(_sent_batch, "SendMessageBatch", answer), len(messages))

    async def delete(self, queue_url: str, receipt: str) -> None:
        """Delete one message."""
        body = codec.encode({"QueueUrl": queue_url, "ReceiptHandle": receipt})
        read(_nothing, "DeleteMessage", await self._wire.call("DeleteMessage", body, again=True))

    async def change_visibility(self, queue_url: str, receipt: str, seconds: int) -> None:
        """Set when one message becomes visible, 0 to 43,200 seconds from now."""
        body = codec.encode({"QueueUrl": queue_url, "ReceiptHandle": receipt, "VisibilityTimeout": seconds})
        read(_nothing, "ChangeMessageVisibility", await self._wire.call("ChangeMessageVisibility", body, again=True))

    async def send(self, queue_url: str, message: Outgoing) -> Sent:
        """Send one message."""
        answer = await self._wire.call("SendMessage", codec.send_body(queue_url, message))
        return read(_sent, "SendMessage", answer).sent()

    async def queue_url(self, name: str, *, account: str | None = None) -> str:
        """The URL of the queue of that name; `account` for another account's."""
        asked = {"QueueName": name} if account is None else {"QueueName": name, "QueueOwnerAWSAccountId": account}
        return (await self._ask("GetQueueUrl", asked, codec.QueueUrlAnswer)).queue_url

    async def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        """The queue's attributes, values as text."""
        asked = {"QueueUrl": queue_url, "AttributeNames": list(names)}
        return (await self._ask("GetQueueAttributes", asked, codec.AttributesAnswer)).attributes or {}

    async def set_queue_attributes(self, queue_url: str, attributes: Mapping[str, str]) -> None:
        """Change some of the queue's attributes, values as text; it takes up to 60 seconds to spread."""
        await self._tell("SetQueueAttributes", {"QueueUrl": queue_url, "Attributes": attributes})

    async def create_queue(
        self, name: str, *, attributes: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Create a queue, or find the existing one with the same attributes; its URL."""
        asked = {"QueueName": name, "Attributes": attributes or {}, "tags": tags or {}}
        return (await self._ask("CreateQueue", asked, codec.QueueUrlAnswer)).queue_url

    async def delete_queue(self, queue_url: str) -> None:
        """Delete a queue and all its messages; it takes up to 60 seconds."""
        await self._tell("DeleteQueue", {"QueueUrl": queue_url})

    async def purge_queue(self, queue_url: str) -> None:
        """Delete all messages of a queue, those in flight too; once in 60 seconds."""
        await self._tell("PurgeQueue", {"QueueUrl": queue_url})

    async def list_queues(self, prefix: str = "") -> list[str]:
        """The URLs of all queues with names that begin with `prefix`."""
        asked: dict[str, object] = {"MaxResults": 1000}
        if prefix:
            asked["QueueNamePrefix"] = prefix
        return await self._pages("ListQueues", asked, codec.QueuesAnswer)

    async def list_dead_letter_sources(self, queue_url: str) -> list[str]:
        """The URLs of all queues that have this dead-letter queue."""
        asked = {"QueueUrl": queue_url, "MaxResults": 1000}
        return await self._pages("ListDeadLetterSourceQueues", asked, codec.SourcesAnswer)

    async def start_message_move_task(
        self, source_arn: str, *, destination_arn: str | None = None, per_second: int | None = None
    ) -> str:
        """Start to move the messages of a dead-letter queue; the handle of the task.

        Args:
            source_arn: the dead-letter queue, of SQS queues only.
            destination_arn: the queue to move them to; None moves each message to the queue it came from.
            per_second: messages a second, 1 to 500; None lets SQS decide.
        """
        asked: dict[str, object] = {"SourceArn": source_arn}
        if destination_arn is not None:
            asked["DestinationArn"] = destination_arn
        if per_second is not None:
            asked["MaxNumberOfMessagesPerSecond"] = per_second
        # Once only: a second attempt would be refused because of the first.
        answer = await self._wire.call("StartMessageMoveTask", codec.encode(asked))
        return read(_task_handle, "StartMessageMoveTask", answer).task_handle

    async def list_message_move_tasks(self, source_arn: str) -> list[codec.MoveTask]:
        """The last ten tasks of a dead-letter queue, the newest first."""
        asked = {"SourceArn": source_arn, "MaxResults": 10}
        return (await self._ask("ListMessageMoveTasks", asked, codec.MoveTasksAnswer)).results or []

    async def cancel_message_move_task(self, task_handle: str) -> int:
        """Stop a running task; the approximate number of messages that it has moved. They stay moved."""
        asked = {"TaskHandle": task_handle}
        return (await self._ask("CancelMessageMoveTask", asked, codec.MovedAnswer)).approximate_number_of_messages_moved

    @property
    def credentials_failure(self) -> BaseException | None:
        """Why the last refresh of the credentials failed; None when it succeeded."""
        return self._wire.credentials_failure

    def __repr__(self) -> str:
        return f"<SqsClient {self.endpoint.url} {self.endpoint.region}>"

    async def _ask(self, operation: str, asked: object, answer: type[T]) -> T:
        return read(
            msgspec.json.Decoder(answer), operation, await self._wire.call_patiently(operation, codec.encode(asked))
        )

    async def _tell(self, operation: str, asked: object) -> None:
        read(_nothing, operation, await self._wire.call_patiently(operation, codec.encode(asked)))

    async def _pages(
        self, operation: str, asked: dict[str, object], answer: type[codec.QueuesAnswer | codec.SourcesAnswer]
    ) -> list[str]:
        found: list[str] = []
        while True:
            page = await self._ask(operation, asked, answer)
            found += page.queue_urls or ()
            if not page.next_token:
                return found
            asked = {**asked, "NextToken": page.next_token}

    def _outcomes(self, operation: str, answer: bytes | bytearray, count: int) -> list[EntryFailure | None]:
        """A batch's answer by position. An answer that confirms everything reads the same each time: decoded once."""
        if answer == self._confirmation.get(count):
            return [None] * count
        outcome = codec.outcomes(read(_batch, operation, answer), count)
        if not any(outcome) and len(answer) <= SHORT:
            self._confirmation[count] = bytes(answer)
        return outcome

    def _verified(self, messages: list[Received], queue_url: str, *, attributes: bool) -> list[Received]:
        good = intact(messages, attributes=attributes, long_bodies=self._verify_long)
        if len(good) < len(messages):
            for message in messages:
                if message not in good:
                    log.error(
                        "message %s of %s does not match its MD5 and was left out: SQS shows it again when its "
                        "visibility timeout ends; for a server with other digests set verify_md5=False",
                        message.message_id,
                        queue_url.rpartition("/")[2],
                    )
        return good
