"""Room: groups that wait or back off take no slots, and every group progresses (L19, L20)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from fifo_kit import Journal, Server, options

from leasekeeper.options import FifoAck  # noqa: TC001
from leasekeeper.outcomes import Retry
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.testing.running import Running


class Held:
    """How many messages the consumer holds at most, whenever a handler ends."""

    consumer: Running
    most = 0

    def __call__(self, _: object) -> None:
        held = self.consumer.statistics().ledger.held
        self.most = max(self.most, held["waiting"] + held["running"])


def receives_and_deletes(world: World) -> int:
    """How many calls of these two kinds SQS has answered."""
    return sum(world.broker.calls[name] for name in ("ReceiveMessage", "DeleteMessageBatch"))


@virtual
async def test_groups_that_back_off_take_no_slots() -> None:
    """L19: 25 groups back off for 60 s at concurrency 20; 100 quick groups are done in under 2 s."""
    async with World(fifo=True, max_receives=10) as world:
        journal = Journal(
            world,
            seconds=0.05,
            ends=lambda message: Retry(60) if message.body.endswith(".0") and message.attempt == 1 else None,
        )
        for group in range(25):
            await world.send(*(f"f{group}.{at}" for at in range(3)), group=f"f{group}")
        consumer = await world.start(journal.handler(), **options(concurrency=20))
        await world.until(lambda: len(journal.runs) == 25, within=20)
        await asyncio.sleep(0.1)
        began = world.now
        for group in range(100):
            await world.send(f"q{group}", group=f"q{group}")
        done = await world.until(lambda: sum(run.body.startswith("q") for run in journal.runs) == 100)
        assert done - began < 2
        groups = consumer.statistics().groups
        assert groups is not None
        assert groups.backing_off == 25
        await world.until(lambda: not world.bodies(), within=100)
        for group in range(25):
            first, second = journal.of(f"f{group}.0")
            assert second.started - first.ended == pytest.approx(60, abs=2)
        assert {run.receive_count for run in journal.runs} == {1}
        await consumer.stop()


@virtual
async def test_one_slot_serves_fifty_groups_and_holds_no_more_than_it_may() -> None:
    """L20: every group progresses at concurrency 1, and what is held waiting is bounded."""
    async with World(fifo=True) as world:
        held = Held()
        journal = Journal(world, seconds=0.02, ends=held)
        for group in range(50):
            await world.send(*(f"{group}.{at}" for at in range(10)), group=f"{group}")
        consumer = held.consumer = await world.start(
            journal.handler(), **options(concurrency=1, prefetch=1, throttle=False, pollers=2)
        )
        await world.until(lambda: not world.bodies(), within=60)
        assert len(journal.runs) == 500
        assert 10 <= held.most <= 10 * (1 + 1 + 2)
        for group in range(50):
            assert [run.body for run in journal.runs if run.group == f"{group}"] == [
                f"{group}.{at}" for at in range(10)
            ]
        await consumer.stop()


@virtual
async def test_twelve_slow_groups_leave_room_for_a_hundred_quick_ones() -> None:
    """L19, L20: at concurrency 20 the quick ones finish at once; handlers and held messages stay within bounds."""
    async with World(fifo=True) as world:
        held = Held()
        journal = Journal(world, seconds=lambda message: 20.0 if message.body.startswith("s") else 0.05, ends=held)
        for group in range(12):
            await world.send(*(f"s{group}.{at}" for at in range(10)), group=f"s{group}")
        for group in range(100):
            await world.send(f"q{group}", group=f"q{group}")
        consumer = held.consumer = await world.start(
            journal.handler(), **options(concurrency=20, prefetch=0, throttle=False)
        )
        done = await world.until(lambda: sum(run.body.startswith("q") for run in journal.runs) == 100)
        assert done < 5
        await world.until(lambda: not world.bodies(), within=400)
        assert held.most <= 10 * (20 + 10)
        await consumer.stop()


@virtual
async def test_a_long_poll_stands_while_the_only_busy_group_is_held() -> None:
    """The delete that unlocks the group is answered by that poll, without another round trip."""
    async with World(fifo=True) as world:
        world.faults.set("ReceiveMessage", latency=0.5)
        server = Server(world)
        journal = Journal(world, seconds=1)
        await world.send_many(11)
        consumer = await world.start(journal.handler(), **options(concurrency=5))
        await world.until(lambda: not world.bodies(), within=60)
        deleted = next(at for at, body in server.deletes if body == "9")
        received = next(at for at, body, _ in server.receives if body == "10")
        assert received - deleted < 0.01
        await consumer.stop()


@virtual
async def test_a_receive_always_asks_for_ten() -> None:
    """Fewer would split a group and lock the rest of it."""
    async with World(fifo=True) as world:
        journal = Journal(world, seconds=0.1)
        await world.send_many(10)
        consumer = await world.start(journal.handler(), **options(concurrency=1, prefetch=0, receive_batch=10))
        await world.until(lambda: journal.runs)
        assert world.queue().in_flight == 10
        await world.until(lambda: not world.bodies())
        await consumer.stop()


@pytest.mark.parametrize("ack", ["batched", "confirmed"])
@virtual
async def test_one_group_is_handled_at_the_speed_that_sqs_allows(ack: FifoAck) -> None:
    """20 ms of work and 10 ms a round trip: 10/(10h + r) when batched, 1/(h + r) when confirmed, and few calls."""
    async with World(fifo=True) as world:
        world.faults.set("*", latency=0.01)
        journal = Journal(world, seconds=0.02)
        await world.send_many(600)
        world.broker.calls.clear()
        consumer = await world.start(journal.handler(), **options(concurrency=100, fifo_ack=ack))
        began = world.now
        await world.until(lambda: len(journal.runs) == 600, within=120)
        rate = 600 / (world.now - began)
        limit = 10 / (10 * 0.02 + 0.01) if ack == "batched" else 1 / (0.02 + 0.01)
        assert rate >= 0.97 * limit
        assert receives_and_deletes(world) / 600 <= (0.22 if ack == "batched" else 1.15)
        await consumer.stop()


@virtual
async def test_groups_of_one_message_share_calls_when_their_handlers_take_different_times() -> None:
    """SQS has no more of the groups of an answer, except perhaps of the last: their deletes can wait for each other."""
    async with World(fifo=True) as world:
        world.faults.set("*", latency=0.01)
        for number in range(600):
            await world.send(str(number), group=f"group-{number}")
        journal = Journal(world, seconds=lambda message: 0.01 + int(message.body) * 7 % 20 / 1000)
        world.broker.calls.clear()
        consumer = await world.start(journal.handler(), **options(concurrency=50))
        await world.until(lambda: not world.bodies(), within=60)
        assert receives_and_deletes(world) / 600 < 0.25
        await consumer.stop()


@virtual
async def test_long_groups_wait_for_handlers_in_smaller_numbers_than_short_ones() -> None:
    """A group that waits for a handler brings it all of its messages, so a tenth of the groups is enough."""
    async with World(fifo=True) as world:
        world.faults.set("*", latency=0.01)
        for number in range(300):
            await world.send_many(10, group=f"group-{number}")
        journal = Journal(world, seconds=0.02)
        consumer = await world.start(journal.handler(), **options(concurrency=50))
        began = world.now
        await world.until(lambda: len(journal.runs) >= 1500, within=60)
        assert len(journal.runs) / (world.now - began) > 0.9 * 50 / 0.02
        assert world.queue().in_flight < 2 * 10 * 50
        await consumer.stop()
