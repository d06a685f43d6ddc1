"""Acks of a group: in order, batched, one call out at a time, and what a refused or silent one means (L3, L8, L28)."""

from __future__ import annotations

import asyncio
from itertools import groupby
from operator import itemgetter

import pytest
from fifo_kit import Journal, Server, options

from leasekeeper.message import Message
from leasekeeper.testing.world import World, virtual, virtual_processes


@virtual
async def test_batched_acks_of_a_receive_share_a_call_in_the_order_of_the_group() -> None:
    """L28: ten messages of one group are deleted by one call, in order."""
    async with World(fifo=True) as world:
        server = Server(world)
        journal = Journal(world, seconds=0.001)
        await world.send_many(10)
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: not world.bodies(), step=0.001)
        assert [body for _, body in server.deletes] == [str(at) for at in range(10)]
        assert world.broker.calls["DeleteMessageBatch"] == 1
        await consumer.stop()


@virtual
async def test_a_confirmed_ack_is_answered_before_the_next_message_starts() -> None:
    """L28: with `fifo_ack="confirmed"` a crash repeats at most the message that was running."""
    async with World(fifo=True) as world:
        world.faults.set("DeleteMessageBatch", latency=0.4)
        journal = Journal(world, seconds=0.1)
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), **options(fifo_ack="confirmed"))
        await world.until(lambda: not world.bodies())
        assert world.broker.calls["DeleteMessageBatch"] == 3
        for one, other in zip(journal.runs, journal.runs[1:], strict=False):
            assert other.started - one.ended == pytest.approx(0.4, abs=0.01)
        await consumer.stop()


@virtual
async def test_with_batched_acks_the_next_message_starts_when_a_handler_has_returned() -> None:
    async with World(fifo=True) as world:
        world.faults.set("DeleteMessageBatch", latency=4.0)
        journal = Journal(world, seconds=0.1)
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), **options(fifo_ack="batched"))
        await world.until(lambda: len(journal.runs) == 3)
        assert journal.runs[-1].started < 0.5
        await world.until(lambda: not world.bodies())
        assert (await consumer.stop()).acked == 3


@virtual
async def test_a_delete_refused_as_expired_stops_the_messages_behind_it() -> None:
    """L8, L25: 1's delete is refused; 2, which runs, ends and is deleted; 3 is given back; 1 is deleted unrun."""
    async with World(fifo=True) as world:
        server = Server(world)
        server.refuse_deletes("1", times=1, expired=True)
        journal = Journal(world, seconds={"2": 4.0})
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), visibility_timeout=8, wait_time=0)
        await world.until(lambda: server.deletes)
        await world.until(lambda: server.places()["3"] == "visible", within=1)
        assert journal.order == ["1", "2"]
        await world.until(lambda: not world.bodies(), within=60)
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1), ("2", 1), ("3", 2)]
        report = await consumer.stop()
        assert report.known_duplicates >= 1
        assert consumer.statistics().ledger.known_duplicates == 1


@virtual
async def test_an_extension_that_finds_a_deleted_message_says_nothing_of_the_group() -> None:
    """L7: 1 is deleted and the answer lost; its extension "does not exist"; the group goes on."""
    async with World(fifo=True) as world:
        world.faults.next("DeleteMessageBatch", lose=1.0)
        journal = Journal(world, seconds={"2": 12.0, "3": 1.0})
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), visibility_timeout=8, wait_time=0)
        await world.until(lambda: not world.bodies(), within=60)
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1), ("2", 1), ("3", 1)]
        await asyncio.sleep(12)
        report = await consumer.stop()
        assert (report.acked, report.lost, report.unsettled) == (3, 0, 0)


@virtual_processes
async def test_one_delete_of_a_group_is_out_at_a_time() -> None:
    """L28: were 2 and 3 deleted while the delete of 1 is lost, a crash would repeat 1 after 3."""
    async with World(fifo=True) as world:
        server = Server(world)
        world.faults.next("DeleteMessageBatch", hang=1.0)
        journal = Journal(world, seconds=1)
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), **options())
        await asyncio.sleep(8)
        assert journal.order == ["1", "2", "3"]
        assert world.broker.calls["DeleteMessageBatch"] == 1
        assert server.deletes == []
        consumer.process.kill()
        again = Journal(world)
        other = await world.start(again.handler("second"), **options())
        await world.until(lambda: not world.bodies(), within=120)
        assert [(run.body, run.receive_count) for run in again.runs] == [("1", 2), ("2", 2), ("3", 2)]
        await other.stop()


@virtual
async def test_what_waits_behind_a_delete_goes_when_it_is_answered() -> None:
    """L28: after the first delete was given up, the deletes of 1, 2 and 3 go in order, at once."""
    async with World(fifo=True) as world:
        server = Server(world)
        world.faults.next("DeleteMessageBatch", hang=1.0)  # the client gives it up after 10 s
        journal = Journal(world, seconds=1)
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), **options())
        done = await world.until(lambda: not world.bodies(), within=60)
        assert [body for _, body in server.deletes] == ["1", "2", "3"]
        assert done < 13
        assert (await consumer.stop()).acked == 3


@virtual_processes
async def test_the_delete_of_a_later_receive_waits_for_that_of_an_earlier_one_and_no_longer() -> None:
    """L28: the server deleted 1 and its answer is late; it hands out 2, whose delete goes at that answer."""
    async with World(fifo=True) as world:
        server = Server(world)
        journal = Journal(world)
        consumer = await world.start(journal.handler(), **options(ack_interval=0.1, pollers=2, throttle=False))
        late = iter([3.0])
        consumer.process.connection.late = lambda name: next(late, 0.0) if name == "DeleteMessageBatch" else 0.0
        await world.send("1")
        await world.until(lambda: server.deletes)
        await world.send("2")
        await world.until(lambda: len(journal.runs) == 2, within=1)
        await world.until(lambda: not world.bodies(), within=30)
        assert [body for _, body in server.deletes] == ["1", "2"]
        assert server.deletes[1][0] - server.deletes[0][0] == pytest.approx(3, abs=0.05)
        await consumer.stop()


@virtual
async def test_a_failed_entry_goes_again_before_anything_later_of_its_group() -> None:
    """L28, L12: the entry of 1 fails three times; what has finished meanwhile goes behind it, never without it."""
    async with World(fifo=True) as world:
        server = Server(world)
        server.refuse_deletes("1", times=3)
        journal = Journal(world, seconds=0.3)
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), **options(ack_interval=0.05))
        await world.until(lambda: not world.bodies(), within=30)
        calls = [[body for _, body in call] for _, call in groupby(server.deletes, key=itemgetter(0))]
        assert sum(call[0] == "1" for call in calls) == 4
        assert all(call == sorted(call) for call in calls)
        assert all(call[0] == "1" for call in calls[:4])
        assert [run.receive_count for run in journal.runs] == [1, 1, 1]
        assert (await consumer.stop()).acked == 3


@virtual
async def test_an_early_ack_is_kept_back_until_the_handler_ends() -> None:
    """Were the last message of a group deleted early, another process would run the next one beside this handler."""
    async with World(fifo=True) as world:

        def acks(message: Message[str]) -> object:
            return None

        journal = Journal(world, ends=acks)
        running = list[str]()

        async def handle(message: Message[str]) -> None:
            run = journal.handler("first")
            running.append(message.body)
            message.ack()
            await asyncio.sleep(5)
            await run(message)

        await world.send("1")
        first = await world.start(handle, **options())
        await world.until(lambda: running)
        await world.send("2")
        other = Journal(world)
        second = await world.start(other.handler("second"), **options())
        await asyncio.sleep(4.8)
        assert world.bodies() == ["1", "2"]
        assert running == ["1"]
        assert other.order == []
        await world.until(lambda: not world.bodies())
        await first.stop()
        await second.stop()


@virtual
async def test_an_early_ack_holds_although_the_handler_fails_afterwards() -> None:
    async with World(fifo=True) as world:

        def ack_and_fail(message: Message[str]) -> object:
            message.ack()
            raise RuntimeError

        journal = Journal(world, ends=ack_and_fail)
        await world.send("1", "2")
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: not world.bodies())
        assert journal.order == ["1", "2"]
        assert (await consumer.stop()).acked == 2


@virtual
async def test_awaiting_an_early_ack_inside_the_handler_does_not_stand_still() -> None:
    """It is confirmed only after the handler, so waiting for it in there must end with an error, not never."""
    async with World(fifo=True) as world:
        ended = list[str]()

        async def handle(message: Message[str]) -> None:
            try:
                async with asyncio.timeout(60):
                    await message.ack()
            except TimeoutError:
                ended.append("never answered")
                raise
            except Exception as error:
                ended.append(str(error))
            else:
                ended.append("confirmed")

        await world.send("1", "2")
        consumer = await world.start(handle, **options())
        await world.until(lambda: not world.bodies(), within=200)
        assert len(ended) == 2
        assert "never answered" not in ended
        await consumer.stop()


@virtual
async def test_a_withheld_message_keeps_its_group_where_it_is_until_it_is_settled() -> None:
    async with World(fifo=True) as world:
        kept = list[Message[str]]()

        def withhold(message: Message[str]) -> object:
            if message.body == "1":
                message.withhold()
                kept.append(message)
            return None

        journal = Journal(world, ends=withhold)
        await world.send("1", "2")
        consumer = await world.start(journal.handler(), **options())
        await asyncio.sleep(90)
        assert journal.order == ["1"]
        kept[0].ack()
        await world.until(lambda: not world.bodies(), within=1)
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1), ("2", 1)]
        await consumer.stop()


@pytest.mark.parametrize("visibility", [5, 12, 30])
@virtual
async def test_extensions_and_deletes_of_a_group_share_calls_and_hold_receipts_of_one_receive(visibility: int) -> None:
    """L28, L3: a handler of 60 s, nine followers: no redelivery, ten entries in each extension."""
    async with World(fifo=True) as world:
        server = Server(world)
        journal = Journal(world, seconds={"0": 60.0})
        await world.send_many(10)
        consumer = await world.start(journal.handler(), visibility_timeout=visibility, wait_time=0)
        await world.until(lambda: journal.runs[0].ended < world.now if journal.runs else False, within=100)
        extensions = world.broker.calls["ChangeMessageVisibilityBatch"]
        assert extensions
        assert len(server.changes) == 10 * extensions
        await world.until(lambda: not world.bodies(), within=10)
        assert {run.receive_count for run in journal.runs} == {1}
        assert (await consumer.stop()).lost == 0


@virtual
async def test_a_withheld_message_that_is_to_be_retried_runs_again_before_its_group_goes_on() -> None:
    """L20, L25: its slot and its group are free for the next run."""
    async with World(fifo=True) as world:
        kept = list[Message[str]]()

        def withhold(message: Message[str]) -> None:
            if message.body == "1" and message.attempt == 1:
                message.withhold()
                kept.append(message)

        journal = Journal(world, ends=withhold)
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: kept)
        kept[0].retry(2)
        await world.until(lambda: not world.bodies(), within=10)
        assert journal.order == ["1", "1", "2", "3"]
        assert journal.of("1")[1].started >= 2
        await consumer.stop()
        assert consumer.runner.snapshot().taken == 0


@virtual
async def test_a_handler_keeps_its_lease_when_the_delete_of_the_message_before_is_refused() -> None:
    """L8: its own lease holds, and it is not told otherwise."""
    async with World(fifo=True) as world:
        server, lost = Server(world), list[bool]()
        journal = Journal(world, seconds={"2": 5.0}, ends=lambda message: lost.append(message.lease_lost))
        await world.send("1", "2", "3")
        server.refuse_deletes("1", times=1, expired=True)
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: not world.bodies(), within=100)
        assert lost == [False, False, False]
        assert journal.order == ["1", "2", "3"]
        await consumer.stop()
