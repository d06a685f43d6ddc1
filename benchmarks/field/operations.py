"""The operations of SQS that clients call: each takes a request's JSON and answers the exchange.

Owned by `server.py`. Malformed requests get AWS's errors, as far as the measured clients can see them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from queues import Attribute, Item, index_of, md5, md5_of_attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker import Broker, Exchange
    from queues import Queue

    Operation = Callable[[Broker, Exchange, bytes], None]

T = TypeVar("T")


class Refusal(Exception):
    """An error of SQS: its code and its message."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.body = msgspec.json.encode({"__type": f"com.amazonaws.sqs#{code}", "message": sentence})


class Receive(msgspec.Struct, rename="pascal"):
    queue_url: str
    max_number_of_messages: int = 1
    visibility_timeout: int | None = None
    wait_time_seconds: int = 0


class Entry(msgspec.Struct, rename="pascal"):
    """An entry with a receipt, alone in its request or in a batch."""

    receipt_handle: str
    id: str = ""
    visibility_timeout: int = 0
    queue_url: str = ""


class Batch(msgspec.Struct, rename="pascal"):
    queue_url: str
    entries: list[Entry]


class Outgoing(msgspec.Struct, rename="pascal"):
    """A message to send, alone in its request or in a batch."""

    message_body: str
    id: str = ""
    message_attributes: dict[str, Attribute] = {}
    queue_url: str = ""


class OutgoingBatch(msgspec.Struct, rename="pascal"):
    queue_url: str
    entries: list[Outgoing]


class About(msgspec.Struct, rename="pascal"):
    """A request about a queue or its attributes (a list of names, or values by name)."""

    queue_url: str = ""
    queue_name: str = ""
    attributes: dict[str, str] = {}


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    decode = msgspec.json.Decoder(kind).decode

    def decoded(body: bytes) -> T:
        try:
            return decode(body)
        except msgspec.MsgspecError as error:
            raise Refusal("InvalidParameterValue", str(error)) from error

    return decoded


_receive, _entry, _batch = _decoder(Receive), _decoder(Entry), _decoder(Batch)
_outgoing, _outgoing_batch, _about = _decoder(Outgoing), _decoder(OutgoingBatch), _decoder(About)


def receive_message(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Answer with up to ten messages at once, or with the first that arrive during the long poll."""
    request = _receive(body)
    queue = _called(broker, request.queue_url, "ReceiveMessage")
    limit = request.max_number_of_messages
    visibility = queue.visibility if request.visibility_timeout is None else request.visibility_timeout
    answer = queue.receive(limit, visibility, time.monotonic(), int(time.time() * 1000))
    if answer is not None:
        exchange.answer(answer, queue.latency)
    elif request.wait_time_seconds:
        broker.park(exchange, queue, limit, visibility, request.wait_time_seconds)
    else:
        queue.counts.empty_receives += 1
        exchange.answer(b"{}", queue.latency)


def delete_message(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Delete a message if the receipt is its newest; the answer is success in any case."""
    entry = _entry(body)
    queue = _called(broker, entry.queue_url, "DeleteMessage")
    queue.delete((entry.receipt_handle,), time.monotonic())
    exchange.answer(b"{}", queue.latency)
    if queue.fifo:  # its group may be free now
        broker.serve(queue)


def delete_message_batch(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Delete up to ten messages."""
    batch = _batch(body)
    queue = _called(broker, batch.queue_url, "DeleteMessageBatch")
    queue.delete([entry.receipt_handle for entry in batch.entries], time.monotonic())
    exchange.answer(_successful([entry.id for entry in batch.entries]), queue.latency)
    if queue.fifo:
        broker.serve(queue)


def change_message_visibility(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Change when a lease ends."""
    entry = _entry(body)
    queue = _called(broker, entry.queue_url, "ChangeMessageVisibility")
    changed = queue.change([(entry.receipt_handle, entry.visibility_timeout)], time.monotonic())
    if not changed[0]:
        raise Refusal("MessageNotInflight", "the message is not in flight")
    exchange.answer(b"{}", queue.latency)
    broker.serve(queue)


def change_message_visibility_batch(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Change when up to ten leases end."""
    batch = _batch(body)
    queue = _called(broker, batch.queue_url, "ChangeMessageVisibilityBatch")
    changed = queue.change([(each.receipt_handle, each.visibility_timeout) for each in batch.entries], time.monotonic())
    if all(changed):
        answer = _successful([entry.id for entry in batch.entries])
    else:
        outcome: dict[str, list[dict[str, Any]]] = {"Successful": [], "Failed": []}
        for entry, done in zip(batch.entries, changed, strict=True):
            why = {} if done else {"Code": "MessageNotInflight", "SenderFault": True, "Message": "not in flight"}
            outcome["Successful" if done else "Failed"].append({"Id": entry.id, **why})
        answer = msgspec.json.encode(outcome)
    exchange.answer(answer, queue.latency)
    broker.serve(queue)


def send_message(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Accept a message."""
    message = _outgoing(body)
    queue = _called(broker, message.queue_url, "SendMessage")
    exchange.answer(msgspec.json.encode(_taken(broker, queue, message)), queue.latency)
    broker.serve(queue)


def send_message_batch(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Accept up to ten messages."""
    batch = _outgoing_batch(body)
    queue = _called(broker, batch.queue_url, "SendMessageBatch")
    results = [{"Id": message.id, **_taken(broker, queue, message)} for message in batch.entries]
    exchange.answer(msgspec.json.encode({"Successful": results}), queue.latency)
    broker.serve(queue)


def queue_url(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Answer with a queue's URL; this creates the queue."""
    queue = _called(broker, _about(body).queue_name, "GetQueueUrl")
    exchange.answer(msgspec.json.encode({"QueueUrl": _url(broker, queue)}), queue.latency)


def list_queues(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """List all queues on one page, or those that start with `QueueNamePrefix`."""
    prefix = msgspec.json.decode(body).get("QueueNamePrefix") or ""
    urls = [_url(broker, queue) for name, queue in broker.queues.items() if name.startswith(prefix)]
    exchange.answer(msgspec.json.encode({"QueueUrls": urls}))


def get_queue_attributes(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Answer with all attributes of a queue, whatever was requested."""
    queue = _called(broker, _about(body).queue_url, "GetQueueAttributes")
    attributes = {
        "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{queue.name}",
        "ApproximateNumberOfMessages": queue.visible,
        "ApproximateNumberOfMessagesNotVisible": queue.counts.in_flight,
        "ApproximateNumberOfMessagesDelayed": 0,
        "CreatedTimestamp": 1700000000,
        "LastModifiedTimestamp": 1700000000,
        "VisibilityTimeout": queue.visibility,
        "MaximumMessageSize": 1048576,
        "MessageRetentionPeriod": 345600,
        "DelaySeconds": 0,
        "ReceiveMessageWaitTimeSeconds": 0,
        **({"FifoQueue": "true", "ContentBasedDeduplication": "true"} if queue.fifo else {}),
    }
    answer = {"Attributes": {name: str(value) for name, value in attributes.items()}}
    exchange.answer(msgspec.json.encode(answer), queue.latency)


def set_queue_attributes(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Set the visibility timeout; ignore other attributes."""
    request = _about(body)
    queue = _called(broker, request.queue_url, "SetQueueAttributes")
    queue.visibility = int(request.attributes.get("VisibilityTimeout", queue.visibility))
    exchange.answer(b"{}", queue.latency)


def purge_queue(broker: Broker, exchange: Exchange, body: bytes) -> None:
    """Delete all messages."""
    queue = _called(broker, _about(body).queue_url, "PurgeQueue")
    queue.purge()
    exchange.answer(b"{}", queue.latency)


OPERATIONS: dict[bytes, Operation] = {
    b"ReceiveMessage": receive_message,
    b"DeleteMessage": delete_message,
    b"DeleteMessageBatch": delete_message_batch,
    b"ChangeMessageVisibility": change_message_visibility,
    b"ChangeMessageVisibilityBatch": change_message_visibility_batch,
    b"SendMessage": send_message,
    b"SendMessageBatch": send_message_batch,
    b"CreateQueue": queue_url,
    b"GetQueueUrl": queue_url,
    b"ListQueues": list_queues,
    b"GetQueueAttributes": get_queue_attributes,
    b"SetQueueAttributes": set_queue_attributes,
    b"PurgeQueue": purge_queue,
}


def _called(broker: Broker, url: str, operation: str) -> Queue:
    queue = broker.queue(url)
    queue.counts.calls[operation] += 1
    return queue


def _url(broker: Broker, queue: Queue) -> str:
    return f"{broker.endpoint}/000000000000/{queue.name}"


def _successful(ids: list[str]) -> bytes:
    return ('{"Successful":[{"Id":"' + '"},{"Id":"'.join(ids) + '"}]}').encode()


def _taken(broker: Broker, queue: Queue, message: Outgoing) -> dict[str, str]:
    """Put a message into the queue, or into the stock that is filled from it; return the answer to its sender."""
    stock = broker.stocks.get(broker.stocking.get(queue.name, ""))
    index = index_of(message.message_body, -1 if stock is None else len(stock))
    item = Item.of(index, message.message_body, message.message_attributes)
    if stock is None:
        queue.release(queue.add([item], int(time.time() * 1000)), time.monotonic)
    else:
        stock.append(item)
    answer = {
        "MessageId": "5a5a5a5a-0000-4b4b-8c8c-000000000000",
        "MD5OfMessageBody": md5(message.message_body.encode()),
    }
    if message.message_attributes:
        answer["MD5OfMessageAttributes"] = md5_of_attributes(message.message_attributes)
    return answer
