"""A world of consumers that fetch payloads: whatever fails or dies, a message that exists has its object."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from payload_scene import Scene

from leasekeeper import Message, Reject
from leasekeeper.payload import PayloadUnavailable
from leasekeeper.testing.world import World, virtual_processes

if TYPE_CHECKING:
    from leasekeeper.testing.running import Running

SEEDS = range(120)
MESSAGES = 40
VISIBILITY = 6
FAULTS: dict[str, dict[str, Any]] = {
    "ReceiveMessage": {"reset": 0.05, "shorten": 0.2, "lose": 0.03},
    "DeleteMessageBatch": {"fail_entries": 0.2, "lose_entries": 0.1, "lose": 0.1, "throttle": 0.2, "latency": (0, 3)},
    "ChangeMessageVisibilityBatch": {"fail_entries": 0.1, "lose": 0.05, "latency": (0, 2)},
    "SendMessageBatch": {"fail_entries": 0.2},
}


class Story:
    """One world from one seed, with a look at all messages and objects whenever an object goes."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.scene = Scene(world)
        self.scene.objects.latency = 0.02
        self.scene.objects.fault = self.fault
        self.done: set[str] = set()
        """The keys of messages that were handled well."""
        self.wrong: list[str] = []

    def pointed_to(self) -> set[str]:
        """The keys that messages point to, in the queue and in the dead-letter queue.

        A copy does not count if the message was delivered again before its delete, and done then.
        """
        copies = set(self.scene.pointed_to(self.world.dead_letters)) - self.done
        return {*self.scene.pointed_to(), *copies}

    def look(self, when: str) -> None:
        """Note messages without their objects."""
        if missing := self.pointed_to() - set(self.scene.keys):
            self.wrong.append(f"{self.world.now:.3f} s, {when}: no object for {sorted(missing)}")

    def fault(self, operation: str, _bucket: str, key: str) -> None:
        asyncio.get_running_loop().call_soon(self.look, f"after {operation} of {key}")
        if self.random.random() < 0.1:
            raise PayloadUnavailable(f"{operation}: SlowDown (HTTP 503)")

    async def handle(self, message: Message[str]) -> None:
        self.look("in a handler")
        await asyncio.sleep(self.random.choice([0.0, 0.1, 1.0, 2.0 * VISIBILITY]))
        fate = self.random.random()
        if fate < 0.1:
            raise ValueError("it fails")
        if fate < 0.15:
            raise Reject("never")
        self.done.add(message.body.replace("payload ", "k"))
        if fate < 0.2:
            await message.ack()

    async def start(self) -> Running:
        return await self.world.start(
            self.handle,
            payloads=self.scene.payloads(),
            payload_memory=self.random.choice([100, 10_000]),
            visibility_timeout=VISIBILITY,
            concurrency=self.random.choice([1, 5, 20]),
            ack_interval=self.random.choice([0.0, 0.5]),
        )

    async def trouble(self, running: list[Running]) -> None:
        """Kill, suspend or stop one consumer; others take its place."""
        one = self.random.choice(running)
        match self.random.choice(["kill", "kill", "suspend", "stop"]):
            case "kill":
                one.process.kill()
                running.remove(one)
                running.append(await self.start())
            case "suspend":
                one.process.suspend()
                await asyncio.sleep(self.random.uniform(1, 3 * VISIBILITY))
                one.process.resume()
            case _:
                running.remove(one)
                await one.stop(force=self.random.random() < 0.5)
                running.append(await self.start())
        self.look("after trouble")


@virtual_processes
async def play(seed: int) -> int:
    """Play a world to its end, and check it; how many objects were deleted."""
    async with World(seed, max_receives=4) as world:
        told = Story(world, seed)
        for number in range(MESSAGES):
            await told.scene.send(f"payload {number}", f"k{number}")
        for operation, switches in FAULTS.items():
            world.faults.set(operation, **switches)
        running = [await told.start(), await told.start()]
        for _ in range(4):
            await asyncio.sleep(told.random.uniform(0.2, VISIBILITY))
            await told.trouble(running)
        for operation in FAULTS:
            world.faults.set(operation)
        await world.until(lambda: not world.bodies(), within=20_000)
        for one in running:
            await one.stop()
        told.look("at the end")
        assert told.wrong == [], f"seed {seed}"
        assert told.done | told.pointed_to() == {f"k{number}" for number in range(MESSAGES)}, f"seed {seed}"
        return MESSAGES - len(told.scene.keys)
