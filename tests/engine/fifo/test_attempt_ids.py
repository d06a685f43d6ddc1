"""Receives that are repeated under their attempt id: what a lost answer costs, and when a new id is needed (L17)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fifo_kit import Journal, options

from leasekeeper.testing.world import World, virtual, virtual_processes


class Polls:
    """The receives that reach the server: time, attempt id and wait of each."""

    def __init__(self, world: World) -> None:
        self.calls: list[tuple[float, str, int]] = []
        start = world.broker.start

        def watched(operation: str, request: dict[str, Any]) -> Any:
            if operation == "ReceiveMessage":
                self.calls.append((world.now, request["ReceiveRequestAttemptId"], request["WaitTimeSeconds"]))
            return start(operation, request)

        vars(world.broker).update(start=watched)

    @property
    def ids(self) -> list[str]:
        return [attempt for _, attempt, _ in self.calls]


@virtual
async def test_each_poll_has_an_attempt_id_that_no_other_has() -> None:
    async with World(fifo=True) as world:
        polls = Polls(world)
        consumer = await world.start(Journal(world).handler(), **options(pollers=1))
        await asyncio.sleep(60)
        assert len(polls.ids) > 5
        assert len(set(polls.ids)) == len(polls.ids)
        await consumer.stop()


@pytest.mark.parametrize("fault", ["lose_by_reset", "reset"])
@virtual
async def test_a_receive_whose_connection_was_reset_is_repeated_at_once_under_its_id(fault: str) -> None:
    """Its messages run within 2 s under a visibility of 30 s, with receive count 1."""
    async with World(fifo=True) as world:
        await world.send("1", "2", "3")
        polls, journal = Polls(world), Journal(world)
        switches: dict[str, Any] = {fault: 1.0}
        world.faults.next("ReceiveMessage", **switches)
        consumer = await world.start(journal.handler(), **options(pollers=1))
        await world.until(lambda: not world.bodies(), within=2)
        assert polls.ids[0] == polls.ids[1]
        assert polls.calls[1][0] - polls.calls[0][0] < 0.1
        assert polls.calls[1][2] <= 1
        assert polls.ids.count(polls.ids[0]) == 2
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1), ("2", 1), ("3", 1)]
        await consumer.stop()


@virtual
async def test_a_receive_without_an_answer_is_repeated_after_its_deadline() -> None:
    """L17: a black hole costs the wait plus 5 s; the messages then come with receive count 1."""
    async with World(fifo=True) as world:
        await world.send("1", "2")
        polls, journal = Polls(world), Journal(world)
        world.faults.next("ReceiveMessage", lose=1.0)
        consumer = await world.start(journal.handler(), **options(pollers=1))
        took = await world.until(lambda: not world.bodies(), within=60)
        assert 10 <= took < 12
        assert polls.ids[0] == polls.ids[1]
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1), ("2", 1)]
        await consumer.stop()


@pytest.mark.parametrize("fault", ["throttle", "unavailable", "deny"])
@virtual
async def test_after_an_answered_error_a_receive_gets_a_new_id(fault: str) -> None:
    """AWS refuses the id of a throttled receive for good."""
    async with World(fifo=True) as world:
        await world.send("1")
        polls, journal = Polls(world), Journal(world)
        switches: dict[str, Any] = {fault: 1.0}
        world.faults.next("ReceiveMessage", **switches)
        consumer = await world.start(journal.handler(), **options(pollers=1))
        await world.until(lambda: not world.bodies(), within=60)
        assert polls.ids[0] != polls.ids[1]
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1)]
        await consumer.stop()


@virtual
async def test_an_empty_answer_that_is_lost_is_repeated_and_brings_what_came_meanwhile() -> None:
    async with World(fifo=True) as world:
        polls, journal = Polls(world), Journal(world)
        world.faults.next("ReceiveMessage", lose_by_reset=1.0)
        consumer = await world.start(journal.handler(), **options(pollers=1))
        await asyncio.sleep(5.1)
        assert polls.ids[0] == polls.ids[1]
        await world.send("1")
        await world.until(lambda: not world.bodies(), within=2)
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1)]
        await consumer.stop()


@virtual
async def test_a_repeat_after_the_leases_ended_brings_the_messages_as_a_new_receive() -> None:
    """The same rows with a higher receive count: they run once, and are deleted with the newer receipts."""
    async with World(fifo=True) as world:
        await world.send("1", "2")
        polls, journal = Polls(world), Journal(world)
        world.faults.next("ReceiveMessage", lose=1.0)
        consumer = await world.start(journal.handler(), visibility_timeout=4, wait_time=0, pollers=1)
        await world.until(lambda: not world.bodies(), within=60)
        assert polls.ids[0] in polls.ids
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 2), ("2", 2)]
        await consumer.stop()


@virtual
async def test_a_repeat_that_is_refused_is_followed_by_a_new_id() -> None:
    """Throttled on its repeat, the id is of no use any more."""
    async with World(fifo=True) as world:
        await world.send("1")
        polls, journal = Polls(world), Journal(world)
        world.faults.next("ReceiveMessage", lose_by_reset=1.0)
        world.faults.next("ReceiveMessage", throttle=1.0)
        consumer = await world.start(journal.handler(), **options(pollers=1))
        await world.until(lambda: not world.bodies(), within=60)
        assert polls.ids[0] == polls.ids[1]
        assert polls.ids[2] != polls.ids[0]
        assert [run.body for run in journal.runs] == ["1"]
        await consumer.stop()


@virtual_processes
async def test_messages_that_are_read_late_are_asked_for_again_and_run_if_their_leases_hold() -> None:
    """L3: the process stood still for 20 s of a visibility of 30 s; the repeat renews the leases."""
    async with World(fifo=True) as world:
        journal = Journal(world, seconds=15)
        consumer = await world.start(journal.handler(), **options(pollers=1))
        await asyncio.sleep(0.1)
        polls = Polls(world)
        consumer.process.suspend()
        await world.send("1", "2")
        await asyncio.sleep(20)
        consumer.process.resume()
        await world.until(lambda: not world.bodies(), within=60)
        assert polls.calls[0][2] == 1  # the repeat
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1), ("2", 1)]
        assert (await consumer.stop()).lost == 0


@virtual_processes
async def test_messages_that_are_read_after_their_leases_ended_do_not_run() -> None:
    """L25, L29: another process runs the group meanwhile; run here too, 1 would come after 3."""
    async with World(fifo=True) as world:
        journal, other = Journal(world), Journal(world, seconds=10)
        first = await world.start(journal.handler(), **options(pollers=1))
        await asyncio.sleep(0.1)
        first.process.suspend()
        await world.send("1", "2", "3", "4")
        second = await world.start(other.handler("second"), **options(pollers=1))
        await world.until(lambda: len(other.runs) == 3, within=120)
        first.process.resume()
        await world.until(lambda: not world.bodies(), within=60)
        assert journal.runs == []
        assert other.order == ["1", "2", "3", "4"]
        assert (await first.stop()).received == 0
        await second.stop()


@virtual
async def test_repeats_end_after_some_time() -> None:
    """An id is valid for five minutes: a network that is down for longer gets new ones."""
    async with World(fifo=True) as world:
        polls, journal = Polls(world), Journal(world)
        world.faults.set("ReceiveMessage", reset=1.0)
        consumer = await world.start(journal.handler(), **options(pollers=1))
        await asyncio.sleep(1_000)
        first = [at for at, attempt, _ in polls.calls if attempt == polls.ids[0]]
        assert first[-1] - first[0] < 300
        world.faults.clear()
        await world.send("1")
        await world.until(lambda: not world.bodies(), within=60)
        assert journal.order == ["1"]
        await consumer.stop()


@virtual
async def test_a_standard_queue_sends_no_attempt_id() -> None:
    async with World() as world:
        seen = list[bool]()
        start = world.broker.start

        def watched(operation: str, request: dict[str, Any]) -> Any:
            seen.append("ReceiveRequestAttemptId" in request)
            return start(operation, request)

        vars(world.broker).update(start=watched)

        async def handle(body: str) -> None: ...

        consumer = await world.start(handle, visibility_timeout=30)
        await asyncio.sleep(30)
        assert seen
        assert not any(seen)
        await consumer.stop()


@virtual
async def test_a_poll_waits_no_longer_than_a_repeat_under_its_leases_allows() -> None:
    """A receive is given up 5 s after its wait; repeated later than the visibility timeout, it would save nothing."""
    async with World(fifo=True) as world:
        consumer = await world.start(Journal(world).handler(), visibility_timeout=20, wait_time=20)
        polls = Polls(world)
        await asyncio.sleep(30)
        assert all(wait + 10 < 20 for _, _, wait in polls.calls)  # it waits for a shorter time by itself
        await consumer.stop()
