"""Exhausted heads: the dead-letter copy and its failures, halted groups, and the cap of 12 hours (L10, L26, L30)."""

from __future__ import annotations

import asyncio

import pytest
from fifo_kit import Journal, Server, always, options

from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Retry
from leasekeeper.schedules import Table
from leasekeeper.testing.world import Running, World, virtual

HOUR = 3_600.0


def halted(consumer: Running) -> int:
    groups = consumer.statistics().groups
    assert groups is not None
    return groups.halted


@virtual
async def test_while_the_copy_is_denied_no_follower_runs_or_moves() -> None:
    """L26, L30: the copy is denied for an hour; then it is sent without another run of the handler."""
    async with World(fifo=True, max_receives=3) as world:
        world.faults.set("SendMessageBatch", deny=1.0)
        journal = Journal(world, ends=always("0", answer=Retry(2)))
        await world.send_many(10)
        consumer = await world.start(journal.handler(), **options(retry_maximum=300.0))
        await asyncio.sleep(HOUR)
        assert journal.order == ["0", "0", "0"]
        assert world.bodies(world.dead_letters) == []
        assert halted(consumer) == 1
        world.faults.clear()
        await world.until(lambda: not world.bodies(), within=1_000, step=0.5)
        assert journal.order == ["0", "0", "0", *map(str, range(1, 10))]
        assert {run.receive_count for run in journal.runs} == {1}
        assert world.bodies(world.dead_letters) == ["0"]
        assert (await consumer.stop()).lost == 0


@virtual
async def test_a_copy_whose_answer_is_lost_is_sent_again_and_stored_once() -> None:
    async with World(fifo=True, max_receives=2) as world:
        world.faults.next("SendMessageBatch", lose_by_reset=1.0)
        journal = Journal(world, ends=always("1", answer=Retry(1)))
        await world.send("1", "2")
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: not world.bodies(), within=60)
        assert journal.order == ["1", "1", "2"]
        assert world.broker.calls["SendMessageBatch"] == 2
        assert world.bodies(world.dead_letters) == ["1"]
        await consumer.stop()


@virtual
async def test_followers_start_after_the_second_answer_when_the_first_was_lost() -> None:
    async with World(fifo=True, max_receives=2) as world:
        world.faults.next("SendMessageBatch", lose=1.0)  # given up after 10 s
        journal = Journal(world, ends=always("1", answer=Retry(1)))
        await world.send("1", "2")
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: not world.bodies(), within=60)
        assert journal.of("2")[0].started - journal.of("1")[1].ended >= 10
        assert world.bodies(world.dead_letters) == ["1"]
        await consumer.stop()


@virtual
async def test_a_copy_waits_for_no_linger() -> None:
    """The group is locked while the copy waits."""
    async with World(fifo=True, max_receives=2) as world:
        journal = Journal(world, ends=always("1", answer=Retry(1)))
        await world.send("1", "2")
        consumer = await world.start(journal.handler(), **options(ack_interval=5.0))
        await world.until(lambda: journal.of("2"), within=60)
        assert journal.of("2")[0].started - journal.of("1")[1].ended < 0.1
        await consumer.stop()


@virtual
async def test_the_copy_keeps_group_and_body_and_cannot_be_stored_twice() -> None:
    async with World(fifo=True, max_receives=2) as world:
        journal = Journal(world, ends=always("1", answer=Retry(1)))
        (sent,) = await world.send("1", group="customer")
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: not world.bodies(), within=60)
        (copy,) = world.queue(world.dead_letters).contents()
        assert (copy.group, copy.content.body) == ("customer", "1")
        assert copy.system["MessageDeduplicationId"] == sent
        await consumer.stop()


@virtual
async def test_halting_is_refused_on_a_queue_with_a_redrive_policy() -> None:
    """SQS moves messages at their maxReceiveCount, so a head there can be skipped."""
    async with World(fifo=True, max_receives=3) as world:
        journal = Journal(world)
        with pytest.raises(ConfigurationError, match=r"on_exhausted='halt'.*orders\.fifo.*redrive policy"):
            await world.start(journal.handler(), **options(on_exhausted="halt"))


@virtual
async def test_a_halted_group_is_never_skipped_and_other_groups_go_on() -> None:
    async with World(fifo=True) as world:
        healed = False
        journal = Journal(world, ends=lambda message: Retry(1) if message.body == "1" and not healed else None)
        await world.send("1", "2", "3", group="stuck")
        await world.send(*(f"f{at}" for at in range(20)), group="free")
        consumer = await world.start(
            journal.handler(), **options(on_exhausted="halt", max_attempts=3, retry_maximum=60.0)
        )
        await asyncio.sleep(2 * HOUR)
        assert set(world.bodies()) == {"1", "2", "3"}
        assert journal.of("2") == []
        assert len(journal.of("1")) > 3
        assert halted(consumer) == 1
        healed = True
        await world.until(lambda: not world.bodies(), within=200)
        assert [run.body for run in journal.runs if run.group == "stuck"][-3:] == ["1", "2", "3"]
        assert {run.receive_count for run in journal.runs} == {1}
        assert halted(consumer) == 0
        await consumer.stop()


@virtual
async def test_the_log_of_a_halted_group_counts_the_attempts_that_were_made(caplog: pytest.LogCaptureFixture) -> None:
    async with World(fifo=True) as world:

        async def handle(message: Message[str]) -> None:
            if message.attempt < 4:
                raise LookupError("no such customer")

        await world.send("1", group="stuck")
        consumer = await world.start(handle, on_exhausted="halt", max_attempts=2, retry=Table(60))
        await world.until(lambda: not world.bodies())
        assert consumer.statistics().work.exhausted == 2
    halts = [record.getMessage() for record in caplog.records if "is halted" in record.getMessage()]
    assert ["(exhausted, attempt 2)" in halts[0], "(exhausted, attempt 3)" in halts[1]] == [True, True]
    ends = [record.getMessage().partition(" at attempt ")[2] for record in caplog.records]
    stays = "it stays the first of its group, and is tried again in 60 s"
    assert [end for end in ends if end.endswith(stays)] == [
        f"2; it was its last (`max_attempts`): {stays}",
        f"3; its attempts are used up (`max_attempts=2`): {stays}",
    ]


@virtual
async def test_at_the_cap_of_12_hours_a_halted_group_is_given_back_and_keeps_its_order() -> None:
    """L10: SQS ends every lease 12 hours after the receive, so the group is given back before that."""
    async with World(fifo=True) as world:
        journal = Journal(world, ends=lambda message: Retry(1) if message.receive_count == 1 else None)
        await world.send("1", "2", "3")
        consumer = await world.start(
            journal.handler(),
            **options(visibility_timeout=600, wait_time=20, on_exhausted="halt", max_attempts=3, retry_maximum=300.0),
        )
        await world.until(lambda: not world.bodies(), within=50_000, step=20)
        late = [run for run in journal.runs if run.receive_count == 2]
        assert [run.body for run in late if run.body == "1"]
        assert [run.body for run in late] == ["1", "2", "3"] or {run.receive_count for run in late} == {2}
        assert journal.order[-3:] == ["1", "2", "3"]
        assert 12 * HOUR - 600 < late[0].started < 12 * HOUR + 600
        assert journal.overlaps() == []
        assert (await consumer.stop()).lost == 0


@virtual
async def test_a_backoff_that_reaches_beyond_12_hours_is_cut_to_what_is_left() -> None:
    """L10: at 11:59 a head that backs off for 10 minutes is given back with its followers, within the 12 hours."""
    async with World(fifo=True, max_receives=50) as world:
        server = Server(world)
        journal = Journal(world, seconds={"1": 12 * HOUR - 60}, ends=lambda m: Retry(600) if m.attempt == 1 else None)
        await world.send("1", "2")
        consumer = await world.start(journal.handler(), **options(visibility_timeout=600, wait_time=20))
        await world.until(lambda: journal.runs and journal.runs[0].ended < world.now, within=50_000, step=20)
        given_back = journal.runs[0].ended
        await world.until(lambda: len(journal.runs) == 2, within=700, step=0.5)
        releases = [change for change in server.changes if change[0] >= given_back]
        assert {body for _, body, _ in releases} >= {"1", "2"}
        assert all(at + seconds < 12 * HOUR for at, body, seconds in releases if body == "1")
        assert journal.runs[1].body == "1"
        assert journal.runs[1].receive_count == 2
        await consumer.stop(force=True)
