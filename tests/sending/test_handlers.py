"""Handlers that send: what they send is confirmed before their message is deleted."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from leasekeeper import Batch, Consumer, Leasekeeper, QueueUnusable, Sender, SqsError
from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Shipped = Annotated[Sender, "shipped"]


class Bench:
    """A server with the queues `orders` and `shipped`."""

    def __init__(self, sqs: LocalSqs) -> None:
        self.sqs = sqs
        for name in ("orders", "shipped"):
            self.sqs.call("CreateQueue", QueueName=name)
        self.options: Any = {"endpoint_url": sqs.endpoint_url, "region": "eu-west-1", "wait_time": 0.2}

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.call("SendMessage", QueueUrl=f"{self.sqs.endpoint_url}/000000000000/orders", MessageBody=body)

    def contents(self, name: str) -> list[Any]:
        """What a queue holds, read on the server's loop: it changes there."""
        return self.sqs.on_loop(self.sqs.broker.account.queues[name].contents)

    def bodies(self, name: str) -> list[str]:
        return sorted(each.content.body for each in self.contents(name))

    def until_empty(self, app: Leasekeeper) -> None:
        """Run the app until all orders are done; it is stopped in any case."""
        app.start()
        try:
            end = time.monotonic() + 30
            while self.bodies("orders"):
                assert time.monotonic() < end
                time.sleep(0.01)
        finally:
            app.stop()

    def consume(self, handler: Callable[..., Any], until: Callable[[], bool], **options: Any) -> Consumer:
        """Run a consumer until the condition holds."""

        async def run() -> Consumer:
            consumer = Consumer("orders", handler, **{**self.options, **options})
            async with consumer, asyncio.timeout(30):
                while not until():  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.01)
            return consumer

        return asyncio.run(run())


@pytest.fixture
def bench() -> Iterator[Bench]:
    with LocalSqs(seed=1) as sqs:
        yield Bench(sqs)


async def ship(body: str, out: Shipped) -> None:
    out.post(f"{body} shipped")
    await out.send(f"{body} sent")


def ship_in_a_thread(body: str, out: Shipped) -> None:
    out.post(f"{body} shipped")
    out.send(f"{body} sent")


def ship_all(batch: Batch[str], out: Shipped) -> None:
    for body in batch.bodies:
        out.post(f"{body} shipped")
        out.post(f"{body} sent")


@pytest.mark.parametrize(
    ("handler", "options"), [(ship, {}), (ship_in_a_thread, {}), (ship_all, {"batch": 2, "batch_wait": 0.1})]
)
def test_a_handler_sends(bench: Bench, handler: Callable[..., Any], options: dict[str, Any]) -> None:
    bench.put("a", "b")
    bench.consume(handler, lambda: not bench.bodies("orders"), ack_interval=0, **options)
    assert bench.bodies("shipped") == ["a sent", "a shipped", "b sent", "b shipped"]


async def post(body: str, out: Shipped) -> None:
    out.post(f"{body} shipped")


def post_in_a_thread(body: str, out: Shipped) -> None:
    out.post(f"{body} shipped")


async def send_without_waiting(body: str, out: Shipped) -> None:
    out.send(f"{body} shipped")


async def send_in_a_task(body: str, out: Shipped) -> None:
    async def send() -> None:
        with suppress(SqsError):
            await out.send(f"{body} shipped")

    _tasks.append(asyncio.create_task(send()))
    await asyncio.sleep(0)


_tasks: list[asyncio.Task[None]] = []
"""Or they would be collected while they wait."""


@pytest.mark.parametrize("handler", [post, post_in_a_thread, send_without_waiting, send_in_a_task])
def test_a_message_is_not_deleted_before_what_its_handler_posted_is_confirmed(
    bench: Bench, handler: Callable[..., Any]
) -> None:
    bench.put("a")
    bench.sqs.faults.set("SendMessageBatch", deny=1.0)
    failed: list[object] = []
    consumer = bench.consume(handler, lambda: bool(failed or _failed(failed, bench)), retry_base=0, ack_interval=0)
    assert consumer.statistics() is not None
    assert bench.bodies("orders") == ["a"], "its message is still there"
    bench.sqs.faults.clear()
    bench.consume(handler, lambda: not bench.bodies("orders"), ack_interval=0)
    assert bench.bodies("shipped") == ["a shipped"]


def test_a_send_that_fails_is_the_handlers_own_affair_if_it_waits_for_it(bench: Bench) -> None:
    async def handler(body: str, out: Shipped) -> None:
        with suppress(SqsError):
            await out.send(body)
        [found] = await asyncio.gather(out.send(body), return_exceptions=True)
        assert isinstance(found, SqsError)

    bench.put("a")
    bench.sqs.faults.set("SendMessageBatch", deny=1.0)
    bench.consume(handler, lambda: not bench.bodies("orders"), ack_interval=0)


def _failed(failed: list[object], bench: Bench) -> bool:
    (message,) = bench.contents("orders")
    if message.receives >= 2:  # the first try failed, and the message came again
        failed.append(message)
    return bool(failed)


def test_the_consumers_of_an_app_share_a_sender_and_can_start_again(bench: Bench) -> None:
    app = Leasekeeper(**bench.options, ack_interval=0)
    bench.sqs.call("CreateQueue", QueueName="returns")
    app.consumer("orders")(ship)
    app.consumer("returns")(ship_in_a_thread)
    for body in ("a", "b"):
        bench.put(body)
        bench.until_empty(app)
    assert bench.bodies("shipped") == ["a sent", "a shipped", "b sent", "b shipped"]


def test_a_queue_that_is_missing_fails_the_start(bench: Bench) -> None:
    async def handler(body: str, out: Annotated[Sender, "nowhere"]) -> None:
        raise AssertionError

    with pytest.raises(QueueUnusable, match="queue nowhere cannot be used"):
        bench.consume(handler, lambda: True)


class Fake:
    def __init__(self) -> None:
        self.posted: list[str] = []

    def post(self, body: str) -> None:
        self.posted.append(body)


def test_a_test_can_put_something_else_in_the_place_of_senders(bench: Bench) -> None:
    app = Leasekeeper(**bench.options, ack_interval=0)
    app.consumer("orders")(post)
    bench.put("a")
    fake = Fake()
    with app.override(Sender, fake):
        bench.until_empty(app)
    assert fake.posted == ["a shipped"]
