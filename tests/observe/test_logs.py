"""What operators read: sentences with fields, levels that fit, and one line for each change of health."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import traceback
from dataclasses import asdict
from typing import Any

import pytest
import structlog

from leasekeeper.api import EntryFailure
from leasekeeper.channel import Channel
from leasekeeper.consumer import Consumer
from leasekeeper.errors import Verdict
from leasekeeper.events import Conclusion, EntriesFailed, HandlersEnded, HealthChanged
from leasekeeper.message import Received
from leasekeeper.observe.logs import Logs
from leasekeeper.outcomes import Failed, Reject, Retry
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual


def records(caplog: pytest.LogCaptureFixture, *, level: int = logging.INFO, having: str = "") -> list[Any]:
    return [record for record in caplog.records if record.levelno >= level and having in record.getMessage()]


async def _broken(_body: str) -> None:
    raise ValueError("no stock")


@virtual
async def _run(caplog: pytest.LogCaptureFixture, receives: int) -> list[Any]:
    with caplog.at_level(logging.INFO):
        async with World(max_receives=receives) as world:
            await world.send("a")
            consumer = await world.start(_broken, retry_base=1.0)
            await world.until(lambda: world.bodies(DEAD_LETTERS), within=60)
            await consumer.stop()
    return records(caplog, having="failed with message")


def test_a_failure_names_queue_handler_message_and_count_in_words_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    first, last = _run(caplog, 2)
    assert first.getMessage().startswith("queue orders: handler _broken failed with message ")
    assert "at attempt 1; the message is retried in " in first.getMessage()
    assert (first.levelno, first.queue, first.handler, first.receive_count) == (logging.WARNING, "orders", "_broken", 1)
    assert (first.error, len(first.message_id)) == ("ValueError", 36)
    assert last.levelno == logging.ERROR


def test_the_last_allowed_receive_is_an_error_and_says_what_comes_next(caplog: pytest.LogCaptureFixture) -> None:
    (last,) = _run(caplog, 1)
    assert last.levelno == logging.ERROR
    assert "it was its last: the queue's redrive policy moves the message next" in last.getMessage()
    assert "is retried" not in last.getMessage()


@virtual
@pytest.mark.parametrize(
    ("raised", "options", "words"),
    [
        (Retry(after=1), {}, " asked for a retry of message "),
        (ValueError("no stock"), {"retry": lambda *_: Retry(after=1)}, " failed with message "),
    ],
)
async def test_a_retry_at_the_last_allowed_receive_is_an_error_too(
    caplog: pytest.LogCaptureFixture, raised: Exception, options: dict[str, Any], words: str
) -> None:
    async def ship(_: str) -> None:
        raise raised

    async with World(max_receives=3) as world:
        await world.send("a")
        consumer = await world.start(ship, **options)
        await world.until(lambda: world.bodies(DEAD_LETTERS), within=60)
        await consumer.stop()
    (line,) = records(caplog, level=logging.WARNING, having="message ")
    assert line.levelno == logging.ERROR
    assert words in line.getMessage()
    assert line.getMessage().endswith(
        " at attempt 3; it was its last: the queue's redrive policy moves the message next"
    )


def _broken_thread(_: str) -> None:
    raise ValueError("no table")


@virtual
@pytest.mark.parametrize("handler", [_broken, _broken_thread])
async def test_a_traceback_begins_with_the_handler(caplog: pytest.LogCaptureFixture, handler: Any) -> None:
    async with World() as world:
        await world.send("b")
        consumer = await world.start(handler, retry_base=100)
        await world.until(lambda: consumer.statistics().work.failed == 1)
    (record,) = records(caplog, having="failed with message")
    frames = traceback.extract_tb(record.exc_info[2])
    assert [frame.name for frame in frames] == [handler.__name__]


@virtual
async def test_an_undecodable_body_and_a_queue_without_a_redrive_policy_are_called_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def load(_: int) -> None: ...

    async with World() as world:
        await world.send("no number")
        consumer = await world.start(load)
        await world.until(lambda: consumer.statistics().work.undecodable == 1)
    (line,) = records(caplog, having="cannot be decoded for handler")
    assert "rejected" not in line.getMessage()
    assert line.getMessage().endswith("comes again, because the queue has no redrive policy, as far as is known")
    assert line.exc_info is None


@virtual
async def test_a_batch_that_fails_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def load(bodies: list[str]) -> None:
        raise ValueError("no table")

    async with World() as world:
        await world.send_many(20)
        consumer = await world.start(load, batch=20, retry_base=100)
        await world.until(lambda: consumer.statistics().work.failed == 20)
    (line,) = records(caplog, having="failed with message")
    assert line.getMessage().endswith("; 19 more messages ended in the same way")


@virtual
async def test_turning_unhealthy_and_recovering_is_said_once_each(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with World() as world:
            consumer = await world.start(_broken, wait_time=1)
            world.faults.set("ReceiveMessage", deny=1.0)
            await asyncio.sleep(120)
            world.faults.clear()
            await asyncio.sleep(60)
            await consumer.stop()
    said = [r.getMessage() for r in records(caplog, having="healthy")]
    assert len(said) == 2
    assert said[0].startswith("queue orders: unhealthy: ReceiveMessage: AccessDenied")
    assert "allow sqs:ReceiveMessage on this queue to the consumer's credentials" in said[0]
    assert said[1] == "queue orders: healthy again"


@virtual
async def test_a_logger_that_raises_costs_neither_a_slot_nor_the_consumer() -> None:
    """L15: every log call of a failing handler and of a failing receive raises; all messages are handled."""

    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(record.getMessage())

    logger = logging.Logger("bad")  # noqa: LOG001 - of this test alone, with no other handlers
    logger.addHandler(Bad())
    handled: list[str] = []

    async def handle(body: str) -> None:
        handled.append(body)
        if len(handled) <= 10:
            raise ValueError(body)

    async with World() as world:
        world.faults.next("ReceiveMessage", times=3, unavailable=1.0)
        await world.send_many(20)
        consumer = await world.start(handle, logger=logger, concurrency=2, prefetch=0, retry_base=0.1)
        await world.until(lambda: not world.bodies(), within=300)
        assert consumer.statistics().work.done == 20
        assert consumer.events.failures["RuntimeError"] >= 5
        await consumer.stop()


def test_a_line_that_cannot_be_logged_costs_no_other_line_of_its_event() -> None:
    """L15: ten handlers failed together, and the log refuses the second line."""
    written: list[str] = []

    class Picky(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if len(written) == 1:
                written.append("refused")
                raise RuntimeError(record.getMessage())
            written.append(record.getMessage())

    logger = logging.Logger("picky")  # noqa: LOG001 - of this test alone
    logger.addHandler(Picky())
    channel = Channel()
    Logs(channel, logger)
    ended = [
        Conclusion(Received(message_id=f"m{number}", receipt="r"), "work", Failed(ValueError()), "failed", after=1.0)
        for number in range(10)
    ]
    channel.emit(HandlersEnded("orders", 0, (), ended))
    assert len(written) == 10
    assert "m9" in written[-1]
    failure = EntryFailure(Verdict.DENIED, "AccessDenied", "no", sender_fault=True)
    written[1:] = []
    refused = [(f"m{number}", failure) for number in range(10)]
    channel.emit(EntriesFailed("orders", "DeleteMessageBatch", refused, given_up=True))
    assert len(written) == 11
    assert "Allow sqs:DeleteMessage" in written[-1]
    assert channel.failures == {"RuntimeError": 2}


@virtual
async def test_statistics_are_json_from_the_first_moment_and_after_work() -> None:
    async def handle(_body: str) -> None:
        """Finishes at once."""

    async with World() as world:
        consumer = await world.start(handle)
        fresh = json.loads(json.dumps(asdict(consumer.statistics()), allow_nan=False))
        assert fresh["ledger"]["smallest_margin"] is None
        await world.send_many(5)
        await world.until(lambda: not world.bodies())
        later = json.loads(json.dumps(asdict(consumer.statistics()), allow_nan=False))
        assert (later["work"]["done"], later["acks"]["confirmed"], later["receives"]["messages"]) == (5, 5, 5)
        assert later["ledger"]["held"] == dict.fromkeys(fresh["ledger"]["held"], 0)
        await consumer.stop()


@virtual
async def test_a_copy_carries_all_attributes_and_says_why_where_from_and_how_often() -> None:
    """L30: also when the handler asked for a few attributes only, or for none."""
    for names in (("trace",), ()):
        async with World(max_receives=5) as world:
            attributes = {name: {"DataType": "String", "StringValue": name} for name in ("trace", "tenant")}
            await world.send("a", MessageAttributes=attributes)

            async def handle(_body: str) -> None:
                raise Reject("no such customer\x1b[31m\nat all")

            consumer = await world.start(handle, message_attributes=names)
            await world.until(functools.partial(world.bodies, DEAD_LETTERS), within=30)
            (copy,) = world.queue(DEAD_LETTERS).contents()
            copied = {name: value["StringValue"] for name, value in copy.content.attributes.items()}
            assert {name: copied[name] for name in ("trace", "tenant")} == {"trace": "trace", "tenant": "tenant"}
            failure = json.loads(copied["leasekeeper.failure"])
            assert (failure["queue"], failure["receives"]) == (world.broker.account.arn("orders"), 1)
            assert failure["message"] == "no such customer\\x1b[31m at all"
            await consumer.stop()


@virtual
async def test_a_copy_of_a_message_with_ten_attributes_is_made_without_more() -> None:
    """L30: SQS takes ten; what the message had comes first."""
    async with World(max_receives=5) as world:
        attributes = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(10)}
        await world.send("a", MessageAttributes=attributes)

        async def handle(_body: str) -> None:
            raise Reject("never")

        consumer = await world.start(handle)
        await world.until(lambda: world.bodies(DEAD_LETTERS), within=30)
        (copy,) = world.queue(DEAD_LETTERS).contents()
        assert set(copy.content.attributes) == set(attributes)
        await consumer.stop()


@pytest.mark.parametrize("kind", [structlog.stdlib.BoundLogger, structlog.make_filtering_bound_logger(logging.INFO)])
def test_a_logger_of_structlog_can_be_the_logger_of_a_consumer(kind: Any) -> None:
    """It is none of `logging`'s, and the second kind has no `isEnabledFor`."""
    taken = structlog.testing.CapturingLogger()
    logger: Any = structlog.wrap_logger(taken, wrapper_class=kind, processors=[])
    Consumer("orders", _broken, logger=logger)
    channel = Channel()
    Logs(channel, logger, 10)
    channel.emit(HealthChanged("orders", healthy=False, reason="no receive"))
    assert [call.kwargs["extra"] for call in taken.calls if call.method_name == "error"] == [{"queue": "orders"}]
