"""Rates: no window has more starts than they allow, and what may not start is left in the queue."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from leasekeeper.batch import Batch  # noqa: TC001 - the annotation of the handler is read
from leasekeeper.core.delivery import Delivery, Lease
from leasekeeper.engine.limits import gate_for
from leasekeeper.message import Message, Received
from leasekeeper.options import Options
from leasekeeper.outcomes import Retry
from leasekeeper.retries import Retries
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.options import Dispatch

STRATEGIES = pytest.mark.parametrize("dispatch", ["semaphore", "pool"])


def check(starts: list[float], *, rate: float, burst: int) -> None:
    """No window between two starts has more of them than burst and rate allow."""
    least = math.inf
    for index, start in enumerate(starts):  # of all earlier starts, that with the least value allows the fewest
        value = index - rate * start
        least = min(least, value)
        assert value - least + 1 <= burst + 1e-3


@STRATEGIES
@pytest.mark.parametrize(("rate", "burst"), [(0.5, 1), (2, 1), (5, 5), (30, 1), (30, 100), (200, 20)])
@virtual
async def test_a_backlog_starts_at_the_rate_and_never_faster(rate: float, burst: int, dispatch: Dispatch) -> None:
    """Also when receives take 50 ms and handlers far longer than the time between two starts."""
    async with World() as world:
        starts: list[float] = []

        async def handle(_: str) -> None:
            starts.append(world.now)
            await asyncio.sleep(1)

        world.faults.set("ReceiveMessage", latency=0.05)
        count = int(burst + 8 * rate) + 10
        await world.send_many(count)
        began = world.now
        await world.start(handle, rate=rate, burst=burst, concurrency=500, dispatch=dispatch, visibility_timeout=5)
        await world.until(lambda: len(starts) == count, within=200)
        check(starts, rate=rate, burst=burst)
        took = starts[-1] - began
        assert took <= 1.02 * (count - burst) / rate + 0.5
        assert world.queue().in_flight <= 500


@virtual
async def test_what_may_not_start_stays_in_the_queue_with_its_receive_count() -> None:
    """A hundred messages at one a second: no more is received than starts soon."""
    async with World(max_receives=2) as world:
        counts: list[int] = []
        held: list[int] = []

        async def handle(_: str) -> None:
            counts.append(1)

        await world.send_many(100)
        consumer = await world.start(handle, rate=1, burst=3, visibility_timeout=5)
        for _ in range(80):
            await asyncio.sleep(1)
            held.append(consumer.statistics().lane.waiting)
            assert consumer.runner.healthy
        assert 80 <= len(counts) <= 84
        assert max(held) <= 1
        assert len(counts) <= consumer.statistics().receives.messages <= len(counts) + 1
        report = await consumer.stop()
        assert report.lost == 0
        assert world.bodies("orders-dead") == []


@virtual
async def test_a_rate_that_allows_ten_in_a_moment_costs_a_receive_for_ten() -> None:
    async with World() as world:

        async def handle(_: str) -> None:
            pass

        await world.send_many(1000)
        await world.start(handle, rate=100, burst=100)
        await world.until(lambda: not world.bodies(), within=20)
        assert world.broker.calls["ReceiveMessage"] <= 110


@virtual
async def test_an_idle_queue_costs_one_long_poll_and_a_message_starts_at_once() -> None:
    async with World() as world:
        starts: list[float] = []

        async def handle(_: str) -> None:
            starts.append(world.now)

        await world.start(handle, rate=2, burst=1)
        await asyncio.sleep(300)
        assert world.broker.calls["ReceiveMessage"] <= 16
        sent = world.now
        await world.send("a")
        await world.until(lambda: starts, within=2)
        assert starts[0] - sent < 0.05


@virtual
async def test_runs_again_of_a_message_count_as_starts() -> None:
    """A retry through the queue, and one under the message's own lease."""
    async with World() as world:
        starts: list[float] = []

        async def handle(_: str) -> None:
            starts.append(world.now)
            if len(starts) < 30:
                raise Retry(after=0)

        await world.send("a", "b", "c")
        await world.start(handle, rate=4, burst=2)
        await world.until(lambda: not world.bodies(), within=60)
        check(starts, rate=4, burst=2)
        assert len(starts) == 32


@virtual
async def test_a_stop_gives_back_what_waits_for_its_token() -> None:
    """L22, L24: nothing waits for tokens at a stop."""
    async with World() as world:

        async def handle(_: str) -> None:
            pass

        await world.send_many(50)
        consumer = await world.start(handle, rate=8, burst=1)
        await world.until(lambda: consumer.statistics().lane.waiting, within=10, step=0.001)
        began = world.now
        report = await consumer.stop()
        assert world.now - began < 2
        assert report.unsettled == 0
        assert world.queue().visible == 50 - report.handled


@virtual
async def test_at_a_stop_that_runs_what_is_here_the_rate_still_holds() -> None:
    async with World() as world:
        starts: list[float] = []

        async def handle(_: str) -> None:
            starts.append(world.now)

        await world.send_many(50)
        consumer = await world.start(handle, rate=8, burst=1, on_unstarted="run")
        await world.until(lambda: consumer.statistics().lane.waiting, within=10, step=0.001)
        report = await consumer.stop()
        check(starts, rate=8, burst=1)
        assert report.received == report.acked == len(starts)


@virtual
async def test_a_rate_and_few_handlers_hold_together() -> None:
    """What is received may also wait for a handler: then it starts late, and the starts do not bunch up."""
    async with World() as world:
        starts: list[float] = []
        running, most = 0, 0

        async def handle(_: str) -> None:
            nonlocal running, most
            starts.append(world.now)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.7 if len(starts) % 20 else 10)
            running -= 1

        await world.send_many(200)
        await world.start(handle, rate=20, burst=5, concurrency=3)
        await world.until(lambda: len(starts) == 200, within=600)
        check(starts, rate=20, burst=5)
        assert most == 3


@virtual
async def test_a_rate_holds_on_a_fifo_queue_and_keeps_its_order() -> None:
    """Receives bring ten messages there, and those behind a failed one count as starts only when they start."""
    async with World(fifo=True) as world:
        starts: list[float] = []
        done: dict[str, list[int]] = {}

        async def handle(body: str) -> None:
            starts.append(world.now)
            group, number = body.split("-")
            if number == "3" and len(starts) < 15:
                raise Retry(after=1)
            done.setdefault(group, []).append(int(number))

        for number in range(10):
            for group in "abc":
                await world.send(f"{group}-{number}", MessageGroupId=group)
        began = world.now
        consumer = await world.start(handle, rate=3, burst=2)
        await world.until(lambda: not world.bodies(world.name), within=60)
        check(starts, rate=3, burst=2)
        assert done == {group: list(range(10)) for group in "abc"}
        assert starts[-1] - began <= (len(starts) - 2) / 3 + 1
        assert (await consumer.stop()).lost == 0


@virtual
async def test_messages_of_a_fifo_queue_that_run_again_at_once_count_as_running() -> None:
    """Otherwise a receive would be made for handlers that are busy."""
    async with World(fifo=True) as world:

        async def handle(message: Message[str]) -> None:
            await asyncio.sleep(1)
            if message.attempt == 1:
                raise RuntimeError("the first attempt")

        for number in range(6):
            await world.send(str(number), group=str(number))
        consumer = await world.start(handle, rate=100.0, concurrency=10, retry=Retries(immediate=1))
        await asyncio.sleep(1.5)
        gate = consumer.runner._gate
        assert gate is not None
        assert (gate.running, gate.waiting) == (6, 0)
        await world.until(lambda: not world.bodies(), within=10)
        assert gate.running == 0


def test_threads_bound_what_may_start_where_they_are_fewer_than_handlers() -> None:
    """What waits, waits at the gate: behind a busy thread it would start without a look at the rate."""
    options = Options(rate=5, concurrency=80, threads=8)
    for coroutines, most in (True, 80), (False, 8):
        gate = gate_for(options, coroutines=coroutines, wake=print)
        assert gate is not None
        gate.line.add([row(str(number)) for number in range(100)])
        assert len(gate.start(0.0)) == 5
        assert repr(gate) == f"<Gate 5/{most} running, 95 waiting>"
    assert gate_for(Options(), coroutines=True, wake=print) is None


def row(name: str) -> Delivery:
    return Delivery(Received(message_id=name, receipt=name), Lease(30, 0, 15, 30), 0, 0)


@virtual
async def test_each_message_of_a_batch_counts() -> None:
    """On a standard queue, and on a FIFO queue, where the messages of a batch start together."""
    for fifo, together in (False, 1), (True, 5):
        async with World(fifo=fifo) as world:
            starts: list[float] = []

            async def handle(batch: Batch[str], starts: list[float] = starts, world: World = world) -> None:
                starts.extend([world.now] * len(batch))

            for group in "abcdef":
                await world.send_many(10, group=group)
            await world.start(handle, batch=5, batch_wait=0.1, rate=10, burst=5)
            await world.until(lambda world=world: not world.bodies(world.name), within=60)  # type: ignore[misc]
            assert len(starts) == 60
            check(starts, rate=10, burst=5 + together)
