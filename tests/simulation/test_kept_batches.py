"""A batch in a worker process, and what its keeper reads of its messages in the table."""

from __future__ import annotations

import asyncio
from random import Random
from unittest import mock

from simulated_workers import Workshop

from leasekeeper.batch import Batch  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.keeper.layout import FINISHED, RUNNING
from leasekeeper.lanes.processes import crew
from leasekeeper.testing.world import World, virtual_processes


async def handle(batch: Batch[str]) -> None:
    if len(batch) > 1:
        batch[0].ack()
        await asyncio.sleep(1)
        raise ValueError("planned")
    await asyncio.sleep(1)


@virtual_processes
async def test_a_message_that_is_finished_stays_so_when_the_rest_of_its_batch_is_called_again() -> None:
    """L1. If the consumer's process dies then, the keeper deletes it, and leaves other messages in its slot alone."""
    shop = Workshop(Random(1))
    async with World() as world:
        with mock.patch.object(crew, "WorkerProcess", shop.hire):
            running = await world.start(
                handle, lane="processes", workers=1, batch=3, on_batch_error="singly", keeper=True, ack_interval=10
            )
            for number in range(3):
                await world.send(str(number))
            table = running.keeper.table

            def states() -> list[int]:
                return sorted(table.states[slot] for slot in table.occupied())

            await world.until(lambda: states() == [RUNNING, RUNNING, FINISHED])
            began = world.now
            await world.until(lambda: world.now > began + 1.5)
            assert states() == [RUNNING, RUNNING, FINISHED]
            await running.stop()
        for worker in shop.workers:
            await worker.end()
