"""A dispatch strategy at work, for the tests of dispatch."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.pool_dispatch import PoolDispatch
from leasekeeper.lanes.semaphore_dispatch import SemaphoreDispatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.dispatch import Strategy
    from leasekeeper.outcomes import Outcome


KINDS = ["semaphore", "pool"]
both = pytest.mark.parametrize("kind", KINDS)


class Scene:
    """A strategy at work, and all that it has said."""

    def __init__(self, kind: str, work: Callable[[str], Coroutine[Any, Any, Any]], concurrency: int = 3) -> None:
        loop = asyncio.get_running_loop()
        self.started: list[str] = []
        self.running = self.most = 0
        self.answers: list[tuple[str, Outcome]] = []
        self.strategy: Strategy[Delivery]

        async def handle(body: str) -> Any:
            self.started.append(body)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                return await work(body)
            finally:
                self.running -= 1

        run = partial(Handler(handle, queue="q").run, lambda _answer: True)

        def clock() -> float:
            return loop.time() + 1.0  # never 0.0, which a unit shows that has not started

        if kind == "pool":
            self.strategy = PoolDispatch(
                run, self.reply, clock, concurrency=concurrency, waiting_room=100, idle_timeout=10.0
            )
        else:
            self.strategy = SemaphoreDispatch(run, self.reply, clock, concurrency=concurrency)

    def reply(self, delivery: Delivery, outcome: Outcome) -> None:
        self.answers.append((delivery.received.body, outcome))

    def submit(self, deliver: Callable[..., Delivery], *bodies: str) -> list[Delivery]:
        rows = [deliver(each) for each in bodies]
        self.strategy.submit(rows)
        return rows

    @property
    def numbers(self) -> tuple[int, int, int]:
        now = self.strategy.statistics()
        return now.running, now.waiting, now.workers


async def second(_body: str) -> None:
    await asyncio.sleep(1)


async def stubborn(body: str) -> None:
    """Goes on for a second after it has been cancelled, and returns as if nothing had been."""
    try:
        await asyncio.sleep(60 if body == "stubborn" else 1)
    except asyncio.CancelledError:
        await asyncio.sleep(1)


async def awaits_a_cancelled_task(_body: str) -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


def handler_tasks() -> set[asyncio.Task[Any]]:
    """The tasks that handlers run in, or would; not the one that only watches for the loop's end."""
    return {task for task in asyncio.all_tasks() if task.get_name() == "leasekeeper-handler"}
