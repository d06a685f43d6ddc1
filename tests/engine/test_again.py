"""Runs again under one lease: the slot is kept, the receive count is not spent, and a stop leaves nothing hidden."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Message, Retries, Table
from leasekeeper.engine.ordering import Unordered
from leasekeeper.lanes.api import Answer
from leasekeeper.lanes.coroutines import CoroutineLane
from leasekeeper.lanes.semaphore_dispatch import SemaphoreDispatch
from leasekeeper.outcomes import NOT_STARTED
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.core.delivery import Delivery


class Failing:
    """A handler that fails with each message a number of times, and notes the attempts."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.attempts: list[tuple[int, int]] = []

    async def __call__(self, message: Message[str]) -> None:
        self.attempts.append((message.attempt, message.receive_count))
        await asyncio.sleep(0.1)
        if message.attempt <= self.times:
            raise ValueError("not yet")


@virtual
async def test_a_failed_message_runs_again_at_once_and_its_receive_count_stays() -> None:
    async with World() as world:
        await world.send("a")
        failing = Failing(2)
        consumer = await world.start(failing, retry=Retries(immediate=3))
        await world.until(lambda: consumer.statistics().ledger.acked, within=1)
        assert failing.attempts == [(1, 1), (2, 1), (3, 1)]
        assert world.broker.calls["ChangeMessageVisibilityBatch"] == 0
        work = consumer.statistics().work
        assert (work.done, work.failed) == (1, 2)


@virtual
async def test_after_the_tries_at_once_the_attempts_go_on_with_the_next_delivery() -> None:
    async with World() as world:
        await world.send("a")
        failing = Failing(4)
        consumer = await world.start(failing, retry=Retries(Table(2, 4), immediate=2))
        await world.until(lambda: consumer.statistics().ledger.acked)
        assert failing.attempts == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3)]


@virtual
async def test_a_message_keeps_its_slot_between_its_runs() -> None:
    """L20."""
    async with World() as world:
        await world.send_many(3)
        at_work = most = 0

        async def handle(message: Message[str]) -> None:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0.1)
            at_work -= 1
            if message.attempt <= 2:
                raise ValueError("not yet")

        consumer = await world.start(handle, retry=Retries(immediate=5), concurrency=2)
        await world.until(lambda: consumer.statistics().ledger.acked == 3, within=5)
        assert most == 2
        await asyncio.sleep(1)
        assert consumer.runner._capacity.taken == consumer.runner._capacity.polling


@pytest.mark.parametrize("force", [False, True])
@virtual
async def test_a_stop_gives_back_what_would_run_again(*, force: bool) -> None:
    """L22, L24: neither slot nor message stays behind, and the attempt that did not start is not counted."""
    async with World() as world:
        await world.send_many(20)
        failing = Failing(1_000_000)
        consumer = await world.start(failing, retry=Retries(immediate=100), concurrency=20)
        await asyncio.sleep(1)
        stopped = world.now
        report = await consumer.stop(force=force)
        assert world.now - stopped < 2
        assert (report.unsettled, world.queue().visible, world.queue().in_flight) == (0, 20, 0)


@virtual
async def test_a_message_that_ran_out_of_lease_between_two_runs_gives_its_slot_back() -> None:
    """L8, L20."""
    async with World() as world:
        await world.send("a")
        failing = Failing(1)
        consumer = await world.start(failing, retry=Retries(immediate=1), visibility_timeout=30)
        worker = consumer.runner._worker

        class Later(Unordered):
            def again(self, row: Delivery, after: float) -> None:
                super().again(row, after + 100)

        worker._ordering = Later(
            consumer.runner._lane,
            answered=worker.answered,
            lane_closed=lambda: None,
            wait=consumer.runner._capacity.wait,
        )
        world.faults.set("ChangeMessageVisibilityBatch", unavailable=1.0)
        await world.until(lambda: len(failing.attempts) == 2, within=60)
        assert failing.attempts == [(1, 1), (2, 2)], "the run that was planned did not start"
        await asyncio.sleep(10)
        taken = consumer.runner._capacity.taken - consumer.runner._capacity.polling
        assert (taken, consumer.statistics().ledger.lost, consumer.statistics().ledger.acked) == (1, 1, 1)
        await asyncio.sleep(100)
        assert consumer.runner._capacity.taken == consumer.runner._capacity.polling


@virtual
async def test_what_waits_for_its_next_run_is_recalled_and_answered() -> None:
    async with World() as world:
        await world.send_many(2)
        consumer = await world.start(lambda _body: asyncio.sleep(50), concurrency=2)
        await world.until(lambda: len(consumer.runner.context.ledger) == 2)
        first, second = consumer.runner.context.ledger
        answers: list[Answer[Delivery]] = []
        ordering = Unordered(
            consumer.runner._lane, answered=answers.extend, lane_closed=lambda: None, wait=lambda _: None
        )
        ordering.again(first, 5.0)
        ordering.again(second, 7.0)
        ordering.recall()
        assert answers == [Answer(first, NOT_STARTED), Answer(second, NOT_STARTED)]
        await asyncio.sleep(10)
        assert answers[2:] == []
        await consumer.stop(force=True)


@virtual
async def test_a_message_cannot_be_settled_between_two_of_its_runs() -> None:
    """L14: the handler that had it has ended."""
    async with World() as world:
        await world.send("a")
        seen: list[Message[str]] = []

        async def handle(message: Message[str]) -> None:
            seen.append(message)
            if message.attempt == 1:
                raise ValueError("not yet")

        consumer = await world.start(handle, retry=Retries(immediate=1))
        refused: list[str] = []

        def settle_between(_event: object) -> None:
            [row] = consumer.runner.context.ledger
            if not row.started:
                with pytest.raises(Exception, match="is settled already") as caught:
                    seen[0].ack()
                refused.append(caught.typename)

        consumer.events.subscribe(settle_between)
        await world.until(lambda: consumer.statistics().ledger.acked, within=1)
        assert refused[:1] == ["Closed"]
        assert consumer.statistics().work.done == 1


@virtual
async def test_a_failed_message_does_not_run_again_at_once_without_its_lease() -> None:
    """L8: it is left to its redelivery, and its slot is free."""
    async with World() as world:
        await world.send("a")
        attempts: list[tuple[int, int]] = []

        async def handle(message: Message[str]) -> None:
            attempts.append((message.attempt, message.receive_count))
            await asyncio.sleep(10)
            if message.attempt == 1:
                raise ValueError("too late")

        world.faults.set("ChangeMessageVisibilityBatch", unavailable=1.0)
        consumer = await world.start(
            handle, retry=Retries(immediate=1), concurrency=1, prefetch=0, visibility_timeout=3
        )
        await world.until(lambda: len(attempts) == 2)
        world.faults.clear()
        assert attempts == [(1, 1), (2, 2)]
        await world.until(lambda: not world.bodies())
        await asyncio.sleep(5)
        assert attempts[2:] == []
        assert consumer.runner._capacity.taken == consumer.runner._capacity.polling


@virtual
async def test_a_lane_that_is_closed_before_the_next_run_stops_the_consumer() -> None:
    """L23: the message is given back, as one that did not start."""
    async with World() as world:
        await world.send("a")
        failing = Failing(9)
        consumer = await world.start(failing, retry=Retries(immediate=9))
        lane = consumer.runner._lane
        assert isinstance(lane, CoroutineLane)
        strategy = lane._strategy
        assert isinstance(strategy, SemaphoreDispatch)
        await world.until(lambda: failing.attempts)
        strategy.down = True
        await world.until(consumer.task.done, within=60)
        assert (world.queue().visible, world.queue().in_flight) == (1, 0)
