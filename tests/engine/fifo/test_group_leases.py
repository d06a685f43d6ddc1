"""Lost leases, suspended processes, and handlers that outlive their lease (L8, L25, L29)."""

from __future__ import annotations

import asyncio
import threading
from typing import TypedDict

import pytest
from fifo_kit import Journal, Server, options

from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Retry
from leasekeeper.testing.clock import VirtualLoop
from leasekeeper.testing.world import World, virtual, virtual_processes


class Short(TypedDict):
    visibility_timeout: int
    wait_time: float


SHORT: Short = {"visibility_timeout": 10, "wait_time": 0}


@virtual_processes
async def test_a_process_suspended_beyond_its_leases_starts_and_deletes_nothing_afterwards() -> None:
    """L8, L29: another process runs 1-4 meanwhile; the suspended one learns that its lease is lost."""
    async with World(fifo=True) as world:
        server = Server(world)
        lost = list[bool]()

        def look(message: Message[str]) -> None:
            lost.append(message.lease_lost)

        journal = Journal(world, seconds=2, ends=look)
        other = Journal(world, seconds=0.5)
        await world.send("1", "2", "3", "4")
        first = await world.start(journal.handler(), **options(concurrency=1, prefetch=0, **SHORT))
        await world.until(lambda: journal.runs)
        await asyncio.sleep(0.5)
        first.process.suspend()
        second = await world.start(other.handler("second"), **options(**SHORT))
        await world.until(lambda: not world.bodies(), within=60)
        deletes = len(server.deletes)
        first.process.resume()
        await asyncio.sleep(30)
        assert [(run.body, run.receive_count) for run in other.runs] == [(str(at), 2) for at in range(1, 5)]
        assert journal.order == ["1"]
        assert lost == [True]
        assert all(body == "" for _, body in server.deletes[deletes:])  # its own receipt finds no message any more
        assert (await first.stop()).lost == 4
        await second.stop()


@virtual_processes
async def test_a_group_goes_on_whose_leases_the_keeper_has_kept_while_its_process_was_suspended() -> None:
    """L29: its retry is due while the process stands still, so the lease seems to be over when that goes on."""
    async with World(fifo=True) as world:
        journal = Journal(world, ends=lambda _: Retry(6) if len(journal.runs) == 1 else None)
        await world.send("0", "1")
        consumer = await world.start(journal.handler(), keeper=True, visibility_timeout=15, wait_time=2)
        await world.until(lambda: journal.runs)
        consumer.process.suspend()
        await asyncio.sleep(20)
        consumer.process.resume()
        await world.until(lambda: not world.bodies(), within=20)
        assert journal.order == ["0", "0", "1"]
        await consumer.stop()


@virtual_processes
async def test_the_group_arrives_again_while_its_lost_handler_runs_and_waits_for_its_end() -> None:
    """L29: 5 was sent meanwhile; it does not start before our 1 has ended, and 1's late success deletes nothing new."""
    async with World(fifo=True) as world:
        server = Server(world)
        journal = Journal(world, seconds=lambda message: 40.0 if message.body == "1" else 0.0)
        other = Journal(world)
        await world.send("1", "2", "3", "4")
        first = await world.start(journal.handler(), **options(concurrency=5, **SHORT))
        await world.until(lambda: journal.runs)
        first.process.suspend()
        second = await world.start(other.handler("second"), **options(**SHORT))
        await world.until(lambda: not world.bodies(), within=60)
        await second.stop()
        first.process.resume()
        await asyncio.sleep(1)
        await world.send("5")
        await asyncio.sleep(2)
        assert server.places() == {"5": "in flight"}
        assert journal.order == ["1"]
        await world.until(lambda: not world.bodies(), within=60)
        assert journal.order == ["1", "5"]
        assert journal.overlaps() == []
        assert journal.of("5")[0].started >= journal.of("1")[0].ended
        await first.stop()


@virtual_processes
async def test_a_lapsed_head_that_runs_on_here_is_taken_over_and_not_run_twice() -> None:
    """L29: redelivered to the process where it still runs, the newer receipt deletes it; the followers run after."""
    async with World(fifo=True) as world:
        server = Server(world)
        server.refuse_changes("1", "2", "3")
        journal = Journal(world, seconds={"1": 15.0})
        await world.send("1", "2", "3")
        consumer = await world.start(journal.handler(), **options(**SHORT))
        await world.until(lambda: world.now > 11)
        server.refuse_changes()
        await world.until(lambda: not world.bodies(), within=60)
        assert [run.body for run in journal.runs] == ["1", "2", "3"]
        assert journal.of("2")[0].started >= journal.of("1")[0].ended
        assert journal.overlaps() == []
        await consumer.stop()


@virtual_processes
async def test_a_killed_process_delays_its_groups_by_their_leases_and_the_order_holds() -> None:
    """L25: a crash repeats what was finished and not yet deleted, in order."""
    async with World(fifo=True) as world:
        journal = Journal(world, seconds=0.5)
        await world.send_many(10)
        first = await world.start(journal.handler(), **options(**SHORT))
        await world.until(lambda: len(journal.runs) == 4)
        first.process.kill()
        killed = world.now
        other = Journal(world)
        second = await world.start(other.handler("second"), **options(**SHORT))
        await world.until(lambda: not world.bodies(), within=60)
        assert other.order == [str(at) for at in range(int(other.order[0]), 10)]
        assert int(other.order[0]) <= 3
        assert other.runs[0].started - killed <= 10
        await second.stop()


@virtual_processes
async def test_a_handler_that_never_ends_holds_its_group_for_no_longer_than_the_retry_limit() -> None:
    """L29: what comes in of its group waits for its end; after `local_retry_limit` it is given back for others."""
    async with World(fifo=True) as world:
        server = Server(world)
        ended = asyncio.Event()
        ours, theirs = list[str](), Journal(world)

        async def stuck(message: Message[str]) -> None:
            ours.append(message.body)
            if message.body == "1":
                await ended.wait()

        await world.send("1", "2")
        first = await world.start(stuck, **options(local_retry_limit=30.0, **SHORT))
        await world.until(lambda: ours)
        first.process.suspend()
        second = await world.start(theirs.handler("second"), **options(**SHORT))
        await world.until(lambda: not world.bodies(), within=60)
        first.process.resume()
        second.process.suspend()
        await asyncio.sleep(1)
        await world.send("3", "4")
        await asyncio.sleep(1)
        assert world.queue().in_flight == 2
        server.changes.clear()
        await world.until(lambda: any(seconds == 0 for _, _, seconds in server.changes), within=40)
        assert [change[1:] for change in server.changes[-2:]] == [("3", 30), ("4", 0)]
        assert [row.received.body for row in first.rows.values()] == ["1"]
        await asyncio.sleep(40)  # it comes in once more, and goes back at once
        assert {row.received.body for row in first.rows.values()} == {"1"}
        second.process.resume()
        ended.set()
        await world.until(lambda: not world.bodies(), within=60)
        assert ours.count("1") == 1
        assert [body for body in (*ours, *theirs.order) if body in "34"] == ["3", "4"]
        await second.stop()
        await first.stop()


@pytest.mark.parametrize("which", ["first", "second"])
@virtual_processes
async def test_two_processes_never_run_one_group_at_once_while_leases_hold(which: str) -> None:
    """L25: ten groups, two processes, slow and quick handlers; each group is at one place at a time."""
    async with World(fifo=True) as world:
        journal = Journal(world, seconds=0.3 if which == "first" else 3.0)
        for group in range(10):
            await world.send(*(f"{group}.{at}" for at in range(20)), group=str(group))
        consumers = [await world.start(journal.handler(name), **options(concurrency=4, **SHORT)) for name in ("a", "b")]
        await world.until(lambda: not world.bodies(), within=1_000)
        assert journal.overlaps() == []
        for group in range(10):
            assert [run.body for run in journal.runs if run.group == str(group)] == [
                f"{group}.{at}" for at in range(20)
            ]
        assert {run.consumer for run in journal.runs} == {"a", "b"}
        for consumer in consumers:
            await consumer.stop()


@virtual
async def test_a_thread_that_runs_beyond_its_time_holds_its_group_until_it_ends() -> None:
    """L25, L30: neither the retry nor the next message starts beside it. This one waits for a real thread."""
    async with World(fifo=True) as world:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        runs, release = list[str](), threading.Event()

        def handle(message: Message[str]) -> None:
            runs.append(message.body)
            if runs == ["1"]:
                assert release.wait(30)

        await world.send("1", "2")
        with loop.external():
            consumer = await world.start(handle, **options(handler_timeout=0.05, concurrency=3, retry_base=1.0))
            await world.until(lambda: consumer.statistics().work.timed_out)
            await asyncio.sleep(0.1)
            assert runs == ["1"]
            assert world.queue().in_flight == 2
            release.set()
            await world.until(lambda: not consumer.statistics().lane.running, within=10)
        await world.until(lambda: not world.bodies(), within=60)
        assert runs == ["1", "1", "2"]
        await consumer.stop()
