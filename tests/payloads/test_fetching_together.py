"""Payloads that go into one batch, and fetches that end while they are given up, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from payload_scene import BUCKET, Scene

from leasekeeper import Batch, Message  # noqa: TC001 - handlers are annotated with them
from leasekeeper.local.objects import Objects
from leasekeeper.payloads import S3Payloads
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.payloads.api import Part

GROUPS = ("a", "b", "c")


@virtual
async def test_batches_that_are_larger_than_the_memory_wait_for_each_other_and_not_for_themselves() -> None:
    async with World(fifo=True) as world:
        scene = Scene(world)
        scene.objects.latency = 0.1
        batches: list[list[str]] = []

        async def handle(batch: Batch[str]) -> None:
            batches.append([message.body[:2] for message in batch])

        for number in range(4):
            for group in GROUPS:
                await scene.send(f"{group}{number}" + "x" * 400, f"{group}{number}", MessageGroupId=group)
        running = await world.start(handle, payloads=scene.payloads(), batch=4, payload_memory=2_000)
        await world.until(lambda: not world.bodies() and not scene.keys, within=20)
        assert running.statistics().lane.payload_bytes == 0
        await running.close()
        assert [[body for batch in batches for body in batch if body[0] == group] for group in GROUPS] == [
            [f"{group}{number}" for number in range(4)] for group in GROUPS
        ]


class Unstoppable(Objects):
    """Answers also calls that are given up, as the transport does when the answer is here by then."""

    async def get(self, bucket: str, key: str, *, start: int, length: int, etag: str = "") -> Part:
        """As `ObjectStore.get`."""
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        return await super().get(bucket, key, start=start, length=length, etag=etag)


@virtual
async def test_an_answer_that_comes_as_its_message_is_given_back_starts_no_handler() -> None:
    async with World() as world:
        scene = Scene(world)
        objects = Unstoppable()
        objects.add(BUCKET, "k", b"payload")
        runs: list[str] = []

        async def handle(message: Message[str]) -> None:
            runs.append(message.body)

        await scene.send("payload", "k")
        running = await world.start(handle, payloads=S3Payloads(BUCKET, client=objects))
        await asyncio.sleep(2)
        await running.stop()
        assert runs == []
        assert world.bodies()
