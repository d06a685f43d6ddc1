"""Messages of a batch in a worker process that the handler keeps."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from simulated_workers import CURRENT, Workshop

from leasekeeper.batch import Batch  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.lanes.processes import crew
from leasekeeper.message import Message  # noqa: TC001 - as above
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT: list[tuple[Message[str], asyncio.Task[None]]] = []
LOST: list[bool] = []
DIED: list[bool] = []


@pytest.fixture(autouse=True)
def shop() -> Iterator[Workshop]:
    KEPT.clear()
    LOST.clear()
    DIED.clear()
    made = Workshop(Random(1))
    with mock.patch.object(crew, "WorkerProcess", made.hire):
        yield made


async def ack_later(message: Message[str]) -> None:
    await asyncio.sleep(5)
    LOST.append(message.lease_lost)
    message.ack()


async def keep(batch: Batch[str]) -> None:
    if len(batch) > 1:
        raise ValueError("planned")
    await asyncio.sleep(1)
    batch[0].withhold()
    KEPT.append((batch[0], asyncio.get_running_loop().create_task(ack_later(batch[0]))))


async def keep_and_die(batch: Batch[str]) -> None:
    """Keep the first two, and die with the third; after that all is good."""
    if DIED:
        return
    if len(batch) == 1 and batch[0].body == "2":
        DIED.append(True)
        CURRENT.get().crash(-9)
        await asyncio.Event().wait()
    if len(batch) > 1:
        raise ValueError("planned")
    batch[0].withhold()


@virtual
async def test_a_message_that_is_kept_can_be_acked_after_the_rest_of_its_batch(shop: Workshop) -> None:
    """Each of them ran alone, because the call with all of them had failed."""
    async with World() as world:
        running = await world.start(keep, lane="processes", workers=1, batch=3, on_batch_error="singly")
        for number in range(3):
            await world.send(str(number))
        await world.until(lambda: not world.bodies(), within=30)
        await running.stop()
        assert LOST == [False] * 3
        for worker in shop.workers:
            await worker.end()


@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_messages_that_are_kept_come_again_when_their_worker_dies_in_the_middle_of_the_batch(
    shop: Workshop, fifo: bool
) -> None:
    async with World(fifo=fifo) as world:
        several = {"batch_groups": "several", "batch_wait": 0.5} if fifo else {}
        options: Any = {"batch": 3, "on_batch_error": "singly", **several}
        running = await world.start(keep_and_die, lane="processes", workers=1, **options)
        for number in range(3):
            await world.send(str(number), group=str(number) if fifo else None)
        await world.until(lambda: not world.bodies(), within=60)
        await running.stop()
        for worker in shop.workers:
            await worker.end()
