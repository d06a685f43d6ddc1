"""The records that handlers write name their message, where the filter is used; elsewhere nothing is set."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import MessageContext
from leasekeeper.cli.logs import JsonFormatter, PlainFormatter
from leasekeeper.events import HandlersEnded
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.message_context import MESSAGE
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("shop")


class Records(logging.Handler):
    """Keeps records, after the filter."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(record)

    def of(self, sentence: str) -> list[tuple[Any, ...]]:
        """The fields of the records with that sentence."""
        return [
            tuple(getattr(each, name, None) for name in ("queue", "handler", "receive_count", "args"))
            for each in self.all
            if each.msg == sentence
        ]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    monkeypatch.setattr(MessageContext, "in_use", False)
    found = Records()
    found.addFilter(MessageContext())
    root = logging.getLogger()
    root.addHandler(found)
    yield found
    root.removeHandler(found)


async def _ship(body: str) -> None:
    log.warning("ship %s", body)
    await asyncio.gather(_pack(body), asyncio.to_thread(log.warning, "in a thread %s", body))


async def _pack(body: str) -> None:
    await asyncio.sleep(1)
    log.warning("in a task %s", body)


@pytest.mark.parametrize("dispatch", ["semaphore", "pool"])
@virtual
async def test_what_a_coroutine_logs_names_its_message_also_in_tasks_and_threads(
    records: Records, dispatch: Any
) -> None:
    def subscriber(_event: HandlersEnded) -> None:
        log.warning("subscriber")

    async with World() as world:
        await world.send_many(6)
        consumer = await world.start(_ship, concurrency=2, dispatch=dispatch)
        consumer.events.subscribe(subscriber, HandlersEnded)
        await world.until(lambda: not world.bodies(), within=60)
        await consumer.stop()

    for sentence in ("ship %s", "in a task %s", "in a thread %s"):
        found = records.of(sentence)
        assert len(found) == 6, sentence
        assert {each[:3] for each in found} == {("orders", "_ship", 1)}
    ids = {(record.args, record.message_id) for record in records.all if hasattr(record, "in_handler")}
    assert len(ids) == len({message_id for _, message_id in ids}) == 6  # each body has one id, in all its records
    assert {each[:3] for each in records.of("subscriber")} == {(None, None, None)}  # runs in the engine


def _fail_once(message: Message[str]) -> None:
    log.warning("ship %s", message.body, extra={"queue": "mine"})
    if message.receive_count == 1:
        raise ValueError(message.body)


@virtual
async def test_what_a_function_logs_names_its_message_and_nothing_else_does(records: Records) -> None:
    async with World() as world:
        await world.send_many(5)
        consumer = await world.start(_fail_once, retry_base=0.5)
        await world.until(lambda: not world.bodies(), within=60)
        await consumer.stop()
    assert {each[:2] for each in records.of("ship %s")} == {("mine", "_fail_once")}  # a field that a record has stays
    assert len({record.message_id for record in records.all if record.msg == "ship %s"}) == 5
    assert not [record for record in records.all if record.name != "shop" and hasattr(record, "in_handler")]


@virtual
async def test_without_the_filter_no_context_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MessageContext, "in_use", False)
    seen: list[object] = []

    async def handle(_body: str) -> None:
        seen.append(MESSAGE.get())

    async with World() as world:
        await world.send_many(2)
        consumer = await world.start(handle)
        await world.until(lambda: len(seen) == 2, within=10)
        await consumer.stop()
    assert seen == [None, None]


@virtual
async def test_the_lines_of_run_name_the_message(records: Records) -> None:
    async with World() as world:
        await world.send("a")
        consumer = await world.start(_ship)
        await world.until(lambda: not world.bodies(), within=10)
        await consumer.stop()
    record = next(record for record in records.all if record.msg == "ship %s")
    plain = PlainFormatter().format(record)
    assert plain.endswith(
        f"WARNING shop: ship a [queue=orders handler=_ship message_id={record.message_id} receive_count=1 attempt=1]"
    )
    line = json.loads(JsonFormatter().format(record))
    assert {name: line.get(name) for name in ("queue", "handler", "message_id", "receive_count", "in_handler")} == {
        "queue": "orders",
        "handler": "_ship",
        "message_id": record.message_id,
        "receive_count": 1,
        "in_handler": None,
    }
