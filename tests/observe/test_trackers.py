"""Error trackers and log pipelines get from our records what they need: Sentry, OpenTelemetry's logs, structlog.

Each is imported by its test, so that only the worker which runs it pays for that.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import MessageContext, Reject
from leasekeeper.observe.tracing import Tracing
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentry_sdk.envelope import Envelope


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The events that Sentry would send."""
    import sentry_sdk
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.transport import Transport

    collected: list[Any] = []

    class Collected(Transport):
        def capture_envelope(self, envelope: Envelope) -> None:
            event = envelope.get_event()
            if event is not None:
                collected.append(event)

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=Collected,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration()],
    )
    yield collected
    sentry_sdk.get_client().close()
    sentry_sdk.init(default_integrations=False, auto_enabling_integrations=False)


async def _work(body: str) -> object:
    if body == "reject":
        return Reject("no such customer")
    raise ValueError(f"no stock for {body}")


async def _until_dead(count: int, *bodies: str) -> None:
    async with World(max_receives=5) as world:
        await world.send(*bodies)
        consumer = await world.start(_work, retry_base=1.0, max_attempts=3)
        await world.until(lambda: len(world.bodies(DEAD_LETTERS)) == count, within=600)
        await consumer.stop()


def test_sentry_gets_the_last_attempt_as_an_event_and_retries_as_breadcrumbs(events: list[Any]) -> None:
    virtual(_until_dead)(1, "tea")
    [event] = events
    assert event["level"] == "error"
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert (
        "at attempt 3; it was its last (`max_attempts`): it goes to the dead-letter queue"
        in event["logentry"]["formatted"]
    )
    assert "%s" in event["logentry"]["message"], "events are grouped by the sentence, not by the message's id"
    assert {name: event["extra"][name] for name in ("queue", "handler", "attempt", "error")} == {
        "queue": "orders",
        "handler": "_work",
        "attempt": 3,
        "error": "ValueError",
    }
    assert len(event["extra"]["message_id"]) == 36
    retries = [each for each in event["breadcrumbs"]["values"] if "is retried in" in each["message"]]
    assert [each["level"] for each in retries] == ["warning"] * 2


def test_sentry_gets_a_rejection_as_an_event(events: list[Any]) -> None:
    virtual(_until_dead)(1, "reject")
    [event] = events
    assert (event["level"], event["extra"]["error"]) == ("error", "Reject")
    assert "no such customer" in event["logentry"]["formatted"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the SDK, for its own handler
def test_opentelemetry_gets_the_fields_as_attributes_and_the_spans_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
    from opentelemetry.sdk.trace import TracerProvider

    monkeypatch.setattr(MessageContext, "in_use", False)
    kept, provider = InMemoryLogRecordExporter(), LoggerProvider()  # type: ignore[no-untyped-call]
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    handler = LoggingHandler(level=logging.INFO, logger_provider=provider)
    handler.addFilter(MessageContext())
    shop = logging.getLogger("shop")

    @virtual
    async def world() -> None:
        async def ship(body: str) -> None:
            shop.warning("shipping %s", body)
            raise ValueError(body)

        async with World() as world:
            await world.send("tea")
            consumer = await world.start(ship, retry_base=600.0, middleware=[Tracing(TracerProvider())])
            await world.until(lambda: consumer.statistics().work.failed == 1)
            await consumer.stop()

    root = logging.getLogger()
    root.addHandler(handler)
    try:
        world()
    finally:
        root.removeHandler(handler)
        provider.shutdown()
    records = [each.log_record for each in kept.get_finished_logs()]
    [ours] = [each for each in records if "failed with message" in str(each.body)]
    [theirs] = [each for each in records if each.body == "shipping tea"]
    found = dict(ours.attributes or {})
    assert (ours.severity_text, found["queue"], found["error"], found["attempt"]) == ("WARN", "orders", "ValueError", 1)
    assert found["exception.type"] == "ValueError"
    own = dict(theirs.attributes or {})
    assert (own["queue"], own["message_id"], own["attempt"]) == ("orders", found["message_id"], 1)
    assert own["trace_id"] == f"{theirs.trace_id:032x}"
    assert own["span_id"] == f"{theirs.span_id:016x}"


def test_structlog_gets_the_message_of_a_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    import structlog

    monkeypatch.setattr(MessageContext, "in_use", False)
    monkeypatch.setattr(MessageContext, "span_ids", None)
    written: list[Any] = []

    def keep(_logger: object, _method: str, event: Any) -> str:
        written.append(event)
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[MessageContext(), structlog.stdlib.add_log_level, keep])

    @virtual
    async def world() -> str:
        async def ship(body: str) -> None:
            log.info("shipping", body=body, queue="mine")
            await asyncio.to_thread(log.warning, "in a thread")

        async with World() as world:
            [message_id] = await world.send("tea")
            consumer = await world.start(ship)
            await world.until(lambda: not world.bodies())
            await consumer.stop()
        return message_id

    log.info("before")
    message_id = world()
    before, shipping, thread = written
    assert before == {"event": "before", "level": "info"}
    fields = {
        "handler": "world.<locals>.ship",
        "in_handler": True,
        "message_id": message_id,
        "receive_count": 1,
        "attempt": 1,
    }
    assert {**shipping, "handler": "world.<locals>.ship"} == {
        **fields,
        "event": "shipping",
        "level": "info",
        "body": "tea",
        "queue": "mine",
    }
    assert thread["message_id"] == message_id
