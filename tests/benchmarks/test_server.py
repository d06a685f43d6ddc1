"""The promises of the benchmarks' lean SQS, which clients are measured against."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from broker import Broker
from groups import FifoQueue
from queues import Item, Queue, index_of
from server import listen

from leasekeeper.message import MessageAttribute
from leasekeeper.sqs.digests import md5_of_attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WALL = 1_793_872_800_123


def filled(count: int) -> Queue:
    queue = Queue("orders")
    items = [Item.of(index, f"{index:07d}xxxxxxxx") for index in range(count)]
    queue.release(queue.add(items, WALL), lambda: 0.0)
    return queue


def received(queue: Queue, now: float, limit: int = 10, visibility: int = 4) -> list[dict[str, Any]]:
    answer = queue.receive(limit, visibility, now, WALL)
    return json.loads(answer)["Messages"] if answer else []


def receipts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["ReceiptHandle"] for message in messages]


def test_a_lease_lapses_and_its_message_is_redelivered_under_a_new_receipt() -> None:
    queue = filled(1)
    [first] = received(queue, now=1.0)
    assert received(queue, now=4.9) == []
    [again] = received(queue, now=5.0)
    assert again["MessageId"] == first["MessageId"]
    assert again["ReceiptHandle"] != first["ReceiptHandle"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    assert queue.counts.redelivered == 1


def test_only_the_newest_receipt_deletes() -> None:
    queue = filled(1)
    old = receipts(received(queue, now=1.0))
    new = receipts(received(queue, now=5.0))
    queue.delete(old, now=6.0)
    assert queue.counts.deleted == 0
    queue.delete(new, now=6.0)
    queue.delete(new, now=6.0)
    assert (queue.counts.deleted, queue.counts.in_flight, queue.visible) == (1, 0, 0)


def test_a_message_deleted_after_its_lease_lapsed_is_not_received_again() -> None:
    queue = filled(1)
    receipt = receipts(received(queue, now=1.0))
    queue.expire(now=9.0)
    assert queue.visible == 1
    queue.delete(receipt, now=9.0)
    assert received(queue, now=9.0) == []


def test_an_extension_counts_from_its_own_time_and_zero_gives_back_at_once() -> None:
    queue = filled(2)
    kept, returned = receipts(received(queue, now=1.0))
    assert queue.change([(kept, 4), (returned, 0)], now=3.0) == [True, True]
    assert len(received(queue, now=6.9)) == 1
    assert (queue.counts.heartbeats, queue.counts.heartbeat_calls, queue.counts.releases) == (1, 1, 1)
    assert queue.change([(returned, 4)], now=6.9) == [False]


def in_groups(*groups: str) -> FifoQueue:
    queue = FifoQueue("orders.fifo")
    items = [Item.of(index, f"{index:07d}xxxxxxxx", group=group) for index, group in enumerate(groups)]
    queue.release(queue.add(items, WALL), lambda: 0.0)
    return queue


def shown(messages: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(each["Attributes"]["MessageGroupId"], int(each["Body"][:7])) for each in messages]


def test_a_receive_takes_all_it_can_of_a_group_and_then_of_the_next() -> None:
    queue = in_groups(*"ababab")
    assert shown(received(queue, now=1.0, limit=4)) == [("a", 0), ("a", 2), ("a", 4), ("b", 1)]
    assert received(queue, now=1.0) == []  # three of b wait behind the one in flight


def test_a_group_is_free_when_all_of_it_in_flight_is_deleted() -> None:
    queue = in_groups(*"aaa")
    first, second = receipts(received(queue, now=1.0, limit=2))
    queue.delete([second], now=1.0)
    assert received(queue, now=1.0) == []
    queue.delete([first], now=1.0)
    assert shown(received(queue, now=1.0)) == [("a", 2)]


def test_messages_are_released_when_all_of_them_can_be_received() -> None:
    queue = FifoQueue("orders.fifo")
    added = queue.add([Item.of(0, f"{0:07d}xxxxxxxx", group="a")], WALL)

    def clock() -> float:
        assert len(received(queue, now=2.0)) == 1
        return 2.0

    queue.release(added, clock)
    assert queue.counts.released_at == queue.release_times()[0] == 2.0


def test_what_comes_back_to_a_group_comes_in_its_order() -> None:
    queue = in_groups(*"aaa")
    receipt = receipts(received(queue, now=1.0, limit=1))
    assert queue.change([(receipt[0], 0)], now=2.0) == [True]
    assert shown(received(queue, now=2.0)) == [("a", 0), ("a", 1), ("a", 2)]
    assert shown(received(queue, now=6.0, limit=2)) == [("a", 0), ("a", 1)]  # their lease has ended
    assert queue.counts.redelivered == 3


def test_the_index_of_a_payload_is_found_in_base64_within_base64() -> None:
    packed = "eyJib2R5IjogIk1EQXdNREF4TW5oNGVIaDRlSGg0ZUhoNGVBPT0ifQ=="  # {"body": base64 of 0000012xxxxxxxxxxxx}
    assert index_of(packed, otherwise=-1) == 12
    assert index_of("no payload", otherwise=3) == 3


class Talk:
    """A connection to a server that listens on the same loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def ask(self, operation: str, **body: Any) -> None:
        data = json.dumps(body).encode()
        head = f"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{operation}\r\nContent-Length: {len(data)}\r\n\r\n"
        self._writer.write(head.encode() + data)

    async def answer(self) -> dict[str, Any]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        found: dict[str, Any] = json.loads(await self._reader.readexactly(size))
        return found

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def talks() -> AsyncIterator[tuple[Broker, Talk, Talk]]:
    """A server that listens, and two connections to it; all are closed at the end."""
    served = Broker()
    async with await listen(served) as listening:
        port = listening.sockets[0].getsockname()[1]
        one, other = [Talk(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(2)]
        try:
            yield served, one, other
        finally:
            await one.close()
            await other.close()
            await until(lambda: not served.connections)


async def until(reached: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    for _ in range(10_000):
        if reached():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")


def test_a_conversation_of_send_receive_and_delete_keeps_ids_and_digests() -> None:
    async def conversation() -> None:
        async with talks() as (served, talk, _):
            attributes = {"kind": {"DataType": "String", "StringValue": "tea"}}
            entry = {"Id": "a-1", "MessageBody": 'say "x"', "MessageAttributes": attributes}
            talk.ask("SendMessageBatch", QueueUrl="http://x/0/orders", Entries=[entry])
            [sent] = (await talk.answer())["Successful"]
            talk.ask("ReceiveMessage", QueueUrl="http://x/0/orders", MaxNumberOfMessages=10)
            [message] = (await talk.answer())["Messages"]
            assert (sent["Id"], message["Body"]) == ("a-1", 'say "x"')
            assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
            digest = md5_of_attributes({"kind": MessageAttribute(data_type="String", string_value="tea")})
            assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"] == digest
            gone = {"Id": "b_2", "ReceiptHandle": message["ReceiptHandle"]}
            talk.ask("DeleteMessageBatch", QueueUrl="http://x/0/orders", Entries=[gone])
            assert await talk.answer() == {"Successful": [{"Id": "b_2"}]}
            assert served.queue("orders").counts.deleted == 1

    asyncio.run(conversation())


def test_a_long_poll_is_answered_by_what_comes_and_before_later_requests_of_its_connection() -> None:
    async def conversation() -> None:
        async with talks() as (served, talk, other):
            talk.ask("ReceiveMessage", QueueUrl="orders", WaitTimeSeconds=20)
            talk.ask("ListQueues")
            await until(lambda: bool(served.polls.get("orders")))
            other.ask("SendMessage", QueueUrl="orders", MessageBody="tea")
            assert "MessageId" in await other.answer()
            assert (await talk.answer())["Messages"][0]["Body"] == "tea"
            assert (await talk.answer())["QueueUrls"] == [f"{served.endpoint}/000000000000/orders"]

    asyncio.run(conversation())


def test_a_poll_of_a_closed_connection_is_given_nothing() -> None:
    async def conversation() -> None:
        async with talks() as (served, talk, other):
            talk.ask("ReceiveMessage", QueueUrl="orders", WaitTimeSeconds=20)
            await until(lambda: bool(served.polls.get("orders")))
            await talk.close()
            await until(lambda: not served.polls["orders"])
            other.ask("SendMessage", QueueUrl="orders", MessageBody="tea")
            await other.answer()
            queue = served.queue("orders")
            assert (queue.visible, queue.counts.in_flight) == (1, 0)

    asyncio.run(conversation())
