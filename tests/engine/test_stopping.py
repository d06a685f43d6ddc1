"""Stopping: in order, in bounded time, from any moment, and nothing dropped (L22-L24)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from leasekeeper.cli.serve import verdict
from leasekeeper.core.phases import Phase
from leasekeeper.engine.drain import END_GRACE
from leasekeeper.engine.stopping import FORCED_GRACE
from leasekeeper.exit_codes import Exit
from leasekeeper.life import log_unsettled
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.observe.statistics import Report
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.options import Dispatch, Unstarted

STRATEGIES = pytest.mark.parametrize("dispatch", ["semaphore", "pool"])


async def _nothing(body: str) -> None:
    """Finishes at once."""


def lasting(seconds: float) -> Callable[[str], Coroutine[None, None, None]]:
    """A handler that takes that long."""

    async def handle(body: str) -> None:
        await asyncio.sleep(seconds)

    return handle


@virtual
async def test_a_stop_goes_through_its_phases_in_order() -> None:
    """L22: not ready, no new polls, grace, release, drain with heartbeats on, flush, close."""
    async with World() as world:
        await world.send_many(10)
        world.faults.set("DeleteMessageBatch", latency=0.5)
        consumer = await world.start(
            lasting(4), concurrency=2, prefetch=18, throttle=False, poll_grace=1, ack_interval=1
        )
        await world.until(lambda: consumer.statistics().lane.waiting == 8)
        runner = consumer.runner
        seen: list[tuple[Phase, float]] = []
        assert runner.phase is Phase.RUNNING
        assert runner.healthy
        runner.stop()
        stopped = world.now
        while not consumer.task.done():
            if not seen or seen[-1][0] is not runner.phase:
                seen.append((runner.phase, round(world.now - stopped, 1)))
                assert runner.healthy is (runner.phase is Phase.RUNNING)
            await asyncio.sleep(0.01)
        assert [phase for phase, _ in seen] == [Phase.RUNNING, Phase.DRAINING, Phase.FLUSHING]
        report = await consumer.ended()
        assert (report.handled, report.acked, report.released, report.unsettled) == (2, 2, 8, 0)
        assert "CLOSED" in repr(runner)
        assert world.queue().visible == 8


@virtual
async def test_no_poll_begins_after_the_stop() -> None:
    """L22: the receives under way at the stop are the last."""
    async with World() as world:
        consumer = await world.start(lasting(5), concurrency=10)
        await world.send_many(4)
        await asyncio.sleep(1)
        before = world.broker.calls["ReceiveMessage"]
        await world.send_many(4)
        await consumer.stop()
        assert world.broker.calls["ReceiveMessage"] <= before + 1


@virtual
async def test_polls_in_flight_get_their_grace_and_what_they_bring_is_released() -> None:
    """L22, L23: a poll that answers 0.5 s after the stop: its messages are visible again at once."""
    async with World() as world:
        consumer = await world.start(_nothing, poll_grace=1.0)
        await asyncio.sleep(1)
        consumer.runner.stop()
        await asyncio.sleep(0.5)
        await world.send_many(10)
        report = await consumer.ended()
        assert (report.received, report.handled, report.released) == (10, 0, 10)
        assert world.queue().visible == 10


@virtual
async def test_what_a_poll_brings_in_after_the_stop_is_run_if_that_is_wanted() -> None:
    """L23, L24: with `on_unstarted='run'` it is run, for users who count receives."""
    async with World() as world:
        consumer = await world.start(_nothing, poll_grace=1.0, on_unstarted="run")
        await asyncio.sleep(1)
        consumer.runner.stop()
        await asyncio.sleep(0.5)
        await world.send_many(10)
        report = await consumer.ended()
        assert (report.received, report.handled, report.acked, report.released) == (10, 10, 10, 0)


@STRATEGIES
@virtual
async def test_what_was_not_started_is_released_in_bulk(dispatch: Dispatch) -> None:
    """L24: 39 waiting messages are visible again after four calls, long before the running one ends."""
    async with World() as world:
        await world.send_many(40)
        consumer = await world.start(
            lasting(15), concurrency=1, prefetch=39, throttle=False, dispatch=dispatch, pollers=1
        )
        await world.until(lambda: consumer.statistics().lane.waiting == 39)
        stopped = world.now
        consumer.runner.stop()
        await world.until(lambda: world.queue().visible == 39, within=2)
        assert world.now - stopped < 1.3  # the grace of polls, and a call
        assert world.broker.calls["ChangeMessageVisibilityBatch"] == 4
        report = await consumer.ended()
        assert (report.handled, report.acked, report.released) == (1, 1, 39)


@STRATEGIES
@virtual
async def test_what_was_not_started_is_run_if_that_is_wanted(dispatch: Dispatch) -> None:
    """L24: with `on_unstarted='run'` the waiting messages are run within the drain."""
    async with World() as world:
        await world.send_many(5)
        consumer = await world.start(
            lasting(2), concurrency=1, prefetch=4, throttle=False, dispatch=dispatch, on_unstarted="run"
        )
        await world.until(lambda: consumer.statistics().lane.waiting == 4)
        report = await consumer.stop()
        assert (report.handled, report.acked, report.released) == (5, 5, 0)


@STRATEGIES
@pytest.mark.parametrize("on_unstarted", ["release", "run"])
@virtual
async def test_at_the_deadline_handlers_are_cancelled_and_released(dispatch: Dispatch, on_unstarted: Unstarted) -> None:
    """L22: visible again at once, not after the visibility timeout."""
    async with World() as world:
        await world.send_many(6)
        cleaned = 0

        async def handle(body: str) -> None:
            nonlocal cleaned
            try:
                await asyncio.sleep(500)
            finally:
                cleaned += 1

        consumer = await world.start(
            handle,
            concurrency=4,
            prefetch=2,
            throttle=False,
            dispatch=dispatch,
            drain_timeout=5,
            on_unstarted=on_unstarted,
        )
        await world.until(lambda: consumer.statistics().lane.waiting == 2)
        stopped = world.now
        report = await consumer.stop()
        assert world.now - stopped <= 1 + 5 + END_GRACE + 1
        assert cleaned == 4
        assert (report.handled, report.released, report.unsettled) == (0, 6, 0)
        assert world.queue().visible == 6


@STRATEGIES
@virtual
async def test_a_second_stop_with_force_cuts_the_drain_short(dispatch: Dispatch) -> None:
    """L22: the second signal forces."""
    async with World() as world:
        await world.send("a")
        consumer = await world.start(lasting(500), drain_timeout=100, dispatch=dispatch)
        await world.until(lambda: consumer.statistics().lane.running)
        consumer.runner.stop()
        await asyncio.sleep(10)
        assert consumer.runner.phase is Phase.DRAINING
        forced = world.now
        report = await consumer.stop(force=True)
        assert world.now - forced <= FORCED_GRACE + 0.1
        assert report.released == 1


@virtual
async def test_two_stops_at_once_are_one() -> None:
    """L22: idempotent, and said from two places at once."""
    async with World() as world:
        await world.send_many(3)
        consumer = await world.start(lasting(3))
        await asyncio.sleep(0.5)
        first, second = await asyncio.gather(consumer.stop(), consumer.stop())
        assert first == second
        assert first.acked == 3
        consumer.runner.stop()
        consumer.runner.quiet()
        assert (await consumer.ended()).acked == 3


@virtual
async def test_a_stop_before_the_start_ends_the_run_at_once() -> None:
    """L22: legal before the start: nothing is received."""
    async with World() as world:
        await world.send("a")
        runner = await world.runner(_nothing)
        runner.stop()
        began = world.now
        await runner.run(lambda: None)
        assert runner.snapshot().ledger.received == 0
        assert world.now - began < 0.1
        assert world.broker.calls["ReceiveMessage"] == 0


@virtual
async def test_a_forced_stop_before_the_start_ends_the_run_at_once() -> None:
    """L22: with force as without."""
    async with World() as world:
        runner = await world.runner(_nothing)
        runner.stop(force=True)
        await runner.run(lambda: None)
        assert world.now < 0.1


@virtual
async def test_a_stop_in_the_very_moment_of_the_start_ends_it() -> None:
    """L22: said by the function that is told that it is ready."""
    async with World() as world:
        await world.send_many(20)
        runner = await world.runner(_nothing)
        await runner.run(runner.stop)
        counts = runner.snapshot().ledger
        assert counts.received == counts.released + counts.acked
        assert len(world.bodies()) == 20 - counts.acked


@virtual
async def test_quiet_receives_nothing_more_and_runs_what_is_here() -> None:
    """L22: `quiet` and `stop` are different verbs."""
    async with World() as world:
        await world.send_many(5)
        consumer = await world.start(lasting(3), concurrency=1, prefetch=4, throttle=False)
        await world.until(lambda: consumer.statistics().lane.waiting == 4)
        consumer.runner.quiet()
        await asyncio.sleep(2)
        await world.send_many(3)
        await asyncio.sleep(100)
        assert len(world.bodies()) == 3
        assert not consumer.task.done()
        assert not consumer.runner.healthy
        stopped = world.now
        report = await consumer.stop()
        assert (report.handled, report.acked, report.released) == (5, 5, 0)
        assert world.now == stopped


@virtual
async def test_a_stop_soon_after_quiet_releases_what_waits() -> None:
    """L22, L24: what has not been started by then is given back."""
    async with World() as world:
        await world.send_many(5)
        consumer = await world.start(lasting(3), concurrency=1, prefetch=4, throttle=False)
        await world.until(lambda: consumer.statistics().lane.waiting == 4)
        consumer.runner.quiet()
        await asyncio.sleep(0.2)
        report = await consumer.stop()
        assert (report.handled, report.acked, report.released) == (1, 1, 4)
        assert world.queue().visible == 4


@STRATEGIES
@virtual
async def test_a_handler_that_suppresses_its_cancellation_does_not_hold_the_stop_up(dispatch: Dispatch) -> None:
    """L22: bounded; it cannot be ended, so its message is not released while it may still be at work."""
    async with World() as world:
        await world.send("a")
        over = asyncio.Event()

        async def handle(body: str) -> None:
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue

        consumer = await world.start(handle, drain_timeout=5, visibility_timeout=30, dispatch=dispatch)
        await world.until(lambda: consumer.statistics().lane.running)
        stopped = world.now
        report = await consumer.stop()
        assert world.now - stopped <= 1 + 5 + END_GRACE + 0.1
        assert (report.released, report.unsettled) == (0, 1)
        assert world.queue().in_flight == 1
        over.set()
        await asyncio.sleep(1)
        assert world.bodies() == ["a"]


@STRATEGIES
@virtual
async def test_a_handler_that_ends_well_though_cancelled_is_acked(dispatch: Dispatch) -> None:
    """L1: finished work is finished, also when it finished after the deadline's cancellation."""
    async with World() as world:
        await world.send("a")

        async def handle(body: str) -> None:
            try:
                await asyncio.sleep(500)
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)

        consumer = await world.start(handle, drain_timeout=2, dispatch=dispatch)
        await world.until(lambda: consumer.statistics().lane.running)
        report = await consumer.stop()
        assert (report.handled, report.acked, report.released) == (1, 1, 0)
        assert not world.bodies()


@virtual
async def test_withheld_messages_are_waited_for_and_then_given_back() -> None:
    """L22: like running handlers."""
    async with World() as world:
        await world.send_many(3)

        async def handle(message: Message[str]) -> None:
            message.withhold()

        consumer = await world.start(handle, drain_timeout=8, visibility_timeout=5)
        await asyncio.sleep(1)
        stopped = world.now
        report = await consumer.stop()
        assert 8 <= world.now - stopped <= 11
        assert (report.released, report.lost) == (3, 0)
        assert world.queue().visible == 3


@virtual
async def test_withheld_messages_of_threads_are_not_called_handlers_that_run(caplog: pytest.LogCaptureFixture) -> None:
    """L22: given back at the deadline, they leave nothing that could not be ended."""
    async with World() as world:
        await world.send("a")

        def handle(message: Message[str]) -> None:
            message.withhold()

        consumer = await world.start(handle, drain_timeout=1, concurrency=1)
        worker = consumer.runner._worker
        await world.until(lambda: "1 withheld" in repr(worker), within=36_000)
        assert (await consumer.stop()).released == 1
        assert "still run" not in caplog.text


@virtual
async def test_a_flush_against_a_wall_is_bounded_and_says_what_it_left(caplog: pytest.LogCaptureFixture) -> None:
    """L22: deletes that are never answered hold the stop up for `flush_timeout`, however many there are."""
    async with World() as world:
        await world.send_many(500)
        world.faults.set("DeleteMessageBatch", hang=1.0)
        consumer = await world.start(_nothing, concurrency=500, flush_timeout=3, visibility_timeout=600)
        await world.until(lambda: consumer.statistics().work.done == 500)
        stopped = world.now
        report = await consumer.stop()
        assert world.now - stopped <= 1 + 3 + 0.1
        assert report.unsettled == 500
        assert "flush_timeout=3" in caplog.text


@virtual
async def test_finished_messages_that_could_not_be_deleted_are_open_only_until_their_leases_end() -> None:
    """L22: what was refused minutes before the stop may have been handled since; what is refused now comes again."""
    async with World() as world:
        await world.send_many(9)
        world.faults.set("DeleteMessageBatch", deny=1.0)
        consumer = await world.start(_nothing, concurrency=20, visibility_timeout=30)
        await world.until(lambda: consumer.statistics().ledger.unsettled == 9)
        consumer.runner.pause()
        await asyncio.sleep(210)
        world.faults.clear()
        report = await consumer.stop()
        assert (report.unsettled, report.still_open) == (9, 0)

        consumer = await world.start(_nothing, concurrency=20, visibility_timeout=30)
        world.faults.set("DeleteMessageBatch", deny=1.0)
        await world.until(lambda: consumer.statistics().ledger.unsettled == 9)
        report = await consumer.stop()
        assert (report.unsettled, report.still_open) == (9, 9)


def test_the_end_says_what_comes_again_and_what_may_have_been_handled_since(caplog: pytest.LogCaptureFixture) -> None:
    earlier = Report(queue="orders", seconds=1.0, received=9, unsettled=9)
    log_unsettled(earlier)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        (
            "WARNING",
            "queue orders: 9 finished messages could not be deleted earlier; they may have been handled again since",
        )
    ]
    caplog.clear()
    both = Report(queue="orders", seconds=1.0, received=9, unsettled=2, still_open=1)
    log_unsettled(both)
    assert [each.levelname for each in caplog.records] == ["WARNING", "ERROR"]
    assert "1 finished message could not" in caplog.text
    assert caplog.records[1].getMessage().endswith("1 message was received and not settled; it comes again")
    assert verdict([earlier], 1, unusable=False) is Exit.CLEAN
    assert verdict([both], 1, unusable=False) is Exit.FAILED


@virtual
async def test_a_flush_cut_short_while_entries_wait_for_another_try_still_reports() -> None:
    """L22: bounded also when deletes fail quickly and are put back, and some hang."""
    async with World(3) as world:
        await world.send_many(200)
        world.faults.set("DeleteMessageBatch", unavailable=0.6, hang=0.5)
        consumer = await world.start(_nothing, concurrency=200, flush_timeout=2, visibility_timeout=600)
        await world.until(lambda: consumer.statistics().work.done == 200)
        report = await consumer.stop()
        assert report.acked + report.unsettled == 200


@virtual
async def test_releases_against_a_wall_are_bounded_too() -> None:
    """L22: visibility changes that are never answered hold the stop up for `flush_timeout`."""
    async with World() as world:
        await world.send_many(20)
        world.faults.set("ChangeMessageVisibilityBatch", hang=1.0)
        consumer = await world.start(
            lasting(2), concurrency=1, prefetch=19, throttle=False, flush_timeout=3, visibility_timeout=600
        )
        await world.until(lambda: consumer.statistics().lane.waiting == 19)
        stopped = world.now
        report = await consumer.stop()
        assert world.now - stopped <= 2 + 3 + 0.1
        assert (report.acked, report.released, report.unsettled) == (1, 0, 19)


@virtual
async def test_one_delete_that_is_never_answered_does_not_leave_the_others_undone() -> None:
    """L1: of 25 deletes at a stop one call hangs: the 15 of the others are confirmed."""
    async with World() as world:
        await world.send_many(25)
        world.faults.next("DeleteMessageBatch", hang=1.0)
        consumer = await world.start(_nothing, concurrency=25, ack_interval=29, poll_grace=0)
        await world.until(lambda: consumer.statistics().work.done == 25)
        report = await consumer.stop()
        assert report.acked >= 15


@virtual
async def test_a_stop_during_an_outage_is_bounded() -> None:
    """L22: with every call of every kind failing or hanging."""
    async with World() as world:
        await world.send_many(30)
        consumer = await world.start(lasting(1), concurrency=10)
        await asyncio.sleep(0.5)
        world.faults.set("*", hang=0.3, unavailable=0.5, reset=0.5)
        await asyncio.sleep(60)
        stopped = world.now
        report = await consumer.stop()
        assert world.now - stopped <= 1 + 20 + END_GRACE + 5 + 0.1
        assert report.queue == "orders"


@virtual
async def test_after_a_stop_no_task_is_left_and_nothing_is_called() -> None:
    """L22: closed is closed."""
    async with World() as world:
        before = asyncio.all_tasks()
        await world.send_many(50)
        strategies: tuple[Dispatch, ...] = ("semaphore", "pool")
        for dispatch in strategies:
            world.faults.set("ReceiveMessage", latency=0.2)
            consumer = await world.start(lasting(1), concurrency=7, dispatch=dispatch)
            await asyncio.sleep(2)
            await consumer.stop()
            world.faults.clear()
            calls = world.broker.calls.total()
            await asyncio.sleep(0.001)
            assert asyncio.all_tasks() == before
            await asyncio.sleep(1_000)
            assert world.broker.calls.total() == calls


@virtual
async def test_the_hundredth_start_and_stop_is_as_the_first() -> None:
    """L22: a hundred runners one after the other handle everything once."""
    async with World() as world:
        await world.send_many(300)
        runs = Counter[str]()

        async def handle(body: str) -> None:
            await asyncio.sleep(0.2)
            runs[body] += 1

        for turn in range(100):
            consumer = await world.start(handle, concurrency=3, poll_grace=0.1)
            await asyncio.sleep(0.07 * (turn % 5))
            await consumer.stop()
        while world.bodies():
            consumer = await world.start(handle, concurrency=30)
            await asyncio.sleep(5)
            await consumer.stop()
        assert set(runs.values()) == {1}
        assert len(runs) == 300
