"""The operations on messages: send, receive, change visibility and delete, single and in batches.

Each function is one API operation: `(account, request, now) -> answer`, raising `Refusal`. In a batch, the refusal of
one entry is the answer to that entry. Only an error of the batch itself refuses the batch.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.local.model import content, fields, refusals
from leasekeeper.local.model.fifo import Original
from leasekeeper.local.model.refusals import Refusal
from leasekeeper.local.model.stored import Selection, Stored, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.local.model.account import AccountState
    from leasekeeper.local.model.content import Content
    from leasekeeper.local.model.fields import Request
    from leasekeeper.local.model.queue import Queue

_TOKEN = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
LONGEST_VISIBILITY = 43_200
SENDER = "AIDALEASEKEEPERLOCAL0000"
TRACE_HEADER = "X-Amzn-Trace-Id"
"""An HTTP header of sends. The server puts it into the request under this name, which no member of the API has."""
_NO_DEDUPLICATION = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)


def send_message(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """SendMessage."""
    return _send(account, account.queue(request, now), request, now, _header_trace(request))


def send_message_batch(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """SendMessageBatch: at most 1 MiB in total."""
    queue = account.queue(request, now)
    entries = fields.entries(request, "SendMessageBatch")
    size = sum(map(content.body_size, entries))
    if size > content.MOST_BYTES:
        raise refusals.batch_too_long(
            f"Batch requests cannot be longer than {content.MOST_BYTES} bytes. You have sent {size} bytes."
        )
    if queue.settings.fifo:
        _check_fifo_entries(entries, content_dedup=queue.settings.content_dedup)
    trace = _header_trace(request)
    return _by_entry(entries, lambda entry: _send(account, queue, entry, now, trace))


def receive_message(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """ReceiveMessage, without its wait."""
    queue = account.queue(request, now)
    most = fields.integer(request, "MaxNumberOfMessages", 1, 10) or 1
    wait = receive_wait(queue, request)
    visibility = fields.integer(request, "VisibilityTimeout", 0, LONGEST_VISIBILITY)
    if visibility is None:
        visibility = queue.settings.visibility
    system = fields.names(request, "MessageSystemAttributeNames") + fields.names(request, "AttributeNames")
    selection = Selection(frozenset(system), fields.names(request, "MessageAttributeNames"))
    attempt_id = _read_attempt_id(queue, request)
    messages = queue.repeat(attempt_id, visibility, now) if attempt_id else []
    if not messages:
        if queue.in_flight >= queue.in_flight_limit and not queue.settings.fifo and not wait:
            raise refusals.over_limit(
                f"There are {queue.in_flight} messages in flight, as many as a queue may have: delete some."
            )
        messages = queue.receive(most, visibility, now)
        if attempt_id and messages:
            queue.attempts.note(attempt_id, messages, now)
    return {"Messages": [render(message, queue.receipt_tag, selection) for message in messages]} if messages else {}


def receive_wait(queue: Queue, request: Request) -> int:
    """Seconds that a receive waits for its first message, 0 to 20; by default the setting of the queue."""
    wait = fields.integer(request, "WaitTimeSeconds", 0, 20)
    return queue.settings.wait if wait is None else wait


def spoil_attempt(account: AccountState, request: Request, now: float) -> None:
    """Note that a receive was throttled. On AWS its attempt id cannot be used again."""
    attempt_id = request.get("ReceiveRequestAttemptId")
    if isinstance(attempt_id, str):
        with suppress(Refusal):
            account.queue(request, now).attempts.spoil(attempt_id, now)


def delete_message(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """DeleteMessage."""
    return _delete(account.queue(request, now), request, now)


def delete_message_batch(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """DeleteMessageBatch."""
    queue = account.queue(request, now)
    entries = fields.entries(request, "DeleteMessageBatch")
    return _by_entry(entries, lambda entry: _delete(queue, entry, now))


def change_message_visibility(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """ChangeMessageVisibility."""
    return _change(account.queue(request, now), request, now)


def change_message_visibility_batch(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """ChangeMessageVisibilityBatch."""
    queue = account.queue(request, now)
    entries = fields.entries(request, "ChangeMessageVisibilityBatch")
    return _by_entry(entries, lambda entry: _change(queue, entry, now))


def _by_entry(entries: list[Request], perform: Callable[[Request], dict[str, Any]]) -> dict[str, Any]:
    successful, failed = [], []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **perform(entry)})
        except Refusal as refusal:
            failed.append(_failure(entry["Id"], refusal))
    answer: dict[str, Any] = {}
    if successful:
        answer["Successful"] = successful
    if failed:
        answer["Failed"] = failed
    return answer


def _failure(entry_id: str, refusal: Refusal) -> dict[str, Any]:
    # A batch reports an expired receipt in other words than a single call does (recorded from AWS).
    expired = refusal.message.endswith("The receipt handle has expired.")
    return {
        "Id": entry_id,
        "Code": "ReceiptHandleIsInvalid" if expired else refusal.code.removeprefix(refusals.LEGACY),
        "Message": "The receipt handle has expired" if expired else refusal.message,
        "SenderFault": refusal.sender,
    }


def _delete(queue: Queue, request: Request, now: float) -> dict[str, Any]:
    queue.delete(fields.text(request, "ReceiptHandle"), now)
    return {}


def _change(queue: Queue, request: Request, now: float) -> dict[str, Any]:
    handle = fields.text(request, "ReceiptHandle")
    timeout = fields.integer(request, "VisibilityTimeout", 0, LONGEST_VISIBILITY)
    if timeout is None:
        raise refusals.missing("VisibilityTimeout")
    queue.change_visibility(handle, timeout, now)
    return {}


def _header_trace(request: Request) -> str:
    trace = request.get(TRACE_HEADER)
    return trace if isinstance(trace, str) else ""


def _check_fifo_entries(entries: list[Request], *, content_dedup: bool) -> None:
    """Refuse the whole batch when an entry lacks an id. Recorded from AWS; a single send has another code."""
    for entry in entries:
        if entry.get("MessageGroupId") is None:
            raise refusals.bad_parameter("The request must contain the parameter MessageGroupId.")
        if entry.get("MessageDeduplicationId") is None and not content_dedup:
            raise refusals.bad_parameter(_NO_DEDUPLICATION)


def _send(account: AccountState, queue: Queue, request: Request, now: float, trace: str) -> dict[str, Any]:
    message = content.read(request, trace)
    if message.size > queue.settings.most_bytes:
        raise refusals.bad_parameter(
            "One or more parameters are invalid. "
            f"Reason: Message must be shorter than {queue.settings.most_bytes} bytes."
        )
    if queue.settings.fifo:
        return _send_fifo(account, queue, request, message, now)
    delay = fields.integer(request, "DelaySeconds", 0, 900)
    group = _read_token(request, "MessageGroupId")
    dedup_id = _read_token(request, "MessageDeduplicationId")
    if dedup_id is not None:
        raise refusals.bad_parameter(
            f"Value {dedup_id} for parameter MessageDeduplicationId is invalid. "
            "Reason: The request includes a parameter that is not valid for this queue type."
        )
    system = {} if group is None else {"MessageGroupId": group}
    return _store(account, queue, message, system, delay=queue.settings.delay if delay is None else delay, now=now)


def _send_fifo(account: AccountState, queue: Queue, request: Request, message: Content, now: float) -> dict[str, Any]:
    group = _read_token(request, "MessageGroupId")
    if group is None:
        raise refusals.missing("MessageGroupId")
    delay = fields.integer(request, "DelaySeconds", 0, 900)
    if delay:
        raise refusals.bad_parameter(
            f"Value {delay} for parameter DelaySeconds is invalid. "
            "Reason: The request include parameter that is not valid for this queue type."
        )
    dedup_id = _read_token(request, "MessageDeduplicationId")
    if dedup_id is None:
        if not queue.settings.content_dedup:
            raise refusals.bad_parameter(_NO_DEDUPLICATION)
        dedup_id = hashlib.sha256(message.body.encode()).hexdigest()
    scope = group if queue.settings.dedup_by_group else ""
    original = queue.deduplication.find(scope, dedup_id, now)
    if original is not None:
        return _sent(message, original.message_id) | {"SequenceNumber": original.sequence_number}
    sequence_number = queue.next_sequence_number()
    system = {"MessageGroupId": group, "MessageDeduplicationId": dedup_id, "SequenceNumber": sequence_number}
    answer = _store(account, queue, message, system, delay=queue.settings.delay, now=now)
    queue.deduplication.note(scope, dedup_id, Original(answer["MessageId"], sequence_number), now)
    return answer | {"SequenceNumber": sequence_number}


def _store(
    account: AccountState, queue: Queue, message: Content, system: dict[str, str], *, delay: int, now: float
) -> dict[str, Any]:
    message_id = account.new_message_id()
    system = {"SenderId": SENDER, "SentTimestamp": queue.stamp(now), **system}
    if message.trace:
        system["AWSTraceHeader"] = message.trace
    group = system.get("MessageGroupId")
    queue.add(lambda number: Stored(number, message_id, message, system, now, group), delay, now)
    return _sent(message, message_id)


def _sent(message: Content, message_id: str) -> dict[str, Any]:
    answer = {"MessageId": message_id, "MD5OfMessageBody": message.body_md5}
    if message.attributes_md5:
        answer["MD5OfMessageAttributes"] = message.attributes_md5
    if message.trace_md5:
        answer["MD5OfMessageSystemAttributes"] = message.trace_md5
    return answer


def _read_token(request: Request, name: str) -> str | None:
    value = fields.optional_text(request, name)
    if value is not None and not _TOKEN.fullmatch(value):
        raise refusals.bad_parameter(
            f"Value {value} for parameter {name} is invalid. Reason: {name} can only include alphanumeric and "
            "punctuation characters. 1 to 128 in length."
        )
    return value


def _read_attempt_id(queue: Queue, request: Request) -> str | None:
    attempt_id = _read_token(request, "ReceiveRequestAttemptId")
    if attempt_id is not None and not queue.settings.fifo:
        raise refusals.bad_parameter(
            f"Value {attempt_id} for parameter ReceiveRequestAttemptId is invalid. "
            "Reason: The request includes a parameter that is not valid for this queue type."
        )
    return attempt_id


OPERATIONS = {
    "ChangeMessageVisibility": change_message_visibility,
    "ChangeMessageVisibilityBatch": change_message_visibility_batch,
    "DeleteMessage": delete_message,
    "DeleteMessageBatch": delete_message_batch,
    "ReceiveMessage": receive_message,
    "SendMessage": send_message,
    "SendMessageBatch": send_message_batch,
}
