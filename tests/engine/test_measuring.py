"""What the settler measures of handlers that end in quick succession: a few of them, which stand for all."""

from __future__ import annotations

import asyncio

import pytest

from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.testing.world import World, virtual


@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_handlers_that_are_not_measured_count_as_busy_too(fifo: bool) -> None:
    """On a FIFO queue they end one by one in the same millisecond, on a standard queue together."""

    async def handle(message: Message[str]) -> None:
        await asyncio.sleep(0.5 + int(message.group_id or 0) * 1e-6)

    async with World(fifo=fifo) as world:
        for group in range(10):
            await world.send(*(f"{group}-{number}" for number in range(10)), group=str(group))
        consumer = await world.start(handle, concurrency=10)
        await world.until(lambda: not world.bodies())
        assert consumer.runner._worker.busy == pytest.approx(50, rel=0.12)
        await consumer.stop()
