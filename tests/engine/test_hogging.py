"""Handlers that hog: with real threads and real time, no handler stops a heartbeat (L9)."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from leasekeeper.consumer import Consumer
from leasekeeper.local import Broker, LocalClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.observe.statistics import Report

VISIBILITY = 2
HOGGING = 1.5 * VISIBILITY
"""Seconds: a message whose heartbeats stop is delivered again in this time, even if the machine is busy."""


_pause_with_lock = ctypes.PyDLL(None).usleep  # a `PyDLL` keeps the interpreter's lock during its calls


def _compute(seconds: float) -> None:
    """Hold the interpreter's lock as a computation does, and leave the processor to the other tests.

    Each pause is as long as the engine's switch interval, so the lock is given up at the latest possible moment.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _pause_with_lock(1_000)


hogs = pytest.mark.parametrize("hog", [time.sleep, _compute], ids=["blocked", "busy"])

pytestmark = pytest.mark.slow


class Shop:
    """A broker with messages, one of body "a" unless others are given, and what its handler did."""

    def __init__(self, *bodies: str) -> None:
        self.broker = Broker()
        url = self.broker.account.call("CreateQueue", {"QueueName": "orders"}, 0.0)["QueueUrl"]
        for body in bodies or ("a",):
            self.broker.account.call("SendMessage", {"QueueUrl": url, "MessageBody": body}, 0.0)
        self.runs = Counter[str]()
        self.handled = threading.Event()

    @property
    def left(self) -> int:
        return len(self.broker.account.queues["orders"])

    def client(self) -> LocalClient:
        return LocalClient(self.broker)


def _kept(shop: Shop, report: Report) -> None:
    assert shop.runs == {"a": 1}
    assert (report.received, report.acked, report.lost) == (1, 1, 0)
    assert shop.left == 0


@hogs
def test_a_coroutine_that_hogs_its_loop_stops_no_heartbeat(hog: Callable[[float], None]) -> None:
    """L9: for longer than the visibility, by blocking or by computing: no redelivery."""
    shop = Shop()

    async def handle(body: str) -> None:
        shop.runs[body] += 1
        hog(HOGGING)
        shop.handled.set()

    consumer = Consumer("orders", handle, client=shop.client(), visibility_timeout=VISIBILITY, poll_grace=0)
    consumer.start()
    assert shop.handled.wait(30)
    _kept(shop, consumer.stop().result())


@hogs
def test_a_function_that_hogs_its_thread_stops_no_heartbeat(hog: Callable[[float], None]) -> None:
    """L9: the same for plain functions, which run in threads."""
    shop = Shop()

    def handle(body: str) -> None:
        shop.runs[body] += 1
        hog(HOGGING)
        shop.handled.set()

    consumer = Consumer("orders", handle, client=shop.client(), visibility_timeout=VISIBILITY, poll_grace=0)
    consumer.start()
    assert shop.handled.wait(30)
    _kept(shop, consumer.stop().result())


@pytest.mark.parametrize(("threads", "interval"), [(4, 0.005), (5, 0.001)])
def test_handlers_in_many_threads_let_the_engine_in_every_millisecond(threads: int, interval: float) -> None:
    """L9: with 5 ms, 32 handlers that compute made the engine wait for half a second, and leases were lost."""
    shop, seen = Shop(*map(str, range(threads))), list[float]()
    together = threading.Barrier(threads)
    before = sys.getswitchinterval()

    def handle(body: str) -> None:
        together.wait(30)
        seen.append(sys.getswitchinterval())
        if len(seen) == threads:
            shop.handled.set()

    sys.setswitchinterval(0.005)
    try:
        consumer = Consumer("orders", handle, client=shop.client(), poll_grace=0, threads=threads)
        consumer.start()
        assert shop.handled.wait(30)
        consumer.stop().result()
        assert [round(each, 6) for each in seen] == [interval] * threads
        assert round(sys.getswitchinterval(), 6) == 0.005
    finally:
        sys.setswitchinterval(before)


def test_a_handler_that_blocks_the_applications_own_loop_stops_no_heartbeat() -> None:
    """L9: also when the consumer was started inside the application's loop, and the stop waits in it too."""
    shop = Shop()

    async def handle(body: str) -> None:
        shop.runs[body] += 1
        time.sleep(HOGGING)  # noqa: ASYNC251 - what is tested
        shop.handled.set()

    async def main() -> Report:
        consumer = Consumer("orders", handle, client=shop.client(), visibility_timeout=VISIBILITY, poll_grace=0)
        async with consumer:
            await asyncio.to_thread(shop.handled.wait, 30)
            return await consumer.stop()

    _kept(shop, asyncio.run(main()))
