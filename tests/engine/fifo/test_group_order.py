"""The order within a group: one handler at a time, in the order of sending, whatever ends a run (L25, L27, L29)."""

from __future__ import annotations

import asyncio

import pytest
from fifo_kit import Failing, Journal, Server, failing, options

from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.testing.world import World, virtual, virtual_processes


@virtual
async def test_a_group_is_handled_one_message_at_a_time_and_groups_side_by_side() -> None:
    async with World(fifo=True) as world:
        journal = Journal(world, seconds=1)
        for number in range(5):
            await world.send(f"a{number}", group="a")
            await world.send(f"b{number}", group="b")
        consumer = await world.start(journal.handler(), **options(concurrency=10))
        took = await world.until(lambda: not world.bodies())
        for group in "ab":
            assert [run.body for run in journal.runs if run.group == group] == [f"{group}{at}" for at in range(5)]
        assert journal.overlaps() == []
        assert 5 < took < 5.5
        report = await consumer.stop()
        assert (report.received, report.handled, report.acked, report.lost) == (10, 10, 10, 0)


@virtual
async def test_a_standard_queue_runs_one_group_at_full_concurrency() -> None:
    """L27: order is by the queue's type, never by the presence of a message group id."""
    async with World() as world:
        journal = Journal(world, seconds=1)
        await world.send_many(20, group="tenant")
        consumer = await world.start(journal.handler(), **options(concurrency=20, throttle=False, pollers=2))
        assert await world.until(lambda: len(journal.runs) == 20) < 0.5
        await consumer.stop()
        assert consumer.statistics().groups is None


@virtual
async def test_a_queue_is_fifo_by_its_attribute_whatever_the_client_says_of_its_name() -> None:
    """L27: the group is locked while its head runs, although 10 slots are free."""
    async with World(fifo=True) as world:
        journal = Journal(world, seconds=1)
        await world.send("1", "2", group="a")
        consumer = await world.start(journal.handler(), **options(concurrency=10))
        await asyncio.sleep(0.9)
        assert journal.order == ["1"]
        await world.until(lambda: not world.bodies())
        assert journal.order == ["1", "2"]
        await consumer.stop()


@pytest.mark.parametrize("end", ["raises", "returns Retry", "retries early", "times out", "is cancelled"])
@virtual
async def test_after_a_failure_the_same_message_runs_again_before_the_next(end: str) -> None:
    """L25: after message k of a group fails, for whatever reason, k+1 and later do not run before it."""
    async with World(fifo=True) as world:
        first_runs = set[str]()

        def seconds(message: Message[str]) -> float:
            first = message.body == "2" and "2" not in first_runs
            return 60.0 if first and end == "times out" else 0.0

        def ends(message: Message[str]) -> object:
            if message.body != "2" or "2" in first_runs:
                return None
            first_runs.add("2")
            if end == "raises":
                raise Failing
            if end == "is cancelled":
                raise asyncio.CancelledError
            if end == "retries early":
                message.retry(2)
            return Retry(2) if end == "returns Retry" else None

        journal = Journal(world, seconds=seconds, ends=ends)
        await world.send("1", "2", "3", "4")
        timeout = 1.0 if end == "times out" else None
        consumer = await world.start(journal.handler(), **options(retry_base=1.0, handler_timeout=timeout))
        if end == "times out":
            await world.until(lambda: journal.of("2"))
            first_runs.add("2")
        await world.until(lambda: not world.bodies(), within=60)
        assert journal.order == ["1", "2", "2", "3", "4"]
        first, second = journal.of("2")
        assert second.started - first.ended >= 0.5
        assert {run.receive_count for run in journal.runs} == {1}
        assert second.attempt == 2
        await consumer.stop()


@virtual
async def test_a_message_that_cannot_be_decoded_is_dead_lettered_before_the_next_runs() -> None:
    """L25, L30: the group goes on only when the copy is confirmed."""
    async with World(fifo=True, max_receives=5) as world:
        world.faults.set("SendMessageBatch", latency=4.0)
        journal = list[tuple[float, int]]()

        async def handle(number: int) -> None:
            journal.append((world.now, number))

        await world.send("1", "two", "3")
        consumer = await world.start(handle, **options())
        await world.until(lambda: not world.bodies())
        assert [number for _, number in journal] == [1, 3]
        assert journal[1][0] == pytest.approx(4, abs=0.01)
        assert world.bodies(world.dead_letters) == ["two"]
        await consumer.stop()


@virtual
async def test_a_rejected_message_is_dead_lettered_before_the_next_runs() -> None:
    async with World(fifo=True, max_receives=5) as world:
        world.faults.set("SendMessageBatch", latency=4.0)
        journal = Journal(world, ends=lambda message: Reject("no") if message.body == "2" else None)
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: not world.bodies())
        assert journal.order == ["1", "2", "3"]
        assert journal.of("3")[0].started - journal.of("2")[0].ended == pytest.approx(4, abs=0.01)
        assert world.bodies(world.dead_letters) == ["2"]
        await consumer.stop()


@virtual
async def test_a_failed_head_with_a_backoff_of_2_s_delays_its_followers_by_no_more_than_3() -> None:
    """L25: a visibility timeout of 30 s does not matter: the head is retried here, under its own lease."""
    async with World(fifo=True) as world:
        journal = Journal(world, ends=failing(1, "0"))
        await world.send_many(10)
        consumer = await world.start(journal.handler(), **options(retry_base=2.0, retry_maximum=2.0))
        done = await world.until(lambda: not world.bodies())
        assert done - journal.runs[0].ended <= 3
        assert journal.order == ["0", *map(str, range(10))]
        assert {run.receive_count for run in journal.runs} == {1}
        await consumer.stop()


@virtual
async def test_when_a_follower_loses_its_lease_those_behind_it_are_given_back() -> None:
    """L25: the extension of 2 fails until its lease ends; 1 goes on, and 3 does not run before 2."""
    async with World(fifo=True) as world:
        server = Server(world)
        server.refuse_changes("2")
        journal = Journal(world, seconds={"1": 40.0})
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), visibility_timeout=10, wait_time=0)
        await world.until(lambda: server.places()["2"] == "visible", within=20)
        await world.until(lambda: server.places()["3"] == "visible", within=1)
        assert server.changes[-1][1:] == ("3", 0)
        assert journal.order == ["1"]
        server.refuse_changes()
        await world.until(lambda: not world.bodies(), within=60)
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 1), ("2", 2), ("3", 2)]
        assert journal.runs[0].ended == pytest.approx(40, abs=0.1)
        assert (await consumer.stop()).lost == 1


@virtual
async def test_rows_run_in_the_order_of_sequence_numbers_and_not_of_receives() -> None:
    """3 comes back as a new row while 4, whose release failed, is still held here: 3 runs before 4."""
    async with World(fifo=True) as world:
        server = Server(world)
        server.refuse_changes("2", "4")
        journal = Journal(world, seconds={"1": 9.5})
        await world.send("1", "2", "3", "4")
        consumer = await world.start(journal.handler(), visibility_timeout=10, wait_time=0)
        await world.until(lambda: journal.runs and journal.runs[0].ended < world.now, within=20)
        server.refuse_changes()
        await world.until(lambda: not world.bodies(), within=60)
        assert journal.order == ["1", "2", "3", "4"]
        await consumer.stop()


@virtual_processes
async def test_of_two_receipts_the_one_with_the_higher_receive_count_is_the_newer() -> None:
    """L29: the answer of the first receive arrives after that of the second: it is dropped, and its rows run once."""
    async with World(fifo=True) as world:
        server = Server(world)
        journal = Journal(world, seconds=2)
        consumer = await world.start(
            journal.handler(), visibility_timeout=4, wait_time=1, pollers=2, throttle=False, concurrency=20
        )
        late = iter([5.0])
        await asyncio.sleep(0.1)
        consumer.process.connection.late = lambda _: next(late, 0.0)
        await world.send("1", "2", "3")
        await world.until(lambda: not world.bodies(), within=60)
        assert [count for _, _, count in server.receives] == [1, 1, 1, 2, 2, 2]
        assert [(run.body, run.receive_count) for run in journal.runs] == [("1", 2), ("2", 2), ("3", 2)]
        assert (await consumer.stop()).acked == 3


@virtual
async def test_quick_groups_finish_while_slow_ones_run() -> None:
    """L19: 12 slow groups of 10 and 100 quick ones, concurrency 20: the waiting followers take up no slots."""
    async with World(fifo=True) as world:
        journal = Journal(world, seconds={f"slow{group}.{at}": 10.0 for group in range(12) for at in range(10)})
        for group in range(12):
            await world.send(*(f"slow{group}.{at}" for at in range(10)), group=f"slow{group}")
        for group in range(100):
            await world.send(f"quick{group}", group=f"quick{group}")
        consumer = await world.start(journal.handler(), **options(concurrency=20))
        done = await world.until(lambda: sum(run.body.startswith("quick") for run in journal.runs) == 100, within=300)
        assert done < 10
        await world.until(lambda: not world.bodies(), within=300)
        assert journal.overlaps() == []
        await consumer.stop()


@virtual
async def test_without_sequence_numbers_the_order_of_receiving_counts() -> None:
    """L25: servers that imitate SQS may send none. Nothing runs behind a message that was given back."""
    async with World(fifo=True) as world:
        server, journal = Server(world), Journal(world, ends=failing(1, "1"))
        await world.send("0", "1", "2", "3")
        for stored in world.queue().contents():
            del stored.system["SequenceNumber"]
        server.refuse_changes("1")
        consumer = await world.start(journal.handler(), **options(retry_base=100.0, retry_maximum=100.0))
        await world.until(lambda: server.places()["3"] == "visible", within=60)
        server.refuse_changes()
        await world.until(lambda: not world.bodies(), within=600)
        assert journal.order == ["0", "1", "1", "2", "3"]
        await consumer.stop()
