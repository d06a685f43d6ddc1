"""Latency and calls at a low rate, of the whole engine with its default options, in virtual time."""

from __future__ import annotations

import asyncio
import random

from leasekeeper.testing.world import World, virtual

RATE = 50.0
COUNT = 1_000
CALL = 0.01
"""Seconds of a call: half on the way to SQS, half on the way back."""


@virtual
async def test_at_a_low_rate_a_message_takes_half_a_call_and_costs_one_and_a_tenth() -> None:
    """Scenario I of the benchmarks: 50 messages a second at random times, calls of 10 ms.

    L21: the receives that wait for them end with their long poll; then one is left.
    """
    draw, delays = random.Random(4711), []
    async with World() as world:
        loop = asyncio.get_running_loop()
        for operation in ("ReceiveMessage", "DeleteMessageBatch"):
            world.faults.set(operation, latency=CALL)

        async def handle(body: str) -> None:
            delays.append(loop.time() - float(body))

        consumer = await world.start(handle)
        await asyncio.sleep(30)
        before = world.broker.calls.total()
        for _ in range(COUNT):
            await asyncio.sleep(draw.expovariate(RATE))
            await world.send(repr(loop.time()))
        await world.until(lambda: not world.bodies(), within=2)
        calls = world.broker.calls.total() - before - COUNT
        await asyncio.sleep(25)
        settled = world.broker.calls.total()
        await asyncio.sleep(60)
        assert world.broker.calls.total() - settled == 3
        await consumer.stop()
    delays.sort()
    assert delays[COUNT // 2] <= CALL / 2 + 0.0005
    assert delays[COUNT * 99 // 100] <= CALL / 2 + 0.0017
    assert calls / COUNT <= 1.11
