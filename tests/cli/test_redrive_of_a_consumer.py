"""Dead letters of a real consumer, sent back by `redrive --copy`, in virtual time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Message, Reject
from leasekeeper.cli.causes import Causes, DeadLetter
from leasekeeper.cli.redrive.copying import Copying, CopyPlan, Destination
from leasekeeper.failure import FAILURE, REDRIVEN
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.message import Received


class Back:
    """All go back to the world's queue, when they say that they came from it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def target_of(self, letter: DeadLetter) -> Destination | None:
        return Destination(letter.queue, self._world.queue_url) if letter.queue == self._world.name else None


async def redrive(world: World) -> Copying:
    url = await world.client.queue_url(world.dead_letters)
    copying = Copying(world.client, url, Back(world), CopyPlan())
    await copying.run()
    return copying


async def dead_letters(world: World) -> list[Received]:
    url = await world.client.queue_url(world.dead_letters)
    return await world.client.receive(url, maximum=10, wait=0, visibility=0)


@pytest.mark.parametrize("latency", [0.0, (0.001, 0.3)])
@virtual
async def test_fifo_dead_letters_sent_back_ten_seconds_after_the_failure_arrive_in_order(
    latency: float | tuple[float, float],
) -> None:
    """SQS remembers the ids of the messages, and those of their copies, for five minutes."""
    broken, failed, all_failed = True, 0, asyncio.Event()
    handled = defaultdict[str | None, list[str]](list)

    async def handle(message: Message[str]) -> None:
        nonlocal failed
        if broken:
            failed += 1
            if failed == 90:
                all_failed.set()
            raise Reject("the database is gone")
        handled[message.group_id].append(message.body)

    async with World(3, fifo=True, max_receives=10) as world:
        world.faults.set("*", latency=latency)
        await world.start(handle, concurrency=10)
        for number in range(30):
            for group in "abc":
                await world.send(f"{number}", MessageGroupId=group, MessageDeduplicationId=f"{group}{number}")
        await all_failed.wait()
        broken = False
        await asyncio.sleep(10)
        assert len(world.bodies(world.dead_letters)) == 90
        copying = await redrive(world)
        assert (copying.moved.total(), copying.strays, copying.failure) == (90, {}, None)
        await asyncio.sleep(10)
        assert handled == {group: [str(number) for number in range(30)] for group in "abc"}
        assert world.bodies(world.dead_letters) == world.bodies(world.name) == []


@virtual
async def test_a_message_counts_its_redrives_and_carries_only_its_last_failure() -> None:
    seen: list[tuple[int, bool, str | bytes]] = []

    async def handle(message: Message[str]) -> None:
        times = int(message.attributes[REDRIVEN].value) if REDRIVEN in message.attributes else 0
        seen.append((times, FAILURE in message.attributes, message.attributes["tenant"].value))
        raise Reject(f"no stock in shop {times}")

    async with World(3, max_receives=10) as world:
        await world.start(handle)
        await world.send("1", MessageAttributes={"tenant": {"DataType": "String", "StringValue": "acme"}})
        for times in range(3):
            await asyncio.sleep(10)
            (letter,) = await dead_letters(world)
            assert DeadLetter.of(letter).text == f"no stock in shop {times}"
            (cause,) = Causes([letter]).sorted()
            assert (cause.title, dict(cause.queues)) == ("Reject: no stock in shop *", {"orders": 1})
            await redrive(world)
        await asyncio.sleep(10)
    assert seen == [(times, False, "acme") for times in range(4)]


@virtual
async def test_a_message_that_fails_again_at_once_is_sent_back_once() -> None:
    """Else it would be sent again and again, and the redrive would not end."""

    async def handle(message: Message[str]) -> None:
        if message.body != "good":
            raise Reject("never")

    async with World(3, max_receives=10) as world:
        await world.start(handle)
        await world.send(*map(str, range(30)), *["same"] * 30)
        await asyncio.sleep(10)
        copying = await redrive(world)
        assert copying.moved.total() == 60
        assert len(copying.returned) > 0
        await asyncio.sleep(10)
        again = await redrive(world)
        assert again.moved.total() == 60
        assert {each.attributes[REDRIVEN].value for each in await dead_letters(world)} <= {"1", "2"}
        assert len(world.bodies(world.dead_letters)) == 60
