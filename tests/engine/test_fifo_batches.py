"""Batches of a FIFO queue: one message group a batch, in order, and what a failure in one means for the rest."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from leasekeeper import Batch, Reject
from leasekeeper.testing.world import World, virtual


@virtual
async def test_a_batch_holds_the_next_messages_of_one_group() -> None:
    """L25, L28."""
    runs: list[tuple[str | None, list[str]]] = []

    async def load(batch: Batch[str]) -> None:
        runs.append((batch.group_id, [message.body for message in batch]))

    async with World(fifo=True) as world:
        for number in range(24):
            await world.send(str(number), group=f"g{number % 2}")
        await world.start(load, batch=10)
        await world.until(lambda: not world.bodies())
    assert sorted(runs) == [
        ("g0", ["0", "2", "4", "6", "8", "10", "12", "14", "16", "18"]),
        ("g0", ["20", "22"]),
        ("g1", ["1", "3", "5", "7", "9", "11", "13", "15", "17", "19"]),
        ("g1", ["21", "23"]),
    ]


@virtual
async def test_behind_a_message_that_fails_the_rest_of_its_group_runs_again_and_no_attempt_of_theirs_counts() -> None:
    """L25, L26: what was before it is deleted; it is tried again alone; then the rest runs."""
    runs: list[list[tuple[str, int]]] = []

    async def load(batch: Batch[str]) -> None:
        runs.append([(message.body, message.attempt) for message in batch])
        for message in batch:
            if message.body == "2" and message.attempt < 3:
                batch.retry(message)

    async with World(fifo=True) as world:
        for number in range(6):
            await world.send(str(number), group="g")
        running = await world.start(load, batch=10, retry_base=1.0)
        await world.until(lambda: len(runs) == 2)
        assert world.bodies() == ["2", "3", "4", "5"]
        await world.until(lambda: not world.bodies())
        assert running.statistics().ledger.received == 6
    assert runs == [
        [(str(number), 1) for number in range(6)],
        [("2", 2)],
        [("2", 3)],
        [("3", 1), ("4", 1), ("5", 1)],
    ]


@virtual
async def test_a_poisonous_message_of_a_batch_is_dead_lettered_alone() -> None:
    """L26: also if the handler only raises, and so names no message."""
    done: dict[str, int] = defaultdict(int)

    async def load(batch: Batch[str]) -> None:
        await asyncio.sleep(0.01)
        if "poison" in batch.bodies:
            raise RuntimeError("one of them")
        for message in batch:
            done[message.body] += 1

    async with World(fifo=True, max_receives=20) as world:
        for body in ("a", "b", "poison", "c", "d"):
            await world.send(body, group="g")
        await world.start(load, batch=10, retry_base=1.0, max_attempts=3)
        await world.until(lambda: not world.bodies())
        assert world.bodies(world.dead_letters) == ["poison"]
    assert done == {"a": 1, "b": 1, "c": 1, "d": 1}


@virtual
async def test_a_rejected_message_of_a_batch_holds_up_nothing() -> None:
    """L26."""

    async def load(batch: Batch[str]) -> dict[object, object]:
        return {message: Reject("no") for message in batch if message.body == "1"}

    async with World(fifo=True, max_receives=20) as world:
        for number in range(4):
            await world.send(str(number), group="g")
        await world.start(load, batch=4)
        await world.until(lambda: not world.bodies())
        assert world.bodies(world.dead_letters) == ["1"]


@virtual
async def test_a_standard_queue_with_one_group_id_keeps_its_large_batches() -> None:
    """L27."""
    sizes: list[int] = []

    async def load(batch: Batch[str]) -> None:
        sizes.append(len(batch))

    async with World() as world:
        for number in range(50):
            await world.send(str(number), MessageGroupId="g")
        await world.start(load, batch=25, batch_wait=5.0)
        await world.until(lambda: not world.bodies())
    assert sizes == [25, 25]
