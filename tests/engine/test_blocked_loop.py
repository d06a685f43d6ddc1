"""A handler that blocks the event loop of all handlers, with real threads: what a stop gives back then (L24)."""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Batch, Consumer, Leasekeeper
from leasekeeper.events import HandlersEnded
from leasekeeper.local import Broker, LocalClient
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.local.model.queue import Queue
    from leasekeeper.observe.statistics import Report

LONG = 60.0
"""Seconds after which a condition is given up: far more than any takes, for slow machines."""


class Shop:
    """A queue in this process, and a handler that blocks in the middle of its step."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.started: list[str] = []
        self.entered, self.release = threading.Event(), threading.Event()

    def send(self, *bodies: str, queue: str = "orders", **more: str) -> Queue:
        fifo = {"Attributes": {"FifoQueue": "true"}} if queue.endswith(".fifo") else {}
        account = self.broker.account
        url = account.call("CreateQueue", {"QueueName": queue, **fifo}, 0.0)["QueueUrl"]
        for body in bodies:
            one = {"MessageDeduplicationId": body, **more} if fifo else more
            account.call("SendMessage", {"QueueUrl": url, "MessageBody": body, **one}, 0.0)
        return account.queues[queue]

    def block(self, body: str) -> None:
        self.started.append(body)
        self.entered.set()
        assert self.release.wait(LONG)

    def consumer(self, handler: Callable[..., Any], queue: str = "orders", **values: Any) -> Consumer:
        options = {"poll_grace": 0.0, "prefetch": 20, "throttle": False, "visibility_timeout": 600, "wait_time": 0}
        return Consumer(queue, handler, client=LocalClient(self.broker), **options | values)


def _all_in_flight(queue: Queue) -> bool:
    return queue.in_flight == len(queue)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.release.set()


def until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(int(LONG * 200)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not come to this")


@pytest.mark.parametrize("dispatch", ["semaphore", "pool"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_has_not_started_is_visible_at_once(shop: Shop, dispatch: str, concurrency: int) -> None:
    """L24: also what the loop has a task for already; the handler that blocks it goes on."""

    async def handle(body: str) -> None:
        shop.block(body)

    queue = shop.send(*map(str, range(10)))
    consumer = shop.consumer(handle, dispatch=dispatch, concurrency=concurrency, drain_timeout=LONG)
    consumer.start()
    assert shop.entered.wait(LONG)
    until(lambda: queue.in_flight == 10)
    ended = consumer.finish()
    until(lambda: queue.visible == 9)
    assert queue.in_flight == 1  # the one that runs
    now = consumer.statistics()
    assert now is not None
    assert now.lane.running == 1
    shop.release.set()
    report: Report = ended.result(LONG)
    assert (report.handled, report.acked, report.released, report.unsettled) == (1, 1, 9, 0)
    assert len(shop.started) == 1


def test_at_the_deadline_the_rest_goes_back_and_only_what_runs_is_counted(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """L24: with `on_unstarted='run'` messages wait for the end of the drain, and the loop is still blocked then."""

    async def handle(body: str) -> None:
        shop.block(body)

    queue = shop.send(*map(str, range(8)))
    consumer = shop.consumer(handle, concurrency=3, on_unstarted="run", drain_timeout=0)
    consumer.start()
    assert shop.entered.wait(LONG)
    until(lambda: queue.in_flight == 8)
    ended = consumer.finish()
    until(lambda: queue.visible == 7)
    shop.release.set()
    report = ended.result(LONG)
    assert (report.released, report.unsettled + report.acked, len(shop.started)) == (7, 1, 1)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [each for each in warnings if "handler" in each and "drain_timeout" in each] == warnings[:1]
    assert warnings[0].startswith("queue orders: 1 handler still runs after drain_timeout=0 s and cannot be ended;")


def test_a_second_request_to_stop_gives_back_what_the_first_left_to_run(shop: Shop) -> None:
    """L24: `stop(force=True)` does not wait for the loop either."""

    async def handle(body: str) -> None:
        shop.block(body)

    queue = shop.send(*map(str, range(8)))
    consumer = shop.consumer(handle, concurrency=3, on_unstarted="run", drain_timeout=LONG)
    consumer.start()
    assert shop.entered.wait(LONG)
    until(lambda: queue.in_flight == 8)
    consumer.finish()
    ended = consumer.finish(force=True)
    until(lambda: queue.visible == 7)
    shop.release.set()
    report = ended.result(LONG)
    assert (report.released, report.unsettled + report.acked, len(shop.started)) == (7, 1, 1)


def test_the_head_of_a_message_group_goes_back_too(shop: Shop) -> None:
    """L24: a group that waits for the blocked loop is whole again, and another consumer gets it in order."""

    async def handle(body: str) -> None:
        shop.block(body)

    for group in "abc":
        queue = shop.send(*(f"{group}{each}" for each in range(3)), queue="orders.fifo", MessageGroupId=group)
    consumer = shop.consumer(handle, "orders.fifo", concurrency=3, drain_timeout=LONG)
    consumer.start()
    assert shop.entered.wait(LONG)
    until(lambda: queue.in_flight == 9)
    ended = consumer.finish()
    until(lambda: queue.in_flight == 1)
    shop.release.set()
    report = ended.result(LONG)
    assert (report.acked, report.released, report.unsettled) == (1, 8, 0)

    seen: list[str] = []

    async def note(body: str) -> None:
        seen.append(body)

    second = shop.consumer(note, "orders.fifo")
    second.start()
    until(lambda: len(seen) == 8)
    second.stop().result(LONG)
    everything = shop.started + seen
    assert sorted(everything, key=lambda body: body[0]) == [f"{group}{each}" for group in "abc" for each in range(3)]


@pytest.mark.parametrize("queue_name", ["orders", "orders.fifo"])
def test_batches_that_wait_go_back_whole(shop: Shop, queue_name: str) -> None:
    """L24: bundles too are taken back from a blocked loop; the batch that runs stays."""

    async def handle(batch: Batch[str]) -> None:
        shop.block(batch.bodies[0])

    for group in "abc":
        more = {"MessageGroupId": group} if queue_name == "orders.fifo" else {}
        queue = shop.send(*(f"{group}{each}" for each in range(3)), queue=queue_name, **more)
    consumer = shop.consumer(handle, queue_name, concurrency=2, batch=3, batch_wait=0, drain_timeout=LONG)
    consumer.start()
    assert shop.entered.wait(LONG)
    until(lambda: queue.in_flight == 9)
    ended = consumer.finish()
    until(lambda: queue.in_flight <= 3)
    shop.release.set()
    report = ended.result(LONG)
    assert report.acked + report.released == 9
    assert 1 <= report.acked <= 3
    assert len(shop.started) == 1


def test_a_gate_before_the_lane_changes_nothing(shop: Shop) -> None:
    """L24: what waits at the gate and what it let through go back."""

    async def handle(body: str) -> None:
        shop.block(body)

    queue = shop.send(*map(str, range(8)))
    consumer = shop.consumer(handle, concurrency=4, rate=1000, fair=True, drain_timeout=LONG)
    consumer.start()
    assert shop.entered.wait(LONG)
    until(lambda: queue.in_flight == 8)
    ended = consumer.finish()
    until(lambda: queue.visible == 7)
    shop.release.set()
    assert ended.result(LONG).unsettled == 0


def test_threads_that_are_all_stuck_keep_only_what_they_run(shop: Shop) -> None:
    """L24: a `def` handler blocks its own thread; what waits for one goes back."""

    def handle(body: str) -> None:
        shop.block(body)

    queue = shop.send(*map(str, range(10)))
    consumer = shop.consumer(handle, threads=2, drain_timeout=LONG)
    consumer.start()
    until(lambda: len(shop.started) == 2)
    until(lambda: queue.in_flight == 10)
    ended = consumer.finish()
    until(lambda: queue.visible == 8)
    shop.release.set()
    report = ended.result(LONG)
    assert (report.acked, report.released, report.unsettled) == (2, 8, 0)


def test_a_thread_that_was_given_up_keeps_its_message_and_its_group(shop: Shop) -> None:
    """L24, L25: it is to run again here, but its thread still runs: given back, it could run beside it."""

    def handle(body: str) -> None:
        shop.block(body)

    shop.send("0", "1", "2", queue="orders.fifo", MessageGroupId="g")
    failed = threading.Event()
    options = {"handler_timeout": 0.05, "retry_base": LONG, "drain_timeout": 0}
    consumer = shop.consumer(handle, "orders.fifo", threads=2, **options)
    consumer.subscribe(lambda event: failed.set() if event.others else None, HandlersEnded)
    consumer.start()
    assert failed.wait(LONG)
    report = consumer.stop().result(LONG)
    assert (report.acked, report.released, report.unsettled) == (0, 2, 1)
    assert shop.started == ["0"]


class Quick:
    """A message that a lane starts at the worst moment: after the engine has seen that it has not started."""

    started = 0.0

    @property
    def lost(self) -> bool:
        return False

    @lost.setter
    def lost(self, lost: bool) -> None:
        self.started = 1.0
        self.changes = [*getattr(self, "changes", ()), lost]


@virtual
async def test_a_message_that_starts_while_it_is_taken_back_stays() -> None:
    """L24: the engine looks again after it has marked the message, and then takes the mark away."""
    async with World() as world:
        consumer = await world.start(_nothing)
        drain: Any = consumer.runner._drain
        quick = Quick()
        settled: list[object] = []
        drain._worker.unstarted, drain._settle = lambda: [quick], settled.append
        drain._take_back()
        assert quick.changes == [True, False]
        assert settled == []


async def _nothing(body: str) -> None: ...


def test_a_loop_that_turns_again_while_messages_are_taken_back_runs_none_twice(shop: Shop) -> None:
    """L24: each message is either run here or given back, never both; over and over, at the moment of the race."""
    runs: list[str] = []
    block = threading.Event()

    async def handle(body: str) -> None:
        runs.append(body)
        if not block.is_set():
            block.set()
            shop.entered.set()
            shop.release.wait(LONG)
        await asyncio.sleep(0)

    for turn in range(10):
        runs.clear()
        for event in (block, shop.entered, shop.release):
            event.clear()
        name = f"race-{turn}"
        queue = shop.send(*map(str, range(20)), queue=name)
        consumer = shop.consumer(handle, name, concurrency=10, drain_timeout=LONG)
        consumer.start()
        assert shop.entered.wait(LONG)
        until(partial(_all_in_flight, queue))
        ended = consumer.finish()
        threading.Timer(0.1 + turn * 0.001, shop.release.set).start()
        report = ended.result(LONG)
        assert report.unsettled == 0
        assert report.acked == len(runs) == len(set(runs))
        assert queue.visible == report.released == 20 - len(runs)


def test_what_piles_up_behind_a_blocked_loop_is_at_most_the_burst_of_a_rate(shop: Shop) -> None:
    """The rest waits at the gate, and what is received does not exceed what starts soon."""

    async def block(body: str) -> None:
        shop.block(body)

    async def handle(_: str) -> None:
        pass

    app = Leasekeeper(client=LocalClient(shop.broker), poll_grace=0.0, visibility_timeout=600, wait_time=0)
    app.consumer("other")(block)
    app.consumer("orders", rate=1000, burst=3, concurrency=500, prefetch=500)(handle)
    shop.send(queue="other")
    queue = shop.send()
    app.start()
    shop.send("block", queue="other")
    assert shop.entered.wait(LONG)
    shop.send(*map(str, range(100)))
    orders = app.consumers[1]
    until(lambda: (now := orders.statistics()) is not None and now.lane.waiting == 100)
    now = orders.statistics()
    assert now is not None
    gate = now.gate
    assert gate is not None
    assert gate.waiting == 97
    assert gate.tokens == 0
    shop.release.set()
    until(lambda: not len(queue))
    app.stop().result(LONG)
