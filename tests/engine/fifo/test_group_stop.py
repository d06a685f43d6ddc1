"""Stops: what each group leaves behind, when it is visible, and what that costs in receive counts (L22-L26)."""

from __future__ import annotations

import asyncio

import pytest
from fifo_kit import Journal, Server, always, options

from leasekeeper.outcomes import Retry
from leasekeeper.testing.world import World, virtual


@pytest.mark.parametrize("brings", [0, 1, 10])
@pytest.mark.parametrize("head", ["running", "backing off", "acking"])
@virtual
async def test_at_a_stop_followers_are_visible_at_once_and_the_order_holds(head: str, brings: int) -> None:
    """L22-L24, L26: counts rise by at most one; a head in back-off keeps the rest of it; the next consumer goes on.

    A poll that is out at the stop brings messages of another group, which are given back too.
    """
    async with World(fifo=True, max_receives=10) as world:
        server = Server(world)

        def end(message: object) -> object:
            backs_off = head == "backing off" and getattr(message, "attempt", 0) == 1
            return Retry(40) if backs_off and getattr(message, "body", "") == "1" else None

        seconds = {"1": 2.0 if head == "running" else 0.0, "2": 2.0 if head == "acking" else 0.0}
        journal = Journal(world, seconds=seconds, ends=end)
        await world.send("1", "2", "3", "4")
        if head == "acking":
            world.faults.set("DeleteMessageBatch", latency=1.0)
        consumer = await world.start(journal.handler(), **options(drain_timeout=10.0, poll_grace=1.0))
        await world.until(lambda: journal.runs)
        await asyncio.sleep(0.2)
        stopping = asyncio.create_task(consumer.stop())
        began = world.now
        await asyncio.sleep(0.3)
        await world.send(*(f"late{at}" for at in range(brings)), group="other")
        report = await stopping
        assert world.now - began < 5
        places = server.places()
        hidden = {body for body, place in places.items() if place == "in flight"}
        assert hidden == ({"1"} if head == "backing off" else set())
        assert set(places) == {
            *({"1"} if head == "backing off" else set()),
            *({"2"} if head != "acking" else set()),
            "3",
            "4",
            *(f"late{at}" for at in range(brings)),
        }
        assert max(server.counts().values()) == 1
        assert (report.lost, report.unsettled) == (0, 0)
        world.faults.clear()
        again = Journal(world)
        following = await world.start(again.handler("second"), **options())
        took = await world.until(lambda: not world.bodies(), within=60)
        assert [run.body for run in again.runs if run.group == "g"] == sorted(
            set(places) - {f"late{at}" for at in range(10)}
        )
        assert {run.receive_count for run in again.runs} <= {1, 2}
        if head == "backing off":
            assert took == pytest.approx(40, abs=2.5)
        await following.stop()


@pytest.mark.parametrize(
    ("head", "last"),  # a message that fails on its last receive is a dead letter, and backs off no more
    [(head, last) for head in ("running", "waiting", "acking") for last in (False, True)] + [("backing off", False)],
)
@virtual
async def test_a_group_on_its_last_receive_goes_on_at_a_stop_and_any_other_goes_back(head: str, *, last: bool) -> None:
    """L24, L26: what is visible when the consumer has ended, and what has run; each message was received once."""
    async with World(fifo=True, max_receives=1 if last else 2) as world:
        server = Server(world)
        times = {"1": 2.0 if head == "running" else 0.0, "2": 2.0 if head == "acking" else 0.0, "other": 2.0}
        journal = Journal(world, seconds=times, ends=always(*"1" * (head == "backing off"), answer=Retry(40)))
        if head == "waiting":
            await world.send("other", group="other")
        await world.send("1", "2", "3")
        if head == "acking":
            world.faults.set("DeleteMessageBatch", latency=1.0)
        concurrency = 1 if head == "waiting" else 5
        consumer = await world.start(
            journal.handler(), **options(drain_timeout=10.0, concurrency=concurrency, prefetch=10, throttle=False)
        )
        await world.until(lambda: journal.runs)
        await asyncio.sleep(0.2)
        report = await consumer.stop()
        finished = {run.body for run in journal.runs if run.group == "g"}
        if head == "backing off":
            assert finished == {"1"}
            assert server.places() == {"1": "in flight", "2": "visible", "3": "visible"}
        elif last:
            assert finished == {"1", "2", "3"}
            assert world.bodies() == []
        else:
            assert finished == {"running": {"1"}, "waiting": set(), "acking": {"1", "2"}}[head]
            assert server.places() == dict.fromkeys(sorted({"1", "2", "3"} - finished), "visible")
        assert set(server.counts().values()) <= {1}
        assert (report.lost, report.unsettled) == (0, 0)


@virtual
async def test_what_a_poll_brings_of_a_running_group_is_given_back() -> None:
    """L23: the running head ends and is deleted, the poll that is out gets what it unlocks, and gives it back."""
    async with World(fifo=True) as world:
        server = Server(world)
        journal = Journal(world, seconds=2)
        await world.send("1")
        consumer = await world.start(journal.handler(), **options(drain_timeout=10.0, poll_grace=1.0))
        await world.until(lambda: journal.runs)
        await world.send("2", "3")
        report = await consumer.stop()
        assert journal.order == ["1"]
        assert server.places() == {"2": "visible", "3": "visible"}
        assert (report.acked, report.lost, report.unsettled) == (1, 0, 0)


@virtual
async def test_messages_on_their_last_receive_run_on_until_the_drain_ends() -> None:
    """L26: released, SQS would move them at the next receive although they never ran."""
    async with World(fifo=True, max_receives=1) as world:
        journal = Journal(world, seconds=1)
        await world.send_many(10)
        consumer = await world.start(journal.handler(), **options(drain_timeout=20.0))
        await asyncio.sleep(0.5)
        report = await consumer.stop()
        assert journal.order == [str(at) for at in range(10)]
        assert world.bodies() == []
        assert report.acked == 10


@virtual
async def test_what_the_drain_has_no_time_for_is_moved_by_sqs_at_the_last_receive() -> None:
    """Documented: with maxReceiveCount 1, a stop dead-letters what it cannot finish."""
    async with World(fifo=True, max_receives=1) as world:
        journal = Journal(world, seconds=1)
        await world.send_many(10)
        consumer = await world.start(journal.handler(), **options(drain_timeout=5.0))
        await asyncio.sleep(0.5)
        await consumer.stop()
        finished = sum(not run.cancelled for run in journal.runs)
        assert 4 <= finished <= 6
        again = Journal(world)
        other = await world.start(again.handler("second"), **options())
        await world.until(lambda: not world.bodies(), within=60)
        assert again.runs == []
        assert world.bodies(world.dead_letters) == [str(at) for at in range(finished, 10)]
        await other.stop()


@virtual
async def test_groups_that_still_have_receives_start_nothing_after_a_stop() -> None:
    """L24: the counterpart: below maxReceiveCount the followers are given back, not run."""
    async with World(fifo=True, max_receives=2) as world:
        server = Server(world)
        journal = Journal(world, seconds=1)
        await world.send_many(10)
        consumer = await world.start(journal.handler(), **options(drain_timeout=20.0))
        await asyncio.sleep(0.5)
        began = world.now
        await consumer.stop()
        assert world.now - began < 2.5
        assert journal.order == ["0"]
        assert set(server.places().values()) == {"visible"}


@virtual
async def test_finished_rows_are_flushed_at_a_stop() -> None:
    """L1: thirteen groups of one finished message, and a stop at once: thirteen deletes are confirmed."""
    async with World(fifo=True) as world:
        journal = Journal(world)
        for at in range(13):
            await world.send(str(at), group=str(at))
        consumer = await world.start(journal.handler(), **options(ack_interval=10.0, throttle=False))
        await world.until(lambda: len(journal.runs) == 13, step=0.001)
        report = await consumer.stop()
        assert report.acked == 13
        assert world.bodies() == []


@virtual
async def test_a_consumer_that_has_ended_leaves_no_timer_behind() -> None:
    """A back-off of minutes would keep all of it in memory, and wake it."""
    async with World(fifo=True) as world:
        journal = Journal(world, ends=always("0"))
        await world.send("0", "1")
        consumer = await world.start(journal.handler(), **options(retry_base=100.0, retry_maximum=200.0))
        await world.until(lambda: journal.runs)
        await asyncio.sleep(2)
        await consumer.stop()
        timers = vars(asyncio.get_running_loop())["_scheduled"]
        assert [timer for timer in timers if not timer.cancelled()] == []
