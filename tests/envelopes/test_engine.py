"""Envelopes in an engine: what is deleted, retried, copied, counted and logged."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Batch, ConfigurationError, Consumer, Message, MessageContext, Retries
from leasekeeper.envelopes import S3Event, S3Record  # noqa: TC001 - handlers' annotations are read
from leasekeeper.routing import attribute, field
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.message import Received


@dataclass
class Order:
    id: int


def test_a_test_event_is_deleted_counted_and_logged(
    golden: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    keys: list[str] = []

    async def handle(record: S3Record) -> None:
        keys.append(record.key)

    @virtual
    async def story() -> None:
        async with World() as world:
            await world.send(golden("s3_test_event"), golden("s3_put"))
            running = await world.start(handle)
            await world.until(lambda: not world.bodies())
            work = running.statistics().work
            assert (work.done, work.skipped) == (1, 1)
            assert (await running.stop()).acked == 2

    caplog.set_level(logging.INFO, "leasekeeper")
    story()
    assert keys == ["a+b c/é.txt"]
    [record] = [each for each in caplog.records if "which is deleted: " in each.getMessage()]
    assert record.levelname == "INFO"
    assert record.getMessage().endswith(
        ", which is deleted: it is the test event that S3 sends when notifications are configured"
    )


@virtual
async def test_records_before_the_one_that_fails_run_again() -> None:
    keys: list[str] = []

    async def handle(record: S3Record) -> None:
        keys.append(record.key)
        if len(keys) == 2:
            raise ValueError(record.key)

    def put(key: str) -> dict[str, Any]:
        entity = {"bucket": {"name": "b"}, "object": {"key": key}}
        return {"eventName": "ObjectCreated:Put", "eventTime": "2026-05-02T00:54:06Z", "s3": entity}

    async with World() as world:
        await world.send(json.dumps({"Records": [put("one"), put("two"), put("three")]}))
        running = await world.start(handle)
        await world.until(lambda: not world.bodies())
        assert keys == ["one", "two", "one", "two", "three"]
        work = running.statistics().work
        assert (work.done, work.failed) == (1, 1)


def test_what_cannot_be_opened_is_copied_as_it_was_received(golden: Callable[[str], str]) -> None:
    body = golden("eventbridge_in_sns")

    async def handle(order: Order) -> None:
        raise AssertionError

    @virtual
    async def story() -> None:
        async with World(max_receives=3) as world:
            await world.send(body, MessageAttributes={"own": {"DataType": "String", "StringValue": "kept"}})
            running = await world.start(handle, envelope=("sns", "cloudevents"))
            await world.until(lambda: world.bodies(DEAD_LETTERS) == [body])
            [copy] = world.queue(DEAD_LETTERS).contents()
            assert copy.content.attributes["own"]["StringValue"] == "kept"
            assert (
                "give envelope=('sns', 'eventbridge')" in copy.content.attributes["leasekeeper.failure"]["StringValue"]
            )
            await world.until(lambda: not world.bodies())
            assert running.statistics().work.undecodable == 1

    story()


def test_batches_are_of_what_the_envelopes_hold(golden: Callable[[str], str]) -> None:
    seen: list[Any] = []

    async def handle(batch: Batch[Order]) -> None:
        seen.extend((each.body, each.envelopes[0].subject, each.attributes["tenant"].value) for each in batch)

    async def bodies(orders: list[Order]) -> None:
        seen.extend(orders)

    async def events(batch: Batch[S3Event]) -> None:
        seen.extend(record.key for each in batch for record in each.body.records)

    @virtual
    async def story() -> None:
        async with World() as world:
            await world.send(golden("sns"), "{}", golden("sns"))
            running = await world.start(handle, batch=3, envelope="sns", retry_base=100, retry_maximum=100)
            await world.until(lambda: len(world.bodies()) == 1)
            assert running.statistics().work.undecodable == 1
            await running.stop()
        async with World() as world:
            await world.send(golden("eventbridge"))
            await world.start(bodies, batch=3, batch_wait=0.1, envelope="auto")
            await world.until(lambda: not world.bodies())
        async with World() as world:
            await world.send(golden("s3_put"), golden("s3_test_event"))
            running = await world.start(events, batch=2)
            await world.until(lambda: not world.bodies())
            assert running.statistics().work.skipped == 1

    story()
    assert seen == [(Order(7), "an order", "ann")] * 2 + [Order(7), "a+b c/é.txt"]


def test_records_in_a_batch_are_refused() -> None:
    async def handle(batch: Batch[S3Record]) -> None:
        pass

    with pytest.raises(ConfigurationError, match=r"annotate the parameter with Batch\[S3Event\] or list\[S3Event\]"):
        Consumer("orders", handle, batch=3)


def test_routes_see_what_the_envelopes_hold(golden: Callable[[str], str]) -> None:
    """Conditions on the payload of a notification, on its attributes, and on records of S3."""
    seen: list[str] = []

    async def seventh(order: Order) -> None:
        seen.append(f"seventh {order.id}")

    async def of_ann(order: Order) -> None:
        raise AssertionError

    async def created(record: S3Record) -> None:
        seen.append(record.event_name)

    async def other(record: S3Record) -> None:
        seen.append(f"other {record.event_name}")

    @virtual
    async def story() -> None:
        async with World() as world:
            await world.send(golden("sns"))
            await world.start([(seventh, field("id") == 7), (of_ann, attribute("tenant") == "ann")], envelope="sns")
            await world.until(lambda: not world.bodies())
        async with World() as world:
            await world.send(golden("s3_put"), golden("s3_delete"), golden("s3_test_event"))
            is_created = field("Records.0.eventName").startswith("ObjectCreated:")
            running = await world.start([(created, is_created), (other, None)])
            await world.until(lambda: not world.bodies())
            assert running.statistics().work.skipped == 1

    story()
    assert sorted(seen) == ["ObjectCreated:Put", "other ObjectRemoved:Delete", "seventh 7"]


def test_a_decoder_that_cannot_reach_something_is_retried_by_the_rule_for_its_error() -> None:
    ruled: list[tuple[Any, int, str]] = []

    def by_error(message: Message[Any], attempt: int, error: BaseException) -> float:
        ruled.append((message.body, attempt, str(error)))
        return 5.0

    def decode(received: Received) -> str:
        if received.receive_count < 3:
            raise ConnectionError("the registry is down")
        return received.body

    async def handle(order: Order) -> None:
        assert order == Order(7)

    @virtual
    async def story() -> float:
        async with World() as world:
            await world.send('{"id": 7}')
            await world.start(handle, envelope=decode, retry=Retries(on={OSError: by_error}))
            return await world.until(lambda: not world.bodies())

    assert 10 <= story() <= 12
    assert ruled == [(None, attempt, "the registry is down") for attempt in (1, 2)]


def test_log_records_have_the_message_of_sqs(golden: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MessageContext, "in_use", False)
    context = MessageContext()
    ids: list[str] = []

    async def handle(message: Message[Order]) -> None:
        record = logging.LogRecord("shop", logging.INFO, "", 1, "text", (), None)
        context.filter(record)
        ids.extend((message.id, vars(record)["message_id"]))

    @virtual
    async def story() -> str:
        async with World() as world:
            [sent] = await world.send(golden("sns"))
            await world.start(handle, envelope="sns")
            await world.until(lambda: not world.bodies())
            return sent

    sent = story()
    assert ids == [sent, sent]


@pytest.mark.parametrize(
    "options",
    [{}, {"batch": 3}, {"routed": True}, {"retry": lambda _message, attempt, _error: attempt}],
    ids=("single", "batch", "routed", "a function"),
)
@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_an_envelope_that_cannot_be_opened_now_costs_no_attempt(
    fifo: bool, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What it has to ask is down for five minutes; the queue allows one receive."""
    async with World(fifo=fifo, max_receives=1) as world:
        seen: list[tuple[str, int]] = []

        def unlock(received: Received) -> str:
            if world.now < 300 and received.body != "open":
                raise ConnectionError("the service of keys cannot be reached")
            return received.body

        async def one(message: Message[str]) -> None:
            seen.append((message.body, message.attempt))

        async def several(batch: Batch[str]) -> None:
            seen.extend((message.body, message.attempt) for message in batch)

        for number in range(6):
            await world.send("open" if number == 5 else str(number), group=str(number) if fifo else None)
        options = dict(options)
        routed = options.pop("routed", False)
        handler: Any = [(one, None)] if routed else several if "batch" in options else one
        consumer = await world.start(handler, envelope=unlock, max_attempts=1, **options)
        await world.until(lambda: seen == [("open", 1)], within=5)
        await world.until(lambda: len(seen) == 6, within=330, step=1)
        assert sorted(seen) == [*((str(number), 1) for number in range(5)), ("open", 1)]
        assert consumer.runner.context.ledger.statistics().received == 6
        assert world.bodies(world.dead_letters) == []
    told = next(each.getMessage() for each in caplog.records if "could not be reached" in each.getMessage())
    assert "unlock cannot be opened, because something could not be reached: the service of keys" in told
    assert " at 0x" not in told
