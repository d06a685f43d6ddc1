"""What a world promises to tests."""

from __future__ import annotations

import asyncio
import time

import pytest

from leasekeeper.testing.world import DEAD_LETTERS, World, virtual


async def _nothing(body: str) -> None:
    """Finishes at once."""


@virtual
async def test_a_day_of_an_idle_consumer_takes_less_than_a_few_seconds() -> None:
    began = time.perf_counter()
    async with World() as world:
        consumer = await world.start(_nothing)
        await asyncio.sleep(86_400)
        assert world.now == 86_400
        await consumer.stop()
    assert time.perf_counter() - began < 10


@virtual
async def test_the_block_ends_what_was_started_in_it() -> None:
    before = asyncio.all_tasks()
    async with World() as world:
        await world.send("a")

        async def handle(body: str) -> None:
            await asyncio.sleep(10_000)

        await world.start(handle)
        await asyncio.sleep(1)
    await asyncio.sleep(0.001)
    assert asyncio.all_tasks() == before


@virtual
async def test_a_world_shows_its_queues() -> None:
    async with World(max_receives=3) as world:
        ids = await world.send("a", "b")
        assert len(set(ids)) == 2
        assert world.bodies() == ["a", "b"]
        assert world.bodies(DEAD_LETTERS) == []
        await world.client.receive(world.queue_url, maximum=1, wait=0, visibility=5)
        assert (world.queue().visible, world.queue().in_flight) == (1, 1)
        await asyncio.sleep(5)
        assert world.queue().visible == 2
        assert "orders" not in repr(world) or "Runner" in repr(world)


@virtual
async def test_waiting_for_what_does_not_come_names_it() -> None:
    async with World() as world:
        with pytest.raises(AssertionError, match=r"not so within 5 s: .*test_world"):
            await world.until(lambda: False, within=5)
        assert world.now == pytest.approx(5, abs=0.1)


@virtual
async def test_a_condition_is_tried_after_what_happens_and_not_for_nothing_meanwhile() -> None:
    async with World() as world:
        tried = 0

        def shown() -> bool:
            nonlocal tried
            tried += 1
            return world.queue().visible == 1

        await world.send("a")
        await world.client.receive(world.queue_url, maximum=1, wait=0, visibility=500)
        assert await world.until(shown, step=0.01) == pytest.approx(500, abs=0.02), "no timer of the loop tells of it"
        assert tried < 600

        done: list[float] = []
        asyncio.get_running_loop().call_later(99.995, lambda: done.append(world.now))
        assert await world.until(lambda: done, step=0.01) == pytest.approx(done[0], abs=0.011)


def test_a_decorated_test_keeps_its_name_and_gives_its_value() -> None:
    @virtual
    async def answer(number: int) -> int:
        await asyncio.sleep(3_600)
        return number

    assert answer(42) == 42
    assert answer.__name__ == "answer"
