"""The lag of the engine's loop: measured while there is work, and taken into account by receives (L9)."""

from __future__ import annotations

import asyncio

import pytest

from leasekeeper.engine.calls import with_timeout
from leasekeeper.engine.lag import INTERVAL, WINDOW, LagMeter
from leasekeeper.testing.clock import VirtualLoop
from leasekeeper.testing.world import World, virtual


class Late:
    """The loop's clock, and how much later than planned the loop is."""

    def __init__(self) -> None:
        self.by = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.by


async def _looks(count: float) -> None:
    await asyncio.sleep(INTERVAL * count)


@virtual
async def test_the_lag_is_the_longest_of_the_last_second() -> None:
    clock = Late()
    meter = LagMeter(clock, lambda: True)
    meter.watch()
    await _looks(1.5)
    assert meter.seconds == 0.0
    clock.by += 0.6
    await _looks(1)
    assert round(meter.seconds, 6) == 0.6
    clock.by += 0.2
    await _looks(WINDOW - 1)
    assert round(meter.seconds, 6) == 0.6
    await _looks(1)
    assert (round(meter.seconds, 6), round(meter.longest, 6)) == (0.2, 0.6)
    meter.close()


@virtual
async def test_without_work_nothing_is_measured_and_the_next_work_starts_afresh() -> None:
    clock, busy = Late(), [True]
    meter = LagMeter(clock, lambda: busy[0])
    meter.watch()
    clock.by += 0.6
    await _looks(1.5)
    busy[0] = False
    await _looks(1)
    assert meter.seconds == 0.0
    clock.by += 5  # no timer is set, so none is late
    await _looks(20)
    busy[0] = True
    meter.watch()
    await _looks(1.5)
    assert (meter.seconds, round(meter.longest, 6)) == (0.0, 0.6)
    meter.close()


async def _minute(_body: str) -> None:
    await asyncio.sleep(60)


@virtual
async def test_nothing_is_received_while_the_engine_lags_by_a_twentieth_of_the_visibility() -> None:
    """L9: what is received then would lose much of its lease before anything reads it."""
    async with World() as world:
        consumer = await world.start(_minute, visibility_timeout=10, wait_time=1)
        consumer.runner._lag.seconds = 0.51
        await asyncio.sleep(2)
        before = world.broker.calls["ReceiveMessage"]
        await world.send("a")
        await asyncio.sleep(30)
        assert world.broker.calls["ReceiveMessage"] == before
        consumer.runner._lag.seconds = 0.49
        await world.until(lambda: consumer.statistics().lane.running, within=1)
        (row,) = consumer.runner.context.ledger.rows.values()
        await consumer.stop(force=True)
    assert row.requested_at <= row.lease.began <= row.received_at  # the lag is taken off the lease


@virtual
async def test_a_lease_is_shorter_by_the_lag() -> None:
    """L9: the answer may have waited that long for the engine."""
    async with World() as world:
        consumer = await world.start(_minute, visibility_timeout=30)
        consumer.runner._lag.seconds = 1.0
        await asyncio.sleep(5)
        await world.send("a")
        await world.until(lambda: consumer.statistics().lane.running, within=5)
        (row,) = consumer.runner.context.ledger.rows.values()
        assert round(row.received_at - row.lease.began, 3) == 1.0
        await consumer.stop(force=True)


@virtual
async def test_a_delete_is_not_timed_out_by_the_lag_of_the_loop_itself() -> None:
    """L9, L12: its answer came in time, and was read late."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)

    async def call() -> str:
        await asyncio.sleep(0.3)
        await asyncio.sleep(0)  # an answer takes some turns of the loop from the socket to who waits for it
        return "answer"

    loop.call_later(0.1, loop._jump, 3.0)
    assert await with_timeout(call(), 0.5) == "answer"


@virtual
async def test_a_delete_is_timed_out_while_the_loop_is_on_time_however_late_it_was_before() -> None:
    """L12."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    began = loop.time()
    for at in (0.1, 3.11):  # it is late for 3 seconds twice
        loop.call_later(at, loop._jump, 3.0)
    with pytest.raises(TimeoutError):
        await with_timeout(asyncio.sleep(60), 0.5)
    assert 6.1 < loop.time() - began < 6.4
