"""Acknowledging: confirmed, in bulk, in time, and never lost (L1, L2, L11-L14)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from leasekeeper.errors import Closed
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Settled, Settlement
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


async def _nothing(body: str) -> None:
    """Finishes at once."""


@virtual
async def test_13_finished_messages_are_confirmed_deleted_when_stop_returns() -> None:
    """L1: a stop right after 13 messages finished waits for no interval and no threshold, and loses none."""
    async with World() as world:
        await world.send_many(13)
        world.faults.set("DeleteMessageBatch", latency=0.2)
        consumer = await world.start(_nothing, ack_interval=29, poll_grace=0)
        await world.until(lambda: consumer.statistics().work.done == 13)
        stopped = world.now
        report = await consumer.stop()
        assert report.acked == 13
        assert not world.bodies()
        assert world.now - stopped < 0.5


@virtual
async def test_a_stop_during_a_delete_lets_the_delete_complete() -> None:
    """L2: settling takes neither the stop's nor the cancel's token."""
    async with World() as world:
        await world.send("a")
        world.faults.set("DeleteMessageBatch", latency=4.0)
        consumer = await world.start(_nothing, ack_batch_size=1, drain_timeout=0, poll_grace=0)
        await world.until(lambda: world.broker.calls["DeleteMessageBatch"] or world.now > 1)
        assert world.bodies() == ["a"]  # the delete is on its way
        report = await consumer.stop(force=True)
        assert report.acked == 1
        assert not world.bodies()


@pytest.mark.parametrize("fault", ["unavailable", "throttle", "reset", "fail_entries", "lose_by_reset", "garbage"])
@virtual
async def test_deletes_that_fail_during_a_flush_are_tried_again(fault: str) -> None:
    """L1: what a passing error left undeleted at the stop is deleted before it returns."""
    async with World() as world:
        await world.send_many(25)
        world.faults.next("DeleteMessageBatch", times=4, **{fault: 1.0})
        consumer = await world.start(_nothing, ack_interval=29, poll_grace=0, concurrency=30)
        await world.until(lambda: consumer.statistics().work.done == 25)
        report = await consumer.stop()
        assert report.acked == 25
        assert not world.bodies()


@virtual
async def test_two_deliveries_of_one_message_in_one_batch_both_settle() -> None:
    """L11: entry ids are positional, so two receipts of one message go in one call and both are answered."""
    async with World() as world:
        await world.send("a")
        url = world.queue_url
        first = await world.client.receive(url, maximum=1, wait=0, visibility=0)
        second = await world.client.receive(url, maximum=1, wait=0, visibility=30)
        assert first[0].message_id == second[0].message_id
        assert await world.client.delete_batch(url, [first[0].receipt, second[0].receipt]) == [None, None]
        assert not world.bodies()


@virtual
async def test_a_delete_overtaken_by_a_redelivery_is_made_again_with_the_newer_receipt() -> None:
    """L11, L29: a receipt that a redelivery outdated deletes nothing, though SQS says yes; the newer one is used."""
    async with World() as world:
        await world.send("a")
        world.faults.next("ReceiveMessage", duplicate=1.0)
        world.faults.next("DeleteMessageBatch", latency=2.0)
        consumer = await world.start(_nothing, ack_batch_size=1, ack_interval=0)
        await world.until(lambda: not world.bodies(), within=20)
        report = await consumer.stop()
        assert (report.received, report.acked, report.handled) == (2, 1, 1)


@virtual
async def test_only_the_entries_that_failed_are_tried_again() -> None:
    """L12: with half of each batch failing, ten deletes are confirmed once each and all of them in the end."""
    async with World() as world:
        await world.send_many(10)
        world.faults.next("DeleteMessageBatch", times=3, fail_entries=0.5)
        consumer = await world.start(_nothing)
        await world.until(lambda: not world.bodies(), within=20)
        statistics = consumer.statistics()
        report = await consumer.stop()
        assert report.acked == 10
        assert 0 < statistics.errors["InternalError"] < 30
        assert statistics.acks.calls <= 4


@virtual
async def test_an_entry_that_is_refused_for_good_is_reported_with_its_code_and_not_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """L12: a denied delete is not repeated; its code is counted and logged."""
    async with World() as world:
        await world.send("a")
        world.faults.set("DeleteMessageBatch", deny=1.0)
        consumer = await world.start(_nothing, visibility_timeout=60)
        await asyncio.sleep(30)
        statistics = consumer.statistics()
        assert statistics.acks.calls == 1
        assert statistics.ledger.unsettled == 1
        assert list(statistics.errors.values()) == [1]
        assert next(iter(statistics.errors)) in caplog.text


@virtual
async def test_a_flush_is_due_by_the_age_of_its_oldest_entry() -> None:
    """L13: a message finished every 0.1 s does not put the delete of the first one off."""
    async with World() as world:
        await world.send_many(9)
        consumer = await world.start(lasting(0.1), concurrency=1, ack_interval=0.5, throttle=False, prefetch=8)
        await world.until(lambda: consumer.statistics().work.done == 1)
        finished = world.now
        await world.until(lambda: len(world.bodies()) < 9)
        assert world.now - finished == pytest.approx(0.5, abs=0.05)


@virtual
async def test_a_flush_is_due_before_the_lease_of_its_oldest_entry_ends() -> None:
    """L13: an ack interval of 4.5 s under a lease of 5 s, finished late in it, is cut short."""
    async with World() as world:
        await world.send("a")
        consumer = await world.start(lasting(2.0), visibility_timeout=5, ack_interval=4.5)
        await world.until(lambda: not world.bodies(), within=20)
        report = await consumer.stop()
        assert (report.received, report.acked, report.lost) == (1, 1, 0)


@virtual
async def test_the_end_of_an_early_ack_can_be_awaited() -> None:
    """L14: `await message.ack()` says that the delete was confirmed; the handler goes on, and is counted once."""
    async with World() as world:
        await world.send("a")
        settled: list[Settled] = []

        async def handle(message: Message[str]) -> None:
            settled.append(await message.ack())
            assert not world.bodies()
            with pytest.raises(Closed):
                message.ack()
            await asyncio.sleep(5)

        consumer = await world.start(handle)
        await world.until(lambda: consumer.statistics().work.done)
        await asyncio.sleep(10)
        report = await consumer.stop()
        assert settled == [Settled.ACKED]
        assert (report.handled, report.acked, report.failed) == (1, 1, 0)


@virtual
async def test_a_handler_that_fails_after_its_early_ack_is_not_said_to_be_retried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """L14: the ack stands; the failure is counted, and no log promises a retry that will not come."""
    async with World() as world:
        await world.send("a")

        async def handle(message: Message[str]) -> None:
            await message.ack()
            raise RuntimeError("too late")

        consumer = await world.start(handle)
        await world.until(lambda: consumer.statistics().work.failed)
        report = await consumer.stop()
        assert (report.acked, report.failed, report.handled) == (1, 1, 0)
        assert "is retried" not in caplog.text
        assert "too late" in caplog.text


@virtual
async def test_the_end_of_an_early_retry_can_be_awaited() -> None:
    """L14: `await message.retry(after)` says that SQS took the change."""
    async with World() as world:
        await world.send("a")
        runs = Counter[str]()
        settled: list[Settled] = []

        async def handle(message: Message[str]) -> None:
            runs[message.body] += 1
            if message.receive_count == 1:
                settled.append(await message.retry(20))

        consumer = await world.start(handle)
        await world.until(lambda: runs["a"] == 2, within=30)
        assert settled == [Settled.RELEASED]
        assert world.now >= 20
        assert (await consumer.stop()).retried == 1


@virtual
async def test_an_ack_refused_for_good_says_that_it_is_lost() -> None:
    """L14: a denied delete resolves the settlement as lost."""
    async with World() as world:
        await world.send("a")
        settled: list[Settled] = []
        world.faults.set("DeleteMessageBatch", deny=1.0)

        async def handle(message: Message[str]) -> None:
            settled.append(await message.ack())

        await world.start(handle)
        await world.until(lambda: settled, within=30)
        assert settled == [Settled.LOST]


@virtual
async def test_acking_after_close_raises() -> None:
    """L14: a handler that outlives its consumer learns that its ack cannot be made."""
    async with World() as world:
        await world.send("a")
        raised: list[str] = []
        release = asyncio.Event()

        async def handle(message: Message[str]) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:  # it will not be ended
                    continue
            try:
                message.ack()
            except Closed as error:
                raised.append(str(error))

        consumer = await world.start(handle, drain_timeout=1, concurrency=1)
        await world.until(lambda: consumer.statistics().lane.running)
        await consumer.stop()
        release.set()
        await asyncio.sleep(0.1)
        assert len(raised) == 1
        assert "closed" in raised[0]


@virtual
async def test_a_settlement_that_the_flush_could_not_make_says_that_it_is_lost() -> None:
    """L14: a stop that runs out of `flush_timeout` leaves no handler waiting for ever."""
    async with World() as world:
        await world.send("a")
        settlements: list[Settlement] = []
        world.faults.set("DeleteMessageBatch", hang=1.0)

        async def handle(message: Message[str]) -> None:
            settlements.append(message.ack())

        consumer = await world.start(handle, flush_timeout=3)
        await world.until(lambda: settlements)
        report = await consumer.stop()
        assert report.unsettled == 1
        assert settlements[0].done()
        assert await settlements[0] is Settled.LOST


@virtual
async def test_a_message_withheld_is_acked_later() -> None:
    """L14: withheld, it keeps its lease and its place until `ack()`; the stop waits for it."""
    async with World() as world:
        await world.send("a")
        kept: list[Message[str]] = []

        async def handle(message: Message[str]) -> None:
            message.withhold()
            kept.append(message)

        consumer = await world.start(handle, visibility_timeout=10, concurrency=1, prefetch=0, drain_timeout=60)
        await world.until(lambda: kept)
        await asyncio.sleep(40)
        assert consumer.statistics().slots_taken == 1
        stopping = asyncio.ensure_future(consumer.stop())
        await asyncio.sleep(20)
        assert not stopping.done()
        assert await kept[0].ack() is Settled.ACKED
        report = await stopping
        assert (report.received, report.acked, report.lost) == (1, 1, 0)


@virtual
async def test_batches_of_one_are_deleted_at_once() -> None:
    """The second harvester: with `ack_batch_size=1` each message is deleted as soon as it is finished."""
    async with World() as world:
        await world.send_many(5)
        consumer = await world.start(_nothing, ack_batch_size=1, ack_interval=29)
        await world.until(lambda: not world.bodies(), within=1)
        assert world.broker.calls["DeleteMessageBatch"] == 5
        await consumer.stop()


def lasting(seconds: float) -> Callable[[str], Coroutine[None, None, None]]:
    """A handler that takes that long."""

    async def handle(body: str) -> None:
        await asyncio.sleep(seconds)

    return handle


@virtual
async def test_a_silent_delete_leaves_time_for_another_try_within_a_short_lease() -> None:
    """L12: the client would wait ten seconds for its answer; a lease of three has ended by then."""
    async with World() as world:
        await world.send("a")
        world.faults.set("DeleteMessageBatch", hang=1.0)
        consumer = await world.start(_nothing, ack_batch_size=1, visibility_timeout=3)
        await world.until(lambda: world.broker.calls["DeleteMessageBatch"] >= 1)
        world.faults.clear()
        await world.until(lambda: not world.bodies(), within=3)
        report = await consumer.stop()
        assert (report.received, report.handled, report.acked, report.unsettled) == (1, 1, 1, 0)
