"""The lease: kept from the receive to the confirmed delete, by one writer, and honest about its loss (L3-L8, L10)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.errors import Closed
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Retry, Settled
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.options import Dispatch

TWELVE_HOURS = 43_200.0


@virtual
async def test_ten_messages_of_2_s_one_at_a_time_under_a_visibility_of_5_s_are_not_redelivered() -> None:
    """L3: the lease covers the receive, the buffer, the handler and the ack buffer, until the delete is confirmed."""
    async with World() as world:
        await world.send_many(10)
        runs = Counter[str]()

        async def handle(body: str) -> None:
            runs[body] += 1
            await asyncio.sleep(2)

        consumer = await world.start(
            handle, concurrency=1, prefetch=9, throttle=False, visibility_timeout=5, ack_interval=1.0
        )
        await world.until(lambda: not world.bodies(), within=60)
        report = await consumer.stop()
        assert set(runs.values()) == {1}
        assert (report.received, report.acked, report.lost) == (10, 10, 0)


@virtual
async def test_an_ack_that_waits_longer_than_the_visibility_keeps_its_lease() -> None:
    """L3: a delete refused for 20 s under a visibility of 5 s is confirmed in the end, inside the lease."""
    async with World() as world:
        world.faults.set("DeleteMessageBatch", unavailable=1.0)
        await world.send("a")

        async def handle(body: str) -> None:
            pass

        consumer = await world.start(handle, visibility_timeout=5)
        await asyncio.sleep(20)
        world.faults.clear()
        await world.until(lambda: not world.bodies(), within=10)
        report = await consumer.stop()
        assert (report.received, report.handled, report.acked, report.lost) == (1, 1, 1, 0)


@virtual
async def test_heartbeats_go_on_during_a_drain() -> None:
    """L4: a handler of three times the visibility that runs when the stop arrives ends without a redelivery."""
    async with World() as world:
        await world.send("a")
        runs = Counter[str]()

        async def handle(body: str) -> None:
            runs[body] += 1
            await asyncio.sleep(15)

        consumer = await world.start(handle, visibility_timeout=5, drain_timeout=60)
        other = await world.start(handle, visibility_timeout=5)  # would receive it if its lease lapsed
        await world.until(lambda: runs["a"])
        began = world.now
        report = await consumer.stop()
        assert 14 < world.now - began < 17
        assert runs == {"a": 1}
        assert report.acked + (await other.stop()).acked == 1


@virtual
async def test_a_back_off_stands_however_slow_the_heartbeats_answer() -> None:
    """L5: the extension under way is over before the back-off is set, so 60 s stay 60 s."""
    async with World() as world:
        await world.send("a")
        starts: list[float] = []

        async def handle(body: str) -> Retry | None:
            starts.append(world.now)
            if len(starts) > 1:
                return None
            await asyncio.sleep(15.5)  # the extension of second 15 is on its way
            raise Retry(60)

        world.faults.set("ChangeMessageVisibilityBatch", latency=8.0)
        consumer = await world.start(handle, visibility_timeout=30)
        await world.until(lambda: len(starts) == 2)
        # Failed at 15.5, the extension was answered at 23.1, the back-off arrived at 27.
        assert 60 <= starts[1] - (starts[0] + 15.5) < 75
        report = await consumer.stop()
        assert (report.released, report.lost) == (1, 0)


@virtual
async def test_a_heartbeat_that_fails_after_a_successful_delete_is_no_error() -> None:
    """L5: the delete wins; the extension that was on its way is refused, and counts as nothing."""
    async with World() as world:
        await world.send("a")

        async def handle(body: str) -> None:
            await asyncio.sleep(15.2)

        world.faults.next("ChangeMessageVisibilityBatch", latency=8.0)
        consumer = await world.start(handle, visibility_timeout=30, ack_batch_size=1)
        await world.until(lambda: not world.bodies())
        await asyncio.sleep(20)
        now = consumer.statistics()
        assert (now.heartbeat.calls, now.heartbeat.failed, now.errors) == (1, 0, {})
        assert world.broker.calls["ChangeMessageVisibilityBatch"] == 1  # it was made, and refused
        report = await consumer.stop()
        assert (report.acked, report.lost, report.unsettled) == (1, 0, 0)


WAYS = ("success", "failure", "retry", "reject", "skip", "bad payload", "duplicate", "stop", "timeout", "early ack")


@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_every_way_out_untracks(way: str) -> None:
    """L6: after a message is settled, however that came about, nothing changes its visibility any more."""
    async with World(max_receives=100) as world:

        async def handle(message: Message[dict[str, int]]) -> Retry | None:
            if way == "failure":
                raise RuntimeError("no")
            if way == "retry":
                return Retry(300)
            if way == "reject":
                from leasekeeper import Reject

                raise Reject("never")
            if way == "early ack":
                await message.ack()
            if way in ("stop", "timeout"):
                await asyncio.sleep(1_000)
            return None

        await world.send("no json" if way == "bad payload" else "{}")
        if way == "duplicate":
            world.faults.set("ReceiveMessage", duplicate=1.0)
        timeout = 5 if way == "timeout" else None
        consumer = await world.start(
            handle, visibility_timeout=2, retry_base=300, handler_timeout=timeout, drain_timeout=1
        )
        await asyncio.sleep(8)
        world.faults.clear()
        if way == "stop":
            await consumer.stop()
        await asyncio.sleep(2)
        settled = world.broker.calls["ChangeMessageVisibilityBatch"]
        await asyncio.sleep(100)
        assert world.broker.calls["ChangeMessageVisibilityBatch"] == settled
        assert consumer.statistics().slots_taken <= 10  # the places of the one poll
        assert len(consumer.runner.context.ledger) == 0


@pytest.mark.parametrize("fault", ["throttle", "unavailable", "reset", "fail_entries", "garbage", "lose_by_reset"])
@virtual
async def test_a_passing_heartbeat_error_is_tried_again_until_the_lease_ends(fault: str) -> None:
    """L7: a throttle, a 5xx, a reset, a failed entry is passing: the extension is tried again and the lease kept."""
    async with World() as world:
        await world.send("a")

        async def handle(message: Message[str]) -> None:
            await asyncio.sleep(100)
            assert not message.lease_lost

        world.faults.next("ChangeMessageVisibilityBatch", times=2, **{fault: 1})
        consumer = await world.start(handle, visibility_timeout=10)
        await world.until(lambda: not world.bodies(), step=0.5)
        report = await consumer.stop()
        assert (report.received, report.acked, report.lost) == (1, 1, 0)


@pytest.mark.parametrize("visibility", [2, 5, 10, 20, 30])
@pytest.mark.parametrize("fault", ["hang", "lose"])
@virtual
async def test_a_heartbeat_that_is_never_answered_is_tried_again_until_the_lease_ends(
    fault: str, visibility: int
) -> None:
    """L7: one extension into a black hole costs no lease, though the client's own deadline is longer than the lease."""
    async with World() as world:
        await world.send("a")

        async def handle(body: str) -> None:
            await asyncio.sleep(4 * visibility)

        switches: dict[str, Any] = {fault: 1.0}
        world.faults.next("ChangeMessageVisibilityBatch", **switches)
        consumer = await world.start(handle, visibility_timeout=visibility)
        await world.until(lambda: not world.bodies(), step=0.5)
        report = await consumer.stop()
        assert (report.received, report.acked, report.lost) == (1, 1, 0)


@virtual
async def test_heartbeats_that_fail_for_the_whole_lease_lose_it_and_the_handler_is_told() -> None:
    """L8: the lease lost, the handler is told, it is counted, and the result is not acked as if all were well."""
    async with World() as world:
        await world.send("a")
        told: list[bool] = []

        async def handle(message: Message[str]) -> None:
            await asyncio.sleep(8.9)  # a moment before its end, which is a second before SQS's
            told.append(message.lease_lost)
            await asyncio.sleep(2)
            told.append(message.lease_lost)

        world.faults.set("ChangeMessageVisibilityBatch", unavailable=1.0)
        world.faults.set("ReceiveMessage", latency=0.01)
        consumer = await world.start(handle, visibility_timeout=10, concurrency=1, prefetch=0)
        await world.until(lambda: len(told) == 2)
        assert told == [False, True]
        assert consumer.statistics().ledger.lost == 1
        world.faults.clear()
        await world.until(lambda: not world.bodies())
        report = await consumer.stop()
        assert report.handled == 1
        assert report.acked - consumer.statistics().ledger.late == 0 or report.known_duplicates == 1


@virtual
async def test_finished_work_with_a_lost_lease_is_known_and_deleted_unrun() -> None:
    """L8: the redelivery of finished work is deleted without running."""
    async with World() as world:
        await world.send("a")
        runs = Counter[str]()

        async def handle(body: str) -> None:
            runs[body] += 1

        world.faults.set("DeleteMessageBatch", deny=1.0)
        consumer = await world.start(handle, visibility_timeout=5)
        await asyncio.sleep(4)
        world.faults.clear()
        await world.until(lambda: not world.bodies(), within=60)
        report = await consumer.stop()
        assert runs == {"a": 1}
        assert (report.received, report.known_duplicates, report.acked, report.unsettled) == (2, 1, 1, 1)


@virtual
async def test_remembering_can_be_turned_off() -> None:
    """L8: with `remember_finished=0` the redelivery of finished work runs again."""
    async with World() as world:
        await world.send("a")
        runs = Counter[str]()

        async def handle(body: str) -> None:
            runs[body] += 1

        world.faults.set("DeleteMessageBatch", deny=1.0)
        consumer = await world.start(handle, visibility_timeout=5, remember_finished=0)
        await asyncio.sleep(4)
        world.faults.clear()
        await world.until(lambda: not world.bodies(), within=60)
        assert (await consumer.stop()).known_duplicates == 0
        assert runs == {"a": 2}


@pytest.mark.parametrize("dispatch", ["semaphore", "pool"])
@virtual
async def test_a_handler_is_cancelled_with_its_lease_if_that_is_wanted(dispatch: Dispatch) -> None:
    """L8: `on_lease_lost='cancel'` ends the handler, and its place is free again."""
    async with World() as world:
        await world.send("a")
        ended: list[float] = []

        async def handle(body: str) -> None:
            try:
                await asyncio.sleep(500)
            finally:
                ended.append(world.now)

        world.faults.set("ChangeMessageVisibilityBatch", unavailable=1.0)
        await world.start(
            handle, visibility_timeout=10, on_lease_lost="cancel", dispatch=dispatch, concurrency=1, prefetch=0
        )
        await world.until(lambda: ended)
        assert ended == [pytest.approx(9.0, abs=0.1)]
        await asyncio.sleep(1)
        assert world.broker.calls["ReceiveMessage"] >= 2


@virtual
async def test_the_extension_is_clamped_to_12_hours_since_the_receive_and_the_handler_is_told() -> None:
    """L10: the last extension ends before 12 h, `lease_capped` is set, extending ends, and then the lease is lost."""
    async with World() as world:
        await world.send("a")
        seen: list[tuple[float, bool, bool]] = []

        async def handle(message: Message[str]) -> None:
            while not message.lease_lost:
                await asyncio.sleep(60)
                seen.append((world.now, message.lease_capped, message.lease_lost))

        consumer = await world.start(handle, visibility_timeout=600, concurrency=1, prefetch=0)
        await world.until(lambda: seen and seen[-1][2], within=50_000, step=10)
        capped = next(at for at, is_capped, _ in seen if is_capped)
        lost = next(at for at, _, is_lost in seen if is_lost)
        assert TWELVE_HOURS - 601 <= capped < lost <= TWELVE_HOURS + 60
        statistics = consumer.statistics()
        assert statistics.errors == {}
        assert statistics.heartbeat.failed == 0


@virtual
async def test_a_back_off_is_clamped_to_12_hours_since_the_receive() -> None:
    """L10: a retry after 12 h asks for what is left of them, and SQS takes it."""
    async with World() as world:
        await world.send("a")
        starts: list[float] = []

        async def handle(body: str) -> Retry | None:
            starts.append(world.now)
            await asyncio.sleep(100)
            return Retry(TWELVE_HOURS) if len(starts) == 1 else None

        consumer = await world.start(handle)
        await world.until(lambda: len(starts) == 2, within=50_000, step=10)
        assert TWELVE_HOURS - 2 <= starts[1] <= TWELVE_HOURS + 1
        assert consumer.statistics().errors == {}


@virtual
async def test_a_redelivery_of_a_running_message_is_not_run_twice_and_its_newer_receipt_deletes() -> None:
    """L29: the newer receipt is taken up, since the older cannot delete; one run, one delete."""
    async with World() as world:
        await world.send("a")
        runs = Counter[str]()

        async def handle(body: str) -> None:
            runs[body] += 1
            await asyncio.sleep(3)

        world.faults.next("ReceiveMessage", times=2, duplicate=1.0)
        consumer = await world.start(handle)
        await world.until(lambda: not world.bodies(), within=30)
        report = await consumer.stop()
        assert runs == {"a": 1}
        assert report.received == 3
        assert consumer.statistics().ledger.duplicates == 2
        assert report.acked == 1


@virtual
async def test_a_message_redelivered_after_its_lease_was_lost_and_withheld_is_kept() -> None:
    """L29: the lease was lost and came back with a redelivery; withholding then keeps the message and its place."""
    async with World() as world:
        await world.send("a")
        kept: list[Message[str]] = []

        others = at_once = 0

        async def handle(message: Message[str]) -> None:
            nonlocal others, at_once
            if message.body == "other":
                others += 1
                at_once = max(at_once, others)
                await asyncio.sleep(5)
                others -= 1
                return
            await world.until(lambda: message.lease_lost)
            world.faults.clear()
            await asyncio.sleep(30)  # meanwhile it is received again
            message.withhold()
            kept.append(message)

        world.faults.set("ChangeMessageVisibilityBatch", unavailable=1.0)
        consumer = await world.start(handle, visibility_timeout=10, concurrency=2, prefetch=0)
        await world.until(lambda: kept)
        await world.send(*["other"] * 6)
        await asyncio.sleep(20)
        assert at_once == 1  # the other place is the kept one's
        assert consumer.statistics().ledger.duplicates == 1
        assert await kept[0].ack() is Settled.ACKED
        assert "a" not in world.bodies()


@virtual
async def test_a_retry_said_early_after_the_lease_was_lost_is_not_taken_for_finished_work() -> None:
    """L8: the handler asked for the message again and returned; its redelivery is run, not deleted."""
    async with World() as world:
        await world.send("a")
        runs = 0

        async def handle(message: Message[str]) -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                await world.until(lambda: message.lease_lost)
                world.faults.clear()
                message.retry()

        world.faults.set("ChangeMessageVisibilityBatch", unavailable=1.0)
        world.faults.set("ReceiveMessage", latency=0.01)
        consumer = await world.start(handle, visibility_timeout=10, concurrency=1, prefetch=0)
        await world.until(lambda: not world.bodies(), within=60)
        report = await consumer.stop()
        assert runs == 2
        assert report.known_duplicates == 0


@virtual
async def test_a_message_withheld_after_its_lease_was_lost_is_let_go() -> None:
    """L6: no handler is at work on it and its lease is over, so it is not held any longer."""
    async with World() as world:
        await world.send("a")
        kept: list[Message[str]] = []

        async def handle(message: Message[str]) -> None:
            await world.until(lambda: message.lease_lost)
            message.withhold()
            kept.append(message)

        world.faults.set("ChangeMessageVisibilityBatch", unavailable=1.0)
        consumer = await world.start(handle, visibility_timeout=10, concurrency=1, prefetch=0)
        await world.until(lambda: kept)
        await asyncio.sleep(0.1)
        assert len(consumer.runner.context.ledger) == 0
        with pytest.raises(Closed, match="settled already"):
            kept[0].ack()


@virtual
async def test_a_withheld_message_frees_its_slot_when_its_lease_is_lost() -> None:
    """L20: a message that is only being kept holds its place no longer than its lease."""
    async with World() as world:
        await world.send("a")

        async def handle(message: Message[str]) -> None:
            if message.receive_count == 1:
                message.withhold()

        world.faults.set("ChangeMessageVisibilityBatch", unavailable=1.0)
        consumer = await world.start(handle, visibility_timeout=10, concurrency=1, prefetch=0)
        await asyncio.sleep(8)
        assert consumer.statistics().slots_taken == 1
        await world.until(lambda: not world.bodies(), within=30)
        report = await consumer.stop()
        assert (report.lost, report.received) == (1, 2)
