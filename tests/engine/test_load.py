"""How busy a consumer says it is: by handlers that have ended, and by those that run."""

from __future__ import annotations

import asyncio

import pytest

from leasekeeper.testing.world import World, virtual


@virtual
async def test_the_load_of_a_consumer_is_what_its_handlers_did() -> None:
    """40 messages of 2 s in 4 slots are 20 s of work for all; then nothing comes for 20 s."""
    async with World() as world:

        async def handle(_body: str) -> None:
            await asyncio.sleep(2)

        consumer = await world.start(handle, concurrency=4)
        began = world.now
        await world.send_many(40)
        await world.until(lambda: consumer.statistics().work.done == 40)
        busy = consumer.statistics().load
        assert busy.busy_seconds == pytest.approx(80, abs=0.5)
        assert busy.utilisation == pytest.approx(80 / 4 / (world.now - began), rel=0.02)
        assert busy.capacity == pytest.approx(2, rel=0.01)
        await asyncio.sleep(40 - (world.now - began))
        idle = consumer.statistics().load
        assert idle.utilisation == pytest.approx(0.5, rel=0.02)
        assert idle.rate == pytest.approx(1.0, rel=0.02)


@virtual
async def test_a_handler_counts_while_it_runs() -> None:
    async with World() as world:
        forever = asyncio.Event()

        async def handle(_body: str) -> None:
            await forever.wait()

        consumer = await world.start(handle, concurrency=4)
        await world.send_many(3)
        await asyncio.sleep(600)
        assert consumer.statistics().load.utilisation == pytest.approx(0.75, rel=0.01)
        await asyncio.sleep(600)
        assert consumer.statistics().load.utilisation == pytest.approx(0.75, rel=0.01)
        assert consumer.statistics().load.busy_seconds == 0.0
        forever.set()
        await world.until(lambda: consumer.statistics().work.done == 3)
        assert consumer.statistics().load.busy_seconds == pytest.approx(3600, rel=0.01)
