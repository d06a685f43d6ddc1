"""Pause and resume: nothing is received meanwhile, what is here runs on, and leases are kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.core.phases import Phase
from leasekeeper.events import PhaseChanged
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.testing.world import Running


async def _nothing(body: str) -> None:
    """Finishes at once."""


async def _polls_are_over(world: World, consumer: Running) -> None:
    await world.until(lambda: not consumer.statistics().pollers, within=25)


@virtual
async def test_a_paused_consumer_receives_nothing_and_goes_on_when_resumed() -> None:
    async with World() as world:
        consumer = await world.start(_nothing)
        consumer.runner.pause()
        await _polls_are_over(world, consumer)
        calls = world.broker.calls["ReceiveMessage"]
        await world.send("a")
        await asyncio.sleep(600)
        assert world.broker.calls["ReceiveMessage"] == calls
        assert world.queue().visible == 1
        consumer.runner.resume()
        await world.until(lambda: not world.bodies(), within=2)
        assert (await consumer.stop()).acked == 1


@virtual
async def test_what_runs_at_a_pause_runs_on_under_its_lease() -> None:
    """Three times the visibility timeout, and what waits for a handler is run as well."""
    async with World() as world:
        done: list[str] = []

        async def slow(body: str) -> None:
            await asyncio.sleep(90)
            done.append(body)

        await world.send_many(6)
        consumer = await world.start(slow, concurrency=3, prefetch=3, visibility_timeout=30)
        await world.until(lambda: sum(consumer.statistics().ledger.held.values()) == 6, within=200)
        consumer.runner.pause()
        await world.until(lambda: len(done) == 6, within=400)
        assert sorted(done) == list("012345")
        assert (await consumer.stop()).lost == 0


@virtual
async def test_what_an_open_poll_brings_after_the_pause_is_run() -> None:
    """SQS hands the message to the poll that waits there: not to run it would only hide it."""
    async with World() as world:
        consumer = await world.start(_nothing)
        await asyncio.sleep(1)
        consumer.runner.pause()
        await world.send("a")
        await world.until(lambda: not world.bodies(), within=2)
        assert consumer.statistics().pollers == 0


@virtual
async def test_a_poll_that_is_open_over_a_pause_and_a_resume_goes_on() -> None:
    """No second poll beside it, and none missing when it has ended."""
    async with World() as world:
        consumer = await world.start(_nothing)
        await asyncio.sleep(1)
        for _ in range(5):
            consumer.runner.pause()
            consumer.runner.pause()
            consumer.runner.resume()
            consumer.runner.resume()
        await asyncio.sleep(1)
        assert world.broker.calls["ReceiveMessage"] == 1
        await asyncio.sleep(100)
        assert consumer.statistics().pollers == 1
        await world.send("a")
        await world.until(lambda: not world.bodies(), within=2)


@virtual
async def test_a_paused_consumer_is_healthy_also_when_sqs_is_away() -> None:
    async with World() as world:
        consumer = await world.start(_nothing, unhealthy_after=60)
        phases: list[str] = []
        consumer.events.subscribe(lambda event: phases.append(event.phase), PhaseChanged)
        consumer.runner.pause()
        world.faults.set("ReceiveMessage", unavailable=1.0)
        await asyncio.sleep(600)
        assert consumer.runner.healthy
        assert consumer.statistics().phase == "paused"
        world.faults.clear()
        consumer.runner.resume()
        assert consumer.runner.healthy
        assert phases == ["paused", "running"]


@virtual
async def test_pauses_do_not_spare_a_queue_that_fails_its_back_off() -> None:
    """L16: also a consumer that is paused and resumed every second calls it less and less often."""
    async with World() as world:
        world.faults.set("ReceiveMessage", unavailable=1.0)
        consumer = await world.start(_nothing)
        for _ in range(100):
            consumer.runner.pause()
            await asyncio.sleep(0.5)
            consumer.runner.resume()
            await asyncio.sleep(0.5)
        assert world.broker.calls["ReceiveMessage"] <= 30


@virtual
async def test_a_stop_while_paused_ends_at_once_and_a_resume_after_it_changes_nothing() -> None:
    """L22: also after `quiet`, which is final."""
    async with World() as world:
        consumer = await world.start(_nothing)
        consumer.runner.pause()
        consumer.runner.quiet()
        consumer.runner.resume()
        await asyncio.sleep(30)
        assert consumer.runner.phase is Phase.QUIET
        assert consumer.statistics().pollers == 0
        consumer.runner.pause()
        began = world.now
        report = await consumer.stop()
        consumer.runner.resume()
        assert world.now - began < 2
        assert report.unsettled == 0


@virtual
async def test_a_consumer_can_be_paused_before_it_polls() -> None:
    async with World() as world:
        await world.send("a")
        for paused in True, False:
            runner = await world.runner(_nothing)
            runner.pause()
            if not paused:
                runner.resume()
            task = asyncio.create_task(runner.run(lambda: None))
            await asyncio.sleep(30)
            assert runner.phase is (Phase.PAUSED if paused else Phase.RUNNING)
            assert len(world.bodies()) == paused
            runner.stop()
            await task


@virtual
async def test_a_pause_while_all_slots_are_taken_receives_nothing_when_they_come_free() -> None:
    """A poller that waits for slots is between receives too."""
    async with World() as world:
        release = asyncio.Event()

        async def wait(_: str) -> None:
            await release.wait()

        await world.send_many(30)
        consumer = await world.start(wait, concurrency=5, prefetch=0)
        await asyncio.sleep(5)
        received = consumer.statistics().receives.messages
        consumer.runner.pause()
        release.set()
        await asyncio.sleep(60)
        assert consumer.statistics().receives.messages == received == 5
        consumer.runner.resume()
        await world.until(lambda: not world.bodies(), within=10)
