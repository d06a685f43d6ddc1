"""Why a consumer stopped, and how its stop spent its time: in the report, the statistics and the metrics."""

from __future__ import annotations

import asyncio

import pytest

from leasekeeper.engine.stopping import StopReason
from leasekeeper.observe.catalogue import CATALOGUE
from leasekeeper.testing.world import World, virtual


@virtual
async def test_the_report_says_what_stopped_it_and_how_long_each_phase_took() -> None:
    """A handler has 7 s left when the stop comes, and its delete takes 2 s."""
    async with World() as world:
        world.faults.set("DeleteMessageBatch", latency=2.0)

        async def handle(_body: str) -> None:
            await asyncio.sleep(10)

        consumer = await world.start(handle, ack_interval=0.0)
        await world.send("a")
        await asyncio.sleep(3)
        assert consumer.statistics().stop is None
        stopping = asyncio.ensure_future(consumer.stop())
        await asyncio.sleep(5)
        during = consumer.statistics().stop
        assert during is not None
        assert (during.reason, during.detail, during.flushing) == ("call", "stop()", 0.0)
        assert during.draining == pytest.approx(5.0, abs=0.1)
        report = await stopping
        assert report.stopped_by == "stop()"
        assert report.draining == pytest.approx(7.0, abs=0.2)
        assert report.flushing == pytest.approx(2.0, abs=0.2)
        assert str(report).endswith("; stopped by stop(): drained in 7.0 s, flushed in 2.0 s")
        await asyncio.sleep(100)
        after = consumer.statistics().stop
        assert after is not None
        assert after.flushing == report.flushing  # the clock of the stop has ended with it


@virtual
async def test_a_consumer_that_stops_by_itself_says_why() -> None:
    async with World() as world:

        async def handle(_body: str) -> None:
            pass

        consumer = await world.start(handle, exit_on_unusable=True, wait_time=1)
        await world.broker.call("DeleteQueue", {"QueueUrl": world.queue_url})
        report = await consumer.ended()
        assert report.stopped_by.startswith("the queue is unusable: ")
        [stops] = [metric for metric in CATALOGUE if metric.name == "leasekeeper_stops_total"]
        assert stops.read(consumer.statistics()) == {"signal": 0, "call": 0, "unusable": 1, "loop_closed": 0}


@virtual
async def test_the_first_reason_counts() -> None:
    async with World() as world:

        async def handle(_body: str) -> None:
            pass

        consumer = await world.start(handle)
        consumer.runner.stop(reason=StopReason.UNUSABLE, detail="the queue is unusable: gone")
        report = await consumer.stop()
        assert report.stopped_by == "the queue is unusable: gone"
