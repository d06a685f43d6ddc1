"""Consumers that share their handlers: weights, strict priority, and queues that are empty, paused or failing."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer, QueueUnusable, Share
from leasekeeper.engine.host import Host
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.local import Broker, LocalClient
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Handlers:
    """Handlers of several queues that take a time each, and what they did."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.done = Counter[str]()
        self.ends: dict[str, list[float]] = {}

    def of(self, name: str, seconds: float) -> Callable[[str], Coroutine[None, None, None]]:
        async def handle(_: str) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.running -= 1
            self.done[name] += 1
            self.ends.setdefault(name, []).append(asyncio.get_running_loop().time())

        return handle


@virtual
async def test_two_queues_with_a_backlog_share_by_weight() -> None:
    """Three of four handlers, within 5%, and no more at once than there are."""
    async with World() as world:
        world.faults.set("ReceiveMessage", latency=0.01)
        share, handlers = Share(20), Handlers()
        await world.add_queue("other")
        await world.send_many(4000)
        await world.send_many(2000, queue="other")
        await world.start(handlers.of("orders", 0.5), share=share, weight=3)
        await world.start(handlers.of("other", 0.5), queue="other", share=share)
        await asyncio.sleep(5)
        before = handlers.done.copy()
        await asyncio.sleep(60)
        done = handlers.done - before
        assert done["orders"] / done["other"] == pytest.approx(3, rel=0.05)
        assert done.total() >= 0.9 * 60 * 20 / 0.5
        assert handlers.most == 20


@virtual
async def test_the_lower_priority_is_not_polled_while_the_higher_has_a_backlog_and_gets_everything_afterwards() -> None:
    async with World() as world:
        share, handlers = Share(10), Handlers()
        await world.add_queue("low")
        high = await world.start(handlers.of("high", 0.2), share=share, priority=1)
        low = await world.start(handlers.of("low", 0.2), queue="low", share=share, priority=2)
        await asyncio.sleep(1)
        await world.send_many(1000)
        await world.send_many(500, queue="low")
        await asyncio.sleep(1)
        received = low.statistics().receives.messages
        await world.until(lambda: world.queue().visible <= 50, within=100)
        assert low.statistics().receives.messages == received <= 10
        assert low.runner.healthy
        await world.until(lambda: not world.bodies("low"), within=100)
        assert handlers.ends["low"][-1] - handlers.ends["high"][-1] <= 1.15 * 500 * 0.2 / 10
        assert handlers.most == 10
        for consumer in high, low:
            assert (await consumer.stop()).unsettled == 0


@pytest.mark.parametrize("concurrency", [1, 5])
@virtual
async def test_an_empty_queue_of_a_higher_priority_keeps_no_handler_from_the_lower(concurrency: int) -> None:
    """Its long polls are open all the time. A message that one of them brings is the next to start."""
    async with World() as world:
        share, handlers = Share(concurrency), Handlers()
        await world.add_queue("low")
        await world.start(handlers.of("high", 1), share=share, priority=1)
        await world.start(handlers.of("low", 1), queue="low", share=share, priority=2)
        await world.send_many(1000, queue="low")
        await asyncio.sleep(100)
        assert handlers.done["low"] >= 0.9 * 100 * concurrency
        assert handlers.done["high"] == 0
        for _ in range(10):
            await world.send("a")
            sent = world.now
            count = handlers.done["high"] + 1
            await world.until(partial(lambda count: handlers.done["high"] == count, count), within=5)
            assert world.now - sent <= 2.1
        assert handlers.most == concurrency


@virtual
async def test_leases_are_kept_while_messages_wait_for_a_handler_of_the_share() -> None:
    async with World() as world:
        share, handlers = Share(2), Handlers()
        await world.add_queue("low")
        consumers = [
            await world.start(handlers.of("high", 1), share=share, priority=1, visibility_timeout=2),
            await world.start(handlers.of("low", 30), queue="low", share=share, priority=2, visibility_timeout=2),
        ]
        await asyncio.sleep(25)
        await world.send_many(4, queue="low")
        await asyncio.sleep(1)
        await world.send_many(5)
        await world.until(lambda: handlers.done == {"high": 5, "low": 4}, within=200)
        for consumer in consumers:
            report = await consumer.stop()
            assert (report.lost, report.known_duplicates, report.unsettled) == (0, 0, 0)


@virtual
async def test_a_consumer_that_is_paused_stopped_or_failing_leaves_the_others_alone() -> None:
    async with World() as world:
        share, handlers = Share(4), Handlers()
        await world.add_queue("low")
        await world.send_many(3000)
        await world.send_many(3000, queue="low")
        receive, failing = world.client.receive, False

        async def fail(url: str, **values: Any) -> Any:
            if failing and url.endswith("orders"):
                raise SqsError(Verdict.UNAVAILABLE, "ServiceUnavailable", "not now")
            return await receive(url, **values)

        world.client.receive = fail  # type: ignore[method-assign,assignment]  # faults are those of all queues
        high = await world.start(handlers.of("high", 1), share=share, priority=1)
        await world.start(handlers.of("low", 1), queue="low", share=share, priority=2)
        for pausing in True, False:
            await asyncio.sleep(20)
            before = handlers.done["low"]
            if pausing:
                high.runner.pause()
            else:
                failing = True
            await asyncio.sleep(20)
            assert handlers.done["low"] - before >= 0.8 * 4 * 18
            high.runner.resume()
            failing = False
            await asyncio.sleep(30)
            before = handlers.done["low"]
            await asyncio.sleep(20)
            assert handlers.done["low"] == before
        assert (await high.stop()).unsettled == 0
        before = handlers.done["low"]
        await asyncio.sleep(20)
        assert handlers.done["low"] - before >= 0.9 * 4 * 18


@virtual
async def test_handlers_that_a_stop_leaves_behind_keep_no_slot() -> None:
    async with World() as world:
        share, handlers = Share(2), Handlers()
        await world.add_queue("low")
        await world.send_many(2)

        release = asyncio.Event()

        async def never(_: str) -> None:
            while not release.is_set():
                with suppress(asyncio.CancelledError):
                    await release.wait()

        high = await world.start(never, share=share, drain_timeout=1)
        await asyncio.sleep(1)
        await high.stop()
        await world.start(handlers.of("low", 1), queue="low", share=share)
        await world.send_many(10, queue="low")
        await world.until(lambda: handlers.done["low"] == 10, within=20)
        release.set()


@virtual
async def test_a_rate_within_a_share_leaves_the_rest_to_the_others() -> None:
    async with World() as world:
        share, handlers = Share(10), Handlers()
        await world.add_queue("low")
        await world.send_many(1000)
        await world.send_many(3000, queue="low")
        await world.start(handlers.of("high", 0.5), share=share, priority=1, rate=4, burst=1)
        await world.start(handlers.of("low", 0.5), queue="low", share=share, priority=2)
        await asyncio.sleep(100)
        assert handlers.done["high"] == pytest.approx(400, rel=0.05)
        assert handlers.done["low"] >= 0.8 * (100 * 20 - 400)


def note(names: list[str], name: str) -> Callable[[str], Coroutine[None, None, None]]:
    async def handle(_: str) -> None:
        names.append(name)
        await asyncio.sleep(0.1)

    return handle


@virtual
async def test_after_a_pause_no_message_of_a_lower_priority_runs_before_the_higher_ones() -> None:
    """Receives take 0.05 s; both are resumed in one moment."""
    async with World() as world:
        share, order = Share(4), list[str]()
        await world.add_queue("low")
        world.faults.set("ReceiveMessage", latency=0.05)
        high = await world.start(note(order, "high"), share=share, priority=1, wait_time=1)
        low = await world.start(note(order, "low"), queue="low", share=share, priority=2, wait_time=1)
        for consumer in high, low:
            consumer.runner.pause()
        await asyncio.sleep(5)
        await world.send_many(200)
        await world.send_many(200, queue="low")
        for consumer in high, low:
            consumer.runner.resume()
        await world.until(lambda: "low" in order, within=60)
        assert order.index("low") >= 197  # the last of them still run


@virtual
async def test_the_first_receive_of_a_higher_priority_is_waited_for() -> None:
    """It takes 0.8 s, as the first one through new connections may; a queue that does not answer is waited for 1 s."""
    async with World() as world:
        order, share = list[str](), Share(4)
        await world.add_queue("low")

        async def start() -> None:
            await world.send_many(40)
            await world.send_many(40, queue="low")
            consumers = await asyncio.gather(
                world.start(note(order, "high"), share=share, priority=1),
                world.start(note(order, "low"), queue="low", share=share, priority=2),
            )
            await world.until(lambda: order, within=60)
            began.append(world.now)
            await world.until(lambda: len(order) == 80, within=60)
            for consumer in consumers:
                await consumer.stop()

        began = [world.now]
        world.faults.next("ReceiveMessage", latency=0.8)
        await start()
        assert order.index("low") >= 37
        order.clear()
        began = [world.now]
        world.faults.next("ReceiveMessage", hang=1.0)
        await start()
        assert order[0] == "low"
        assert 1 <= began[1] - began[0] <= 1.1


@pytest.mark.parametrize("fails", [False, True])
def test_a_consumer_that_starts_waits_for_those_of_higher_priority_that_start_with_it(*, fails: bool) -> None:
    """The lower one is ready first, because the queue of the other takes longer to open."""
    broker = Broker()
    opened, order = threading.Event(), list[str]()
    for name in "high", "low":
        url = broker.account.call("CreateQueue", {"QueueName": name}, 0.0)["QueueUrl"]
        for _ in range(8):
            broker.account.call("SendMessage", {"QueueUrl": url, "MessageBody": name}, 0.0)

    class Slow(LocalClient):
        async def queue_url(self, name: str, *, account: str | None = None) -> str:
            await asyncio.to_thread(opened.wait, 60)
            if fails:
                raise SqsError(Verdict.MISSING, "QueueDoesNotExist", "it has gone")
            return await super().queue_url(name, account=account)

    host = Host("shared")
    share, done = Share(2), threading.Event()

    async def handle(body: str) -> None:
        order.append(body)
        if order.count("low") == 8:
            done.set()

    options: dict[str, Any] = {"share": share, "host": host, "poll_grace": 0.0, "wait_time": 1}
    high = Consumer("high", handle, client=Slow(broker), priority=1, **options)
    low = Consumer("low", handle, client=LocalClient(broker), priority=2, **options)
    starting = high.begin()
    low.start().result(60)
    opened.set()
    if fails:
        with pytest.raises(QueueUnusable):
            starting.result(60)
    assert done.wait(60)
    low.stop()
    if not fails:
        high.stop()
        assert order.index("low") >= 6
        assert order.count("high") == 8
