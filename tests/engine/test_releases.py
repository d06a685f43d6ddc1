"""Releases beside extensions, and what a stop makes of both (L5, L22, L24)."""

from __future__ import annotations

import asyncio

import pytest

from leasekeeper import Retry
from leasekeeper.testing.world import World, virtual

CHANGE = "ChangeMessageVisibilityBatch"


async def long(_body: str) -> None:
    await asyncio.sleep(400)


@virtual
async def test_a_stop_sends_every_release_although_extensions_are_out() -> None:
    """L22, L24: 400 extensions are on their way as the stop comes; it waits for no timer, and leaves nothing."""
    async with World() as world:
        await world.send_many(400)
        consumer = await world.start(long, concurrency=400, visibility_timeout=30, prefetch=0, throttle=False)
        await asyncio.sleep(14.5)
        world.faults.set(CHANGE, latency=1.0)
        await asyncio.sleep(1)
        assert consumer.statistics().extensions.in_flight > 30
        stopped = world.now
        report = await consumer.stop(force=True)
        assert world.now - stopped < 4
        assert (report.released, report.unsettled) == (400, 0)
        assert world.queue().visible == 400


@pytest.mark.parametrize("messages", [3, 325])
@virtual
async def test_a_stop_waits_for_no_batch_of_extensions_to_fill(messages: int) -> None:
    """L22: extensions wait up to 60 s for others (`extend_interval`); releases wait for the last of them."""
    async with World() as world:
        await world.send_many(messages)
        consumer = await world.start(
            long, visibility_timeout=300, extend_interval=60, concurrency=messages, prefetch=0, throttle=False
        )
        world.faults.set(CHANGE, latency=0.5)
        await world.until(lambda: consumer.statistics().extensions.waiting == messages % 10, within=300, step=0.1)
        stopped = world.now
        report = await consumer.stop(force=True)
        assert world.now - stopped < 3
        assert (report.released, report.unsettled) == (messages, 0)
        assert world.queue().visible == messages


@pytest.mark.parametrize("seed", range(3))
@virtual
async def test_a_forced_stop_under_load_leaves_no_message_hidden(seed: int) -> None:
    """L22, L23: polls in flight get a moment, because they are about to bring messages."""
    async with World(seed) as world:
        await world.send_many(3_000)
        world.faults.set("*", latency=(0.02, 0.1))

        async def handle(_body: str) -> None:
            await asyncio.sleep(0.05)

        consumer = await world.start(handle, concurrency=100)
        await asyncio.sleep(1)
        stopped = world.now
        report = await consumer.stop(force=True)
        assert world.now - stopped < 2
        assert report.unsettled == 0
        assert world.queue().in_flight == 0


@virtual
async def test_a_forced_stop_cuts_a_poll_that_brings_nothing_after_a_moment() -> None:
    """L22: bounded."""
    async with World() as world:
        consumer = await world.start(long, poll_grace=10)
        await asyncio.sleep(1)
        stopped = world.now
        await consumer.stop(force=True)
        assert world.now - stopped <= 0.6


@virtual
async def test_a_back_off_is_not_undone_by_an_extension_whose_lease_ends_before_both_are_answered() -> None:
    """L5: the release goes out in the last second of the lease, and takes effect before the slow extension does."""
    async with World() as world:

        async def handle(_body: str) -> Retry:
            world.faults.set(CHANGE, latency=8.0)  # the extension of second 5 takes effect in second 9
            await asyncio.sleep(6)
            world.faults.set(CHANGE, latency=1.6)  # the release of second 8 does so before, and is answered after 9
            return Retry(60)

        await world.send("a")
        consumer = await world.start(handle, visibility_timeout=10)
        await world.until(lambda: consumer.statistics().ledger.released == 1, within=40)
        released = world.now
        assert consumer.statistics().ledger.lost == 0
        await asyncio.sleep(66 - released - 1)
        assert world.queue().in_flight == 1
        await asyncio.sleep(2)
        assert consumer.statistics().ledger.received == 2


@virtual
async def test_a_message_that_another_consumer_has_by_now_is_not_given_back_again() -> None:
    """L5, L29: its release, sent beside a slow extension, has taken effect; one more would take it from others."""
    async with World() as world:
        await world.send_many(10)
        consumer = await world.start(long, concurrency=10, visibility_timeout=30)
        await asyncio.sleep(14)
        world.faults.set(CHANGE, latency=3.0)
        await asyncio.sleep(1.2)
        assert consumer.statistics().extensions.in_flight == 1
        other = await world.start(long, concurrency=30, visibility_timeout=30)
        await consumer.stop(force=True)
        await asyncio.sleep(8)
        assert other.statistics().ledger.received == 10
        assert other.statistics().ledger.duplicates == 0
