"""A simulation of a FIFO queue with handlers in threads that may ack early, and stay beyond their time-out.

A thread waits until the world lets it go on, at a virtual time. So this is no simulation that repeats to the
microsecond; what must hold does not depend on that: no message of a group starts while a thread is at work in it.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from conditions import SILENT

from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.testing.clock import VirtualLoop, run_virtual
from leasekeeper.testing.world import START, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.option_values import OptionValues

MESSAGES = 8
TIMEOUT = 2.0
GRACE = 0.02
"""Real seconds after which a thread is taken as blocked: here many are, on purpose."""


def simulate_threads(seed: int) -> list[str]:
    """What broke, in words; empty if nothing did."""
    return run_virtual(_Threads(seed).run(), start=START, loop=partial(VirtualLoop, grace=GRACE))


class _Threads:
    def __init__(self, seed: int) -> None:
        self._random = Random(f"threads {seed}")
        self._violations: list[str] = []
        self._at_work: dict[str, str] = {}
        self._lock = threading.Lock()

    async def run(self) -> list[str]:
        async with World(fifo=True) as world:
            consumers = [await world.start(self._handler(), **_OPTIONS) for _ in range(2)]
            for number in range(MESSAGES):
                await world.send(str(number), group=f"g{number % 2}")
                await asyncio.sleep(self._random.choice((0.0, 1.0, 5.0)))
            await world.until(lambda: not world.bodies(), within=2_000.0, step=1.0)
            for consumer in consumers:
                await consumer.stop()
        return self._violations

    def _handler(self) -> Callable[[Message[str]], None]:
        loop, calm = asyncio.get_running_loop(), set[str]()

        def handle(message: Message[str]) -> None:
            group, body = message.group_id or "", message.body
            with self._lock:
                if group in self._at_work:
                    self._violations.append(f"{body} started while {self._at_work[group]} was at work in {group}")
                self._at_work[group] = body
                acks, stays = self._random.random() < 0.5, body not in calm and self._random.random() < 0.5
                calm.add(body)
            if acks:
                message.ack()
            if stays:  # longer than its time-out
                go_on = threading.Event()
                loop.call_soon_threadsafe(loop.call_later, 5 * TIMEOUT, go_on.set)
                go_on.wait(60)
            with self._lock:
                self._at_work.pop(group, None)

        return handle


_OPTIONS: OptionValues = {
    "concurrency": 3,
    "handler_timeout": TIMEOUT,
    "visibility_timeout": 30,
    "wait_time": 5,
    "local_retry_limit": 300.0,
    "logger": SILENT,
}
