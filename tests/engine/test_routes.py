"""Several handlers of one queue in an app: declared, run together, and what the engine makes of unmatched messages."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from leasekeeper import ConfigurationError, Consumer, Leasekeeper, Message
from leasekeeper.routing import attribute, field
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual

TYPE = field("type")
got: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def _nothing_got() -> None:
    got.clear()


async def created(message: Message[str]) -> None:
    got.append(("created", message.body))


async def cancelled(message: Message[str]) -> None:
    got.append(("cancelled", message.body))
    raise OSError("no network")


def plain(message: Message[str]) -> None:
    got.append(("plain", message.body))


ROUTES = [(created, TYPE == "created"), (cancelled, attribute("type") == "cancelled")]


CREATED, OTHER = '{"type": "created"}', '{"type": "other"}'


@virtual
async def test_each_message_goes_to_its_handler_and_failures_name_it(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9) as world:
        consumer = await world.start(ROUTES)
        await world.send(CREATED, CREATED)
        await world.send("x", MessageAttributes={"type": {"DataType": "String", "StringValue": "cancelled"}})
        await world.until(lambda: len(got) == 3)
        await world.until(lambda: len(world.queue()) == 1)
        routes = consumer.statistics().routes
        assert routes is not None
        assert (routes.taken, routes.unmatched) == ({"created": 2, "cancelled": 1}, 0)
    assert sorted(got) == [("cancelled", "x"), ("created", CREATED), ("created", CREATED)]
    [failure] = [record for record in caplog.records if record.exc_info]
    assert "handler cancelled failed" in failure.getMessage()


@virtual
async def test_an_unmatched_message_goes_to_the_dead_letter_queue(caplog: pytest.LogCaptureFixture) -> None:
    """L30: it follows the policy of rejected messages, and is counted."""
    async with World(max_receives=9) as world:
        consumer = await world.start(ROUTES)
        await world.send(OTHER)
        await world.until(lambda: world.bodies(DEAD_LETTERS) == [OTHER])
        await world.until(lambda: not world.queue())
        report = await consumer.stop()
    assert (report.unmatched, report.rejected, report.handled) == (1, 1, 0)
    assert ", 1 rejected, 1 unmatched; " in str(report)
    assert got == []
    assert "no handler of queue orders takes it (there are created, cancelled); it goes to the dead-letter queue" in (
        caplog.text
    )


@virtual
async def test_an_unmatched_message_may_be_retried_for_another_consumer_that_takes_it() -> None:
    async with World() as world:
        await world.start([ROUTES[0]], on_unmatched="retry", retry_base=1, retry_maximum=1)
        await world.send(OTHER)
        await world.until(lambda: world.broker.calls["ChangeMessageVisibilityBatch"])
        await world.start([ROUTES[0], (created, None)], on_unmatched="retry")
        await world.until(lambda: not world.queue())
    assert got == [("created", OTHER)]


@virtual
async def test_an_unmatched_message_may_be_deleted_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9) as world:
        consumer = await world.start(ROUTES, on_unmatched="ack")
        await world.send(OTHER)
        await world.until(lambda: not world.queue())
        report = await consumer.stop()
        assert world.bodies(DEAD_LETTERS) == []
    assert (report.unmatched, report.acked) == (1, 1)
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage().endswith("no handler of queue orders takes it (there are created, cancelled)")


@virtual
async def test_a_group_of_a_fifo_queue_keeps_its_order_across_handlers() -> None:
    """L25: the order is the queue's; which handler runs a message does not matter to it."""
    async with World(fifo=True) as world:
        await world.start([(created, TYPE == "a"), (later, TYPE == "b")], concurrency=10)
        for number in range(10):
            body = f'{{"type": "{"ab"[number % 2]}", "n": {number}}}'
            await world.send(body, group="g")
        await world.until(lambda: len(got) == 10)
    assert [body.rpartition(" ")[2] for _, body in got] == [f"{number}}}" for number in range(10)]
    assert [name for name, _ in got] == ["created", "later"] * 5


@pytest.mark.parametrize("policy", ["reject", "ack"])
def test_what_no_handler_takes_does_not_hold_up_its_group(policy: Any) -> None:
    """L25: what is behind it runs when it is copied or deleted, and not before."""
    virtual(_unmatched_in_a_group)(policy)


async def _unmatched_in_a_group(policy: Any) -> None:
    async with World(fifo=True, max_receives=3) as world:
        await world.start(ROUTES[:1], on_unmatched=policy)
        await world.send(CREATED, OTHER, CREATED, group="g")
        await world.until(lambda: not world.queue(), within=60)
        assert world.bodies(world.dead_letters) == ([OTHER] if policy == "reject" else [])
    assert got == [("created", CREATED)] * 2


async def later(message: Message[str]) -> None:
    got.append(("later", message.body))


# Declared in an app


def test_handlers_of_one_queue_share_a_consumer_and_its_options() -> None:
    app = Leasekeeper(concurrency=7)
    app.consumer("orders", when=TYPE == "created", wait_time=3)(created)
    app.consumer("orders", when=TYPE == "cancelled", prefetch=5, wait_time=3)(cancelled)
    app.consumer("orders", concurrency=9)(later)
    app.consumer("bills")(plain)
    orders, bills = app.consumers
    assert (orders.options.concurrency, orders.options.wait_time, orders.options.prefetch) == (9, 3, 5)
    assert bills.options.concurrency == 7
    assert orders.handler.name == "created/cancelled/later"


def test_options_given_twice_and_differently_are_refused() -> None:
    app = Leasekeeper(concurrency=7)
    app.consumer("orders", when=TYPE == "created", concurrency=5)(created)
    with pytest.raises(ConfigurationError) as refusal:
        app.consumer("orders", when=TYPE == "cancelled", concurrency=10)(cancelled)
    assert str(refusal.value) == (
        "queue orders: concurrency=5 and, for handler cancelled, concurrency=10: the handlers of a queue share one "
        "consumer; give its options once"
    )
    assert app.consumers[0].handler.name == "created"


def test_a_handler_with_options_that_cannot_work_changes_nothing() -> None:
    app = Leasekeeper()
    app.consumer("orders", when=TYPE == "created")(created)
    [consumer] = app.consumers
    with pytest.raises(ConfigurationError, match="concurrency=0: must be a whole number from 1"):
        consumer.add_handler(cancelled, when=TYPE == "cancelled", concurrency=0)
    with pytest.raises(ConfigurationError, match="queue orders: batch= with when="):
        consumer.add_handler(cancelled, when=TYPE == "cancelled", batch=5)
    assert (consumer.handler.name, consumer.options.concurrency, consumer.options.batch) == ("created", 20, None)


def test_two_handlers_of_one_queue_without_conditions_are_refused() -> None:
    """Each message would go to the first: the second would never run."""
    app = Leasekeeper()
    app.consumer("orders")(created)
    with pytest.raises(ConfigurationError, match="queue orders has two handlers for the same messages, created and"):
        app.consumer("orders")(cancelled)
    assert app.consumers[0].handler.name == "created"
    app.consumer("orders", when=TYPE == "cancelled")(cancelled)
    assert app.consumers[0].handler.name == "cancelled/created"


def test_queues_of_one_name_in_two_regions_have_their_handlers() -> None:
    app = Leasekeeper()
    app.consumer("orders", region="eu-west-1")(created)
    app.consumer("orders", region="eu-west-2")(cancelled)
    assert len(app.consumers) == 2


def test_a_queue_that_is_written_in_two_ways_is_refused() -> None:
    app = Leasekeeper()
    app.consumer("orders", when=TYPE == "created")(created)
    with pytest.raises(ConfigurationError, match="with the queue written in the same way, and `when=` to tell"):
        app.consumer("arn:aws:sqs:eu-west-1:111111111111:orders", when=TYPE == "cancelled")(cancelled)


def test_handlers_of_two_kinds_are_refused_and_the_consumer_stays_as_it_was() -> None:
    consumer = Consumer("orders", created, when=TYPE == "created")
    with pytest.raises(ConfigurationError, match="created is `async def` and plain is `def`"):
        consumer.add_handler(plain, when=TYPE == "x")
    assert consumer.handler.name == "created"


@dataclass
class Paid:
    type: Literal["paid"]


@dataclass
class Refunded:
    type: Literal["refunded"]


async def paid(body: Paid) -> None: ...


async def refunded(body: Refunded) -> None: ...


def test_types_with_tags_are_conditions_in_an_app() -> None:
    app = Leasekeeper()
    app.consumer("orders")(paid)
    app.consumer("orders")(refunded)
    assert app.consumers[0].handler.name == "paid/refunded"
