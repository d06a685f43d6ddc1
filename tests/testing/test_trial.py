"""Trials of apps in virtual time: what they send, what time does, dead letters, order, and what is cleaned up."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from leasekeeper import ConfigurationError, Consumer, Leasekeeper, Message, Reject, Retry, Sender
from leasekeeper.testing.clock import VirtualLoop, run_virtual
from leasekeeper.testing.handling import run_handler
from leasekeeper.testing.trial import Trial
from leasekeeper.testing.world import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

app = Leasekeeper(region="eu-west-1")


@app.consumer("orders")
async def ship(order: dict[str, Any], shipped: Annotated[Sender, "shipped"]) -> None:
    if order["id"] < 0:
        raise Reject("no such order")
    await shipped.send({"id": order["id"]})


@app.consumer("shipped")
async def tell(message: Message[dict[str, Any]], mails: Annotated[Sender, "mails.fifo"]) -> None:
    if message.receive_count == 1:
        raise Retry(after=7_200)
    mails.post(f"order {message.body['id']}", group="g")


@virtual
async def test_what_handlers_send_is_recorded_and_goes_on() -> None:
    async with Trial(app) as trial:
        await trial.send("orders", {"id": 1}, {"id": 2})
        await trial.advance(hours=1, minutes=59)
        assert trial.sent("shipped", dict) == [{"id": 1}, {"id": 2}]
        assert trial.sent("mails.fifo") == []
        await trial.advance(minutes=2)
        assert sorted(trial.sent("mails.fifo")) == sorted(trial.bodies("mails.fifo")) == ["order 1", "order 2"]
        assert 7_000 < trial.now < 7_300


@virtual
async def test_settled_waits_for_retries_and_dead_letters() -> None:
    async with Trial(app) as trial:
        await trial.send("orders", {"id": -1}, "no JSON")
        await trial.settled()
        assert sorted(trial.dead_letters("orders")) == ["no JSON", '{"id":-1}']
        assert trial.statistics("orders").outcomes
        with pytest.raises(ConfigurationError, match="there is no queue 'order' here: there are orders, orders-dead"):
            await trial.send("order", "x")


@virtual
async def test_what_is_not_settled_is_named_with_its_last_failure() -> None:
    app = Leasekeeper()

    @app.consumer("orders", retry_base=4, retry_maximum=4)
    async def ship(order: dict[str, Any]) -> int:
        return int(order["id"])

    async with Trial(app) as trial:
        await trial.send("orders", {})
        with pytest.raises(AssertionError) as caught:
            await trial.settled(within=1)
        assert re.fullmatch(
            r"1 message of orders is not settled after 1 s: '\{\}' "
            r"\(received 1 time, visible again in [1-4](\.\d+)? s; last failure KeyError: 'id'\)",
            str(caught.value),
        )
        await trial.send("orders", *range(4), delay=9)
        with pytest.raises(AssertionError, match=r"5 messages of orders .* visible in 8 s\), and 2 more$"):
            await trial.settled(within=1)


@virtual
async def test_a_plain_function_takes_no_time_however_busy_the_machine_is() -> None:
    """Its thread takes longer to start than many timers of the engine are long; the clock stands still meanwhile."""
    app, at = Leasekeeper(), list[float]()

    @app.consumer("orders", max_attempts=4)
    def ship(_: str) -> None:
        at.append(trial.now)
        time.sleep(0.02)
        raise Retry(after=60)

    async with Trial(app) as trial:
        await trial.send("orders", "1")
        await trial.settled()
        apart = [later - earlier for earlier, later in itertools.pairwise(at)]
        assert apart == pytest.approx([60.1] * 3, abs=0.001)  # `Retry(after=60)`, and a release every 0.1 s


def test_a_plain_function_may_wait_for_what_happens_later() -> None:
    """It is taken as blocked, and time passes until its gate opens: here after ten minutes, which take 0.6 s."""
    app, gate = Leasekeeper(), threading.Event()

    @app.consumer("orders")
    def ship(_: str) -> None:
        assert gate.wait(60)

    async def main() -> float:
        async with Trial(app) as trial:
            asyncio.get_running_loop().call_later(600, gate.set)
            await trial.send("orders", "1")
            await trial.settled()
            assert trial.statistics("orders").heartbeat.extended > 10
            return trial.now

    assert run_virtual(main(), loop=partial(VirtualLoop, grace=0.01)) >= 600


@virtual
async def test_a_lifespan_is_open_during_the_trial() -> None:
    story = []

    @asynccontextmanager
    async def lifespan(_: Leasekeeper) -> AsyncIterator[list[str]]:
        story.append("open")
        yield story
        story.append("close")

    own = Leasekeeper(lifespan=lifespan, region="eu-west-1")

    @own.consumer("a")
    async def one(body: str, log: list[str]) -> None:
        log.append(body)

    @own.consumer("b.fifo")
    async def other(message: Message[str], log: list[str]) -> None:
        log.append(f"{message.group_id} {message.body}")

    async with Trial(own, max_receives=None) as trial:
        await trial.send("a", "x", attributes={"n": "1", "b": b"2"}, delay=60)
        await trial.send("b.fifo", "1", "2", group="ann")
        await trial.settled()
        assert trial.now >= 60
    assert story == ["open", "ann 1", "ann 2", "x", "close"]


@virtual
async def test_faults_cost_nothing_but_time() -> None:
    async with Trial(app) as trial:
        trial.faults.set("ReceiveMessage", throttle=0.5)
        trial.faults.set("DeleteMessageBatch", fail_entries=0.5)
        await trial.send("orders", *({"id": number} for number in range(20)))
        await trial.settled()
        assert {each["id"] for each in trial.sent("shipped", dict)} == set(range(20))


@virtual
async def test_a_send_that_sqs_refuses_fails_the_handler() -> None:
    tries = []

    async def forward(body: str, to: Annotated[Sender, "other"]) -> None:
        tries.append(body)
        to.post(body)

    async with Trial(Consumer("orders", forward, region="eu-west-1")) as trial:
        trial.faults.set("SendMessageBatch", fail_entries=1.0)
        await trial.send("orders", "x")
        await trial.advance(seconds=5)
        trial.faults.set("SendMessageBatch")
        await trial.settled()
        assert trial.sent("other") == ["x"]
    assert len(tries) > 1


@virtual
async def test_a_trial_leaves_nothing_behind_when_a_test_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Trial(app) as trial:
            await trial.send("orders", {"id": 1})
            raise ZeroDivisionError
    assert len(asyncio.all_tasks()) == 1


def test_run_handler_tells_what_was_sent() -> None:
    handled = run_handler(app.consumers[0], {"id": 7})
    assert handled.sent == {"shipped": ['{"id":7}']}
    handled = run_handler(ship, {"id": 8})
    assert handled.acked
    assert handled.sent["shipped"] == ['{"id":8}']

    def wrong(body: str, to: Annotated[Sender, "q.fifo"]) -> None:
        to.post(body)

    assert "group" in str(run_handler(wrong, "x").error), "what SQS would refuse is refused here"
