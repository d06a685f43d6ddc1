"""The bodies of the SQS JSON protocol: our types to requests, answers to our types.

Owned by the client. It promises one pass each way, between bytes and structs, without dictionaries.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from leasekeeper.api import BATCH, EntryFailure, Sent
from leasekeeper.errors import Verdict
from leasekeeper.message import Received  # noqa: TC001 - msgspec reads annotations when it builds decoders
from leasekeeper.sqs.errors import FailedEntry  # noqa: TC001 - the same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.api import Outgoing
    from leasekeeper.message import MessageAttribute

encode = msgspec.json.Encoder().encode

IDS = tuple(str(position) for position in range(BATCH))
"""Entry ids are positions: they cannot collide when one message id comes twice, and they lead back to the entry."""
POSITIONS = {id_: position for position, id_ in enumerate(IDS)}


class _DeleteEntry(msgspec.Struct, gc=False, rename="pascal"):
    id: str
    receipt_handle: str


class _VisibilityEntry(msgspec.Struct, gc=False, rename="pascal"):
    id: str
    receipt_handle: str
    visibility_timeout: int


class _Attribute(msgspec.Struct, gc=False, rename="pascal", omit_defaults=True):
    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None


class _SendEntry(msgspec.Struct, gc=False, rename="pascal", omit_defaults=True, kw_only=True):
    queue_url: str = ""
    id: str = ""
    message_body: str
    delay_seconds: int | None = None
    message_attributes: dict[str, _Attribute] = msgspec.field(default_factory=dict)
    message_system_attributes: dict[str, _Attribute] = msgspec.field(default_factory=dict)
    message_group_id: str | None = None
    message_deduplication_id: str | None = None


class _Batch(msgspec.Struct, gc=False, rename="pascal"):
    queue_url: str
    entries: list[_DeleteEntry] | list[_VisibilityEntry] | list[_SendEntry]


class _Receive(msgspec.Struct, gc=False, rename="pascal", omit_defaults=True, kw_only=True):
    queue_url: str
    max_number_of_messages: int
    wait_time_seconds: int
    visibility_timeout: int
    message_system_attribute_names: tuple[str, ...] = ()
    message_attribute_names: tuple[str, ...] = ()


class ReceiveAnswer(msgspec.Struct, gc=False, rename="pascal"):
    """The answer to ReceiveMessage; an empty one names no messages."""

    messages: list[Received] | None = None


class _Confirmed(msgspec.Struct, gc=False, rename="pascal"):
    id: str


_ALL_CONFIRMED = tuple([_Confirmed(id_) for id_ in IDS[:count]] for count in range(BATCH + 1))


class BatchAnswer(msgspec.Struct, gc=False, rename="pascal"):
    """The answer to a batch of deletes or changes."""

    successful: list[_Confirmed] | None = None
    failed: list[FailedEntry] | None = None


class EmptyAnswer(msgspec.Struct, gc=False):
    """The answer to a call that returns nothing: AWS sends no byte, other servers an object."""


class SendAnswer(msgspec.Struct, gc=False, rename="pascal"):
    """The answer to SendMessage."""

    message_id: str
    sequence_number: str | None = None

    def sent(self) -> Sent:
        """The answer in the types of `leasekeeper.api`."""
        return Sent(self.message_id, self.sequence_number or "")


class _SentEntry(SendAnswer, gc=False, rename="pascal", kw_only=True):
    id: str


class SendBatchAnswer(msgspec.Struct, gc=False, rename="pascal"):
    """The answer to SendMessageBatch."""

    successful: list[_SentEntry] | None = None
    failed: list[FailedEntry] | None = None


class QueueUrlAnswer(msgspec.Struct, rename="pascal"):
    """The answer to GetQueueUrl and CreateQueue."""

    queue_url: str


class AttributesAnswer(msgspec.Struct, rename="pascal"):
    """The answer to GetQueueAttributes; it has none when the queue has none of those asked for."""

    attributes: dict[str, str] | None = None


class QueuesAnswer(msgspec.Struct, rename="pascal"):
    """One page of ListQueues."""

    queue_urls: list[str] | None = None
    next_token: str | None = None


class SourcesAnswer(msgspec.Struct, rename={"queue_urls": "queueUrls", "next_token": "NextToken"}):
    """One page of ListDeadLetterSourceQueues, which alone writes `queueUrls`."""

    queue_urls: list[str] | None = None
    next_token: str | None = None


class MoveTask(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    """One task that moves messages out of a dead-letter queue (ListMessageMoveTasks).

    Attributes:
        task_handle: the handle to cancel it with; only a running task has one.
        status: `RUNNING`, `COMPLETED`, `CANCELLING`, `CANCELLED` or `FAILED`.
        source_arn: the dead-letter queue.
        destination_arn: the queue to move them to; None moves each message to the queue it came from.
        max_number_of_messages_per_second: the speed asked for; None lets SQS decide.
        approximate_number_of_messages_moved: so far.
        approximate_number_of_messages_to_move: when it began.
        failure_reason: why it failed.
        started_timestamp: when it began, epoch milliseconds.
    """

    task_handle: str | None = None
    status: str = ""
    source_arn: str = ""
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None
    approximate_number_of_messages_moved: int = 0
    approximate_number_of_messages_to_move: int | None = None
    failure_reason: str | None = None
    started_timestamp: int = 0


class MoveTasksAnswer(msgspec.Struct, rename="pascal"):
    """The answer to ListMessageMoveTasks, the newest task first."""

    results: list[MoveTask] | None = None


class TaskHandleAnswer(msgspec.Struct, rename="pascal"):
    """The answer to StartMessageMoveTask."""

    task_handle: str


class MovedAnswer(msgspec.Struct, rename="pascal"):
    """The answer to CancelMessageMoveTask."""

    approximate_number_of_messages_moved: int = 0


@functools.lru_cache(maxsize=256)
def receive_body(queue_url: str, maximum: int, wait: int, visibility: int, attribute_names: tuple[str, ...]) -> bytes:
    """The body of a ReceiveMessage; it is remembered, because a poller sends the same one each time."""
    return encode(
        _Receive(
            queue_url=queue_url,
            max_number_of_messages=maximum,
            wait_time_seconds=wait,
            visibility_timeout=visibility,
            message_system_attribute_names=("All",),
            message_attribute_names=attribute_names,
        )
    )


def with_attempt(body: bytes, attempt_id: str) -> bytes:
    """The body of a ReceiveMessage with an id: a FIFO queue answers a repeated call with the same messages."""
    return body[:-1] + b',"ReceiveRequestAttemptId":' + encode(attempt_id) + b"}"


def delete_body(queue_url: str, receipts: Sequence[str]) -> bytes:
    """The body of a DeleteMessageBatch of up to ten receipts."""
    return encode(_Batch(queue_url, list(map(_DeleteEntry, IDS, receipts))))


def visibility_body(queue_url: str, entries: Sequence[tuple[str, int]]) -> bytes:
    """The body of a ChangeMessageVisibilityBatch of up to ten receipts and seconds."""
    changes = [_VisibilityEntry(id_, receipt, seconds) for id_, (receipt, seconds) in zip(IDS, entries, strict=False)]
    return encode(_Batch(queue_url, changes))


def send_body(queue_url: str, message: Outgoing) -> bytes:
    """The body of a SendMessage."""
    return encode(_send_entry(message, queue_url=queue_url))


def send_batch_body(queue_url: str, messages: Sequence[Outgoing]) -> bytes:
    """The body of a SendMessageBatch of up to ten messages."""
    return encode(_Batch(queue_url, [_send_entry(message, id_=IDS[i]) for i, message in enumerate(messages)]))


def outcomes(answer: BatchAnswer, count: int) -> list[EntryFailure | None]:
    """A batch's answer by position: None where it was confirmed, else a failure, also for an entry it does not name."""
    if answer.successful == _ALL_CONFIRMED[count] and not answer.failed:  # compared in C: no cost for each message
        return [None] * count
    outcome: list[EntryFailure | None] = [UNCONFIRMED] * count
    for confirmed in answer.successful or ():
        if confirmed.id in POSITIONS and (position := POSITIONS[confirmed.id]) < count:
            outcome[position] = None
    for entry in answer.failed or ():
        if entry.id in POSITIONS and (position := POSITIONS[entry.id]) < count:
            outcome[position] = entry.failure()
    return outcome


def sent_outcomes(answer: SendBatchAnswer, count: int) -> list[Sent | EntryFailure]:
    """A batch of sends by position."""
    outcome: list[Sent | EntryFailure] = [UNCONFIRMED] * count
    for entry in answer.successful or ():
        if entry.id in POSITIONS and (position := POSITIONS[entry.id]) < count:
            outcome[position] = entry.sent()
    for refused in answer.failed or ():
        if refused.id in POSITIONS and (position := POSITIONS[refused.id]) < count:
            outcome[position] = refused.failure()
    return outcome


UNCONFIRMED = EntryFailure(
    Verdict.UNAVAILABLE, "Unconfirmed", "the answer names this entry neither as successful nor as failed", False
)


def _send_entry(message: Outgoing, *, queue_url: str = "", id_: str = "") -> _SendEntry:
    return _SendEntry(
        queue_url=queue_url,
        id=id_,
        message_body=message.body,
        delay_seconds=message.delay,
        message_attributes=_attributes(message.attributes),
        message_system_attributes={name: _Attribute("String", value) for name, value in message.system.items()},
        message_group_id=message.group_id,
        message_deduplication_id=message.deduplication_id,
    )


def _attributes(attributes: Mapping[str, MessageAttribute]) -> dict[str, _Attribute]:
    return {name: _attribute(attribute) for name, attribute in attributes.items()}


def _attribute(attribute: MessageAttribute) -> _Attribute:
    """With the one value that its data type stands for: SQS refuses an attribute with two."""
    value = attribute.value
    if isinstance(value, str):
        return _Attribute(attribute.data_type, string_value=value)
    return _Attribute(attribute.data_type, binary_value=value)
