"""Leases over bad networks: late answers, slow requests, calls that hang; none of them costs a lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from leasekeeper.outcomes import Retry
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CHANGE = "ChangeMessageVisibilityBatch"


def lasting(seconds: float) -> Callable[[str], Awaitable[None]]:
    async def handle(_body: str) -> None:
        await asyncio.sleep(seconds)

    return handle


@pytest.mark.parametrize(("visibility", "latency"), [(1, (0.05, 0.05)), (2, (0.3, 0.5)), (3, (0.3, 0.8))])
@virtual
async def test_a_short_lease_survives_ordinary_latency(visibility: int, latency: tuple[float, float]) -> None:
    """L7, L3: an extension that is slow is not cut off; another one runs beside it."""
    async with World() as world:
        world.faults.set("*", latency=latency)
        await world.send_many(30)
        consumer = await world.start(
            lasting(4 * visibility), visibility_timeout=visibility, concurrency=30, ack_interval=0
        )
        await world.until(lambda: not world.bodies(), within=60)
        report = await consumer.stop()
        assert (report.received, report.handled, report.lost) == (30, 30, 0)


@virtual
async def test_extensions_do_not_wait_behind_releases_that_hang() -> None:
    """L7: 30 % of the visibility calls hang while 200 messages a second are given back; no lease is lost."""
    async with World() as world:
        world.faults.set(CHANGE, hang=0.3, latency=0.01)
        await world.send(*["long"] * 20)
        await world.send(*["short"] * 4_000)

        async def handle(body: str) -> None:
            if body == "long":
                await asyncio.sleep(25)
                return
            await asyncio.sleep(0.5)
            raise Retry(after=900)

        consumer = await world.start(handle, visibility_timeout=8, concurrency=120, prefetch=0)
        await asyncio.sleep(30)
        work = consumer.statistics().work
        assert work.retried > 3_000
        assert (work.done, work.lost_running) == (20, 0)
        await consumer.stop(force=True)


@pytest.mark.parametrize(("visibility", "latency"), [(10, 8.0), (20, 12.0)])
@virtual
async def test_a_back_off_stands_although_an_extension_lands_after_it(visibility: int, latency: float) -> None:
    """L5: the extension's request is 4 or 6 s on its way; the release follows its answer, and 60 s stay 60 s."""
    async with World() as world:
        await world.send("a")
        times: list[float] = []

        async def handle(_body: str) -> None:
            times.append(world.now)
            if len(times) == 1:
                await asyncio.sleep(visibility / 2 + 1)
                raise Retry(after=60)

        world.faults.next(CHANGE, latency=latency)
        consumer = await world.start(handle, visibility_timeout=visibility)
        await world.until(lambda: len(times) == 2, within=300)
        assert times[1] - times[0] >= visibility / 2 + 1 + 60
        await consumer.stop()


@pytest.mark.parametrize(("visibility", "latency"), [(5, 6.0), (20, 24.0)])
@virtual
async def test_a_lease_counts_from_when_sqs_answered_not_from_when_the_answer_was_read(
    visibility: int, latency: float
) -> None:
    """L3: the answer is on its way for more than half of the visibility timeout; it is extended in time."""
    async with World() as world:
        await world.send_many(10)
        world.faults.set("ReceiveMessage", latency=latency)
        consumer = await world.start(lasting(2.0 * visibility), visibility_timeout=visibility, concurrency=10)
        await world.until(lambda: not world.bodies(), within=20 * visibility)
        report = await consumer.stop(force=True)
        assert (report.received, report.handled, report.lost) == (10, 10, 0)


@pytest.mark.parametrize("seed", range(5))
@virtual
async def test_a_stop_settles_everything_while_entries_and_calls_fail(seed: int) -> None:
    """L1, L12: one bad entry of ten does not slow the others, and a flush tries again quickly."""
    async with World(seed) as world:
        await world.send_many(400)
        consumer = await world.start(lasting(0.1), concurrency=400, prefetch=0, ack_interval=20)
        await world.until(lambda: consumer.statistics().work.done == 400)
        world.faults.set("DeleteMessageBatch", fail_entries=0.2, unavailable=0.3)
        report = await consumer.stop()
        assert (report.acked, report.unsettled) == (400, 0)
        assert not world.bodies()


@virtual
async def test_what_a_late_poll_brings_during_a_drain_is_visible_when_the_stop_returns() -> None:
    """L22, L23."""
    async with World() as world:
        world.faults.set("ReceiveMessage", latency=6.0)
        await world.send_many(11)
        consumer = await world.start(
            lasting(10), concurrency=20, receive_batch=1, poll_grace=1, pollers=1, throttle=False
        )
        await world.until(lambda: consumer.statistics().lane.running == 1)
        await asyncio.sleep(4)  # a second receive has taken effect, and its answer comes 2 s after the stop
        assert world.queue().in_flight == 2
        report = await consumer.stop()
        assert (report.handled, report.released) == (1, 1)
        assert world.queue().in_flight == 0
        assert world.queue().visible == 10


@virtual
async def test_deletes_that_are_denied_turn_the_consumer_unhealthy_and_slow_its_polling() -> None:
    """L18: messages that cannot be deleted would only use up their receive counts; the problem names the permission."""
    async with World() as world:
        await world.send_many(300)
        world.faults.set("DeleteMessageBatch", deny=1.0)
        health: list[str] = []
        consumer = await world.start(lasting(0), concurrency=5, prefetch=0, visibility_timeout=10)
        consumer.events.subscribe(lambda event: health.append(event.reason if hasattr(event, "reason") else ""))
        await world.until(lambda: not consumer.runner.healthy, within=5)
        assert "DeleteMessageBatch" in str(consumer.runner.problem)
        assert any("allow sqs:DeleteMessage" in reason for reason in health)
        before = world.broker.calls["ReceiveMessage"]
        await asyncio.sleep(60)
        assert world.broker.calls["ReceiveMessage"] - before <= 7 * consumer.statistics().pollers
        world.faults.clear()
        await world.until(lambda: consumer.runner.healthy, within=60)
        assert consumer.runner.problem is None
        await world.until(lambda: not world.bodies(), within=300)
        await consumer.stop()
