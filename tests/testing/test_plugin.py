"""The pytest plugin and the calling of handlers without a queue."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from leasekeeper import (
    Batch,
    ConfigurationError,
    Consumer,
    HandlerTimeout,
    Message,
    Reject,
    Retries,
    Retry,
    Table,
    UndecodableBody,
)
from leasekeeper.routing import attribute, field
from leasekeeper.testing.handling import Handled, await_batch_handler, await_handler, run_batch_handler, run_handler
from leasekeeper.testing.suite_faults import SWITCHES, SuiteFaults
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from leasekeeper.local import LocalSqs

pytest_plugins = ["leasekeeper.testing.plugin"]


@dataclass
class Order:
    id: int


async def ship(order: Order) -> None:
    if order.id < 0:
        raise Reject("no such order")
    if order.id == 0:
        raise Retry(after=5)
    if order.id > 100:
        raise ValueError(order.id)


def test_a_handler_is_called_and_says_what_it_made_of_it(handle: Callable[..., Handled]) -> None:
    assert handle(ship, {"id": 7}).acked
    assert handle(ship, Order(7)).acked
    assert handle(ship, '{"id": 7}').acked
    assert handle(ship, {"id": -1}).rejected
    assert handle(ship, {"id": 0}).retried
    assert handle(ship, {"id": 0}).outcome.after == 5  # type: ignore[union-attr]  # a Retry
    failed = handle(ship, {"id": 101})
    assert failed.retried
    assert isinstance(failed.error, ValueError)
    assert not failed.acked


def test_a_body_that_cannot_be_decoded_is_rejected() -> None:
    handled = run_handler(ship, "no json")
    assert handled.rejected
    assert isinstance(handled.error, Reject)
    assert isinstance(handled.error.__cause__, UndecodableBody)


def test_a_plain_function_sees_attributes_and_counts() -> None:
    seen: list[Any] = []

    def take(message: Message[str]) -> None:
        seen.extend([message.attributes["tenant"].value, message.attributes["raw"].value, message.receive_count])
        seen.append(message.group_id)

    handled = run_handler(
        take, "x", attributes={"tenant": "a", "raw": b"b"}, receive_count=3, system={"MessageGroupId": "g"}
    )
    assert handled.acked
    assert seen == ["a", b"b", 3, "g"]


def test_what_is_said_early_stands() -> None:
    async def early(message: Message[str]) -> None:
        await message.ack()
        raise RuntimeError("after")

    handled = run_handler(early, "x")
    assert handled.acked
    assert not handled.retried
    assert isinstance(handled.error, RuntimeError)


def test_withholding_is_seen() -> None:
    def keep(message: Message[str]) -> None:
        message.withhold()

    assert run_handler(keep, "x").withheld


def test_the_time_out_strikes() -> None:
    async def slow(body: str) -> None:
        await asyncio.Event().wait()

    handled = run_handler(slow, "x", timeout=0.01)
    assert isinstance(handled.error, HandlerTimeout)


def test_middleware_is_around_it() -> None:
    async def shout(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        assert message.raw_body == "x"
        return await call_next(message)

    async def quiet(body: str) -> Retry:
        return Retry()

    assert run_handler(quiet, "x", middleware=[shout]).retried


def test_inside_a_loop_it_is_awaited() -> None:
    async def main() -> Handled:
        return await await_handler(ship, {"id": 7}, receive_count=2)

    assert asyncio.run(main()).acked


@pytest.mark.slow
def test_a_consumer_finds_the_local_sqs_through_the_environment(local_sqs: LocalSqs) -> None:
    import threading

    import boto3

    client = boto3.client("sqs")
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody='{"id": 7}')
    shipped = threading.Event()

    async def handler(order: Order) -> None:
        shipped.set()

    consumer = Consumer("orders", handler, wait_time=1, poll_grace=0)
    consumer.start()
    assert shipped.wait(60)
    assert consumer.stop().result().acked == 1
    assert len(local_sqs.broker.account.queues["orders"]) == 0


@pytest.mark.slow
def test_the_plugin_itself_imports_neither_engine_nor_client() -> None:
    """What it costs a test run that asks for no fixture is what `import leasekeeper` costs, and no more."""
    code = "import sys, leasekeeper; before = set(sys.modules); import pytest, leasekeeper.testing.plugin; "
    code += "print([each for each in set(sys.modules) - before if each.startswith('leasekeeper.')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert sorted(eval(shown)) == ["leasekeeper.testing", "leasekeeper.testing.plugin"]


class Line(pydantic.BaseModel):
    item: str = pydantic.Field(alias="articleName")


class Basket(pydantic.BaseModel):
    lines: list[Line]
    at: dt.date


def test_a_pydantic_model_is_a_body_also_within_others() -> None:
    basket = Basket(lines=[Line(articleName="pen")], at=dt.date(2026, 11, 28))
    seen: list[Any] = []

    def one(body: Basket) -> None:
        seen.append(body)

    def many(body: list[Basket]) -> None:
        seen.extend(body)

    assert run_handler(one, basket).acked
    assert run_handler(many, [basket]).acked
    assert seen == [basket, basket]


def test_a_body_that_cannot_be_encoded_is_refused_with_its_type() -> None:
    with pytest.raises(NotImplementedError, match="a body with a object cannot be encoded as JSON: give its text"):
        run_handler(ship, {"id": object()})


class Warehouse:
    shipped = 0


def test_a_handler_is_given_what_the_lifespan_yields() -> None:
    async def ship_from(order: int, warehouse: Warehouse) -> None:
        warehouse.shipped += order

    warehouse = Warehouse()
    assert run_handler(ship_from, 3, resources={"warehouse": warehouse}).acked
    assert warehouse.shipped == 3


def test_a_batch_handler_is_called_and_says_what_it_made_of_each_message() -> None:
    def load(batch: Batch[dict[str, str]]) -> list[Message[dict[str, str]]]:
        batch.reject(batch[1], "no such customer")
        batch.ack(batch[2])
        return [batch[3]]

    ann, unknown, acked, failed, bad = run_batch_handler(
        load, [{"customer": "ann"}, {"customer": "unknown"}, {"customer": "bob"}, {"customer": "eve"}, "no JSON"]
    )
    assert (ann.acked, unknown.rejected, acked.acked, failed.retried, bad.rejected) == (True,) * 5
    assert acked.said != ()


def test_a_coroutine_batch_handler_too_with_the_options_of_its_consumer() -> None:
    calls: list[int] = []

    async def load(bodies: list[int]) -> None:
        calls.append(len(bodies))
        if 2 in bodies:
            raise ValueError

    async def inside() -> list[Handled]:
        return await await_batch_handler(load, [1, 2, 3], on_batch_error="singly")

    for handled in (run_batch_handler(load, [1, 2, 3], on_batch_error="singly"), asyncio.run(inside())):
        assert [each.acked for each in handled] == [True, False, True]
    assert calls == [3, 1, 1, 1] * 2


async def created(order: int, warehouse: Warehouse) -> None:
    warehouse.shipped += order


async def other(body: dict[str, Any]) -> None: ...


@asynccontextmanager
async def warehouse(_: object) -> AsyncIterator[Warehouse]:
    yield Warehouse()


def test_a_consumer_shows_which_of_its_handlers_takes_a_message() -> None:
    consumer = Consumer("orders", created, when=attribute("type") == "created", lifespan=warehouse)
    consumer.add_handler(other, when=field("type") == "other")
    resources = Warehouse()
    handled = run_handler(consumer, 3, attributes={"type": "created"}, resources=resources)
    assert (handled.acked, handled.handler, resources.shipped) == (True, "created", 3)
    assert run_handler(consumer, {"type": "other"}, resources=resources).handler == "other"
    unmatched = asyncio.run(await_handler(consumer, {"type": "x"}, resources=resources))
    assert (unmatched.rejected, unmatched.handler) == (True, "")


def test_a_batch_handler_is_called_with_a_batch() -> None:
    def batch(bodies: list[str]) -> None: ...

    with pytest.raises(ConfigurationError, match="takes batches: call it with run_batch_handler"):
        run_handler(Consumer("orders", batch, batch=10), "x")


def test_the_rules_of_retries_say_what_becomes_of_an_error() -> None:
    retries = Retries(on={KeyError: Reject, ConnectionError: Table(5), TimeoutError: lambda *_: 7})

    def fail(kind: str) -> None:
        raise {"key": KeyError, "connection": ConnectionError, "time": TimeoutError, "other": ValueError}[kind](kind)

    consumer = Consumer("orders", fail, retry=retries)
    found = {kind: run_handler(consumer, kind) for kind in ("key", "connection", "time", "other")}
    assert {kind: (each.rejected, each.retried) for kind, each in found.items()} == {
        "key": (True, False),
        "connection": (False, True),
        "time": (False, True),
        "other": (False, True),
    }
    rules = {kind: getattr(each.outcome, "rule", None) for kind, each in found.items()}
    assert (rules["connection"], rules["time"], rules["other"]) == (Table(5), 7.0, None)


@virtual
async def test_worlds_have_faults_when_the_suite_runs_under_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pytest --leasekeeper-faults`; `soak` runs it."""

    async def handle(body: str) -> None: ...

    calls = {}
    for wanted in (False, True):
        monkeypatch.setattr(SuiteFaults, "wanted", wanted)
        async with World() as world:
            await world.send_many(100)
            await world.start(handle)
            await world.until(lambda: not world.bodies(), within=3600)
            calls[wanted] = sum(world.broker.calls[name] for name in SWITCHES)
    assert calls[True] > calls[False]
