"""Another concurrency at run time: more handlers start at once, fewer end by themselves, and no message is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Batch, Closed, ConfigurationError, Consumer, Share
from leasekeeper.core.semaphore import WeightedSemaphore
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.engine.runner import Runner


class Gauge:
    """A handler that counts how many of it run, and ends when it is let go."""

    def __init__(self) -> None:
        self.running = self.most = self.done = 0
        self.free = asyncio.Event()

    async def __call__(self, _body: str) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.free.wait()
            await asyncio.sleep(0.1)
        finally:
            self.running -= 1
            self.done += 1

    async def batch(self, batch: Batch[str]) -> None:
        del batch
        await self("")


async def resize(concurrency: int, runner: Runner) -> str:
    return await runner.sizing.change(concurrency, runner.context.clock())


async def full(world: World, gauge: Gauge, count: int) -> None:
    """Wait until that many run, and see that no more start."""
    await world.until(lambda: gauge.running == count)
    await asyncio.sleep(5)
    assert gauge.running == count


@pytest.mark.parametrize(
    "options",
    [{}, {"dispatch": "pool"}, {"rate": 1000.0}, {"fair": True}, {"throttle": False}, {"prefetch": 5}],
    ids=["semaphore", "pool", "rate", "fair", "no-throttle", "prefetch"],
)
@virtual
async def test_more_and_fewer_handlers(options: dict[str, Any]) -> None:
    gauge = Gauge()
    async with World(1) as world:
        await world.send(*(str(number) for number in range(60)))
        running = await world.start(gauge, concurrency=2, visibility_timeout=60, **options)
        await full(world, gauge, 2)
        said = await resize(8, running.runner)
        assert said.startswith("concurrency was 2 and is 8: at most 8 handlers run at the same time")
        await full(world, gauge, 8)
        await resize(3, running.runner)
        assert gauge.running == 8  # none is ended
        gauge.free.set()
        await world.until(lambda: gauge.done >= 8)
        gauge.most = 0
        await world.until(lambda: gauge.done >= 40)
        assert gauge.most == 3
        assert running.statistics().concurrency == 3
        await world.until(lambda: gauge.done == 60)
        assert (await running.stop()).acked == 60


@virtual
async def test_more_groups_of_a_fifo_queue() -> None:
    gauge = Gauge()
    async with World(1, fifo=True) as world:
        for number in range(3):
            for group in "abcdef":
                await world.send(f"{number}", MessageGroupId=group, MessageDeduplicationId=f"{group}{number}")
        running = await world.start(gauge, concurrency=2, visibility_timeout=60)
        await full(world, gauge, 2)
        await resize(5, running.runner)
        await full(world, gauge, 5)
        gauge.free.set()
        await world.until(lambda: gauge.done == 18)
        assert (await running.stop()).acked == 18


@virtual
async def test_more_batches() -> None:
    gauge = Gauge()
    async with World(1) as world:
        await world.send(*(str(number) for number in range(40)))
        running = await world.start(gauge.batch, concurrency=1, batch=5, batch_wait=1, visibility_timeout=60)
        await full(world, gauge, 1)
        await resize(4, running.runner)
        await full(world, gauge, 4)
        gauge.free.set()
        await world.until(lambda: gauge.done == 8)
        assert (await running.stop()).acked == 40


@virtual
async def test_what_cannot_be_is_refused_before_anything_has_changed() -> None:
    gauge = Gauge()
    async with World(1) as world:
        running = await world.start(gauge, share=Share(concurrency=4))
        with pytest.raises(ConfigurationError, match=r"the handlers of this consumer are shared \(share=\)"):
            await resize(8, running.runner)
        await running.stop()
        running = await world.start(gauge, concurrency=4)
        for number in (0, 120_001):
            with pytest.raises(ConfigurationError, match="concurrency"):
                await resize(number, running.runner)
        assert running.statistics().concurrency == 4
        gauge.free.set()


def test_a_consumer_that_does_not_run_has_its_concurrency_from_its_options() -> None:
    consumer = Consumer("orders", Gauge())
    with pytest.raises(Closed, match="does not run: set concurrency= in its options instead"):
        consumer.set_concurrency(8)


def test_permits_below_those_that_are_out_come_back_first() -> None:
    permits = WeightedSemaphore(4)
    assert permits.acquire_up_to(4) == 4
    permits.resize(2)
    permits.release(1)
    assert (permits.available, permits.acquire_up_to(1)) == (-1, 0)
    permits.release(2)
    assert permits.acquire_up_to(5) == 1
