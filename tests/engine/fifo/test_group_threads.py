"""Handlers in threads that run on after their time-out: a thread cannot be ended, so its group waits for it (L30)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from fifo_kit import Server, options

from leasekeeper.batch import Batch  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.testing.world import Running


class Stuck:
    """A handler whose first run stays in its thread until `go_on` is set; the others return at once."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.runs: list[str] = []
        self.overlaps = 0
        self._running = False

    def handle(self, message: Message[str]) -> None:
        self.overlaps += self._running
        self._running = True
        self.runs.append(message.body)
        if len(self.runs) == 1:
            self.go_on.wait(60)
        self._running = False


def held(consumer: Running) -> int:
    """Slots that are held by messages."""
    capacity = consumer.runner._capacity
    return capacity.taken - capacity.polling


@virtual
async def test_a_group_that_was_given_back_is_not_run_beside_the_thread_that_is_stuck_in_it() -> None:
    """L25: after `local_retry_limit` the group goes back for others; what comes in again is refused meanwhile."""
    async with World(fifo=True) as world:
        server, stuck = Server(world), Stuck()
        await world.send_many(4)
        consumer = await world.start(
            stuck.handle, **options(concurrency=3, handler_timeout=2.0, local_retry_limit=20.0)
        )
        await asyncio.sleep(60)
        assert stuck.runs == ["0"]
        assert server.counts() == {"0": 2, "1": 2, "2": 2, "3": 2}
        assert held(consumer) == 1  # that of the thread
        stuck.go_on.set()
        await world.until(lambda: not world.bodies())
        assert list(dict.fromkeys(stuck.runs)) == ["0", "1", "2", "3"]
        assert stuck.overlaps == 0
        await world.until(lambda: held(consumer) == 0)
        await consumer.stop()


@virtual
async def test_the_slot_of_a_message_whose_lease_ends_while_its_thread_is_stuck_comes_free_with_the_thread() -> None:
    """L20: the message waited here for its next run when its lease ended."""
    async with World(fifo=True) as world:
        server, stuck = Server(world), Stuck()
        await world.send("0")
        consumer = await world.start(stuck.handle, **options(concurrency=3, handler_timeout=2.0))
        await asyncio.sleep(8)
        server.refuse_changes("0")
        await world.until(lambda: consumer.statistics().ledger.lost)
        assert stuck.runs == ["0"]
        server.refuse_changes()
        stuck.go_on.set()
        await world.until(lambda: not world.bodies())
        assert stuck.overlaps == 0
        await world.until(lambda: held(consumer) == 0)
        await consumer.stop()


@virtual
async def test_what_is_stuck_in_a_thread_behind_a_message_that_lost_its_lease_goes_back_when_the_thread_ends() -> None:
    """L20, L25: three messages of a batch; the first one's lease ends while they wait for the thread."""
    async with World(fifo=True) as world:
        server, go_on = Server(world), threading.Event()
        batches = list[list[str]]()

        def handle(batch: Batch[str]) -> None:
            batches.append([message.body for message in batch])
            if len(batches) == 1:
                go_on.wait(60)

        await world.send("0", "1", "2")
        consumer = await world.start(handle, **options(batch=5, concurrency=3, handler_timeout=2.0))
        await asyncio.sleep(8)
        server.refuse_changes("0")
        await world.until(lambda: consumer.statistics().ledger.lost)
        assert batches == [["0", "1", "2"]]
        server.refuse_changes()
        go_on.set()
        await world.until(lambda: not world.bodies())
        assert list(dict.fromkeys(body for batch in batches[1:] for body in batch)) == ["0", "1", "2"]
        await world.until(lambda: held(consumer) == 0)
        await consumer.stop()


@virtual
async def test_the_next_messages_of_a_group_run_in_threads_while_the_engine_is_busy() -> None:
    """L25: each starts where the one before has returned. Nothing of it waits for the engine's loop."""
    async with World(fifo=True) as world:
        go_on, last, runs = threading.Event(), threading.Event(), list[str]()

        def handle(body: str) -> None:
            runs.append(body)
            if body == "0":
                assert go_on.wait(60)
            elif body == "2":
                last.set()

        await world.send("0", "1", "2")
        consumer = await world.start(handle, **options(concurrency=3))
        await world.until(lambda: runs)
        go_on.set()
        assert last.wait(60)  # this blocks the engine's loop
        assert runs == ["0", "1", "2"]
        await world.until(lambda: not world.bodies())
        await consumer.stop()


@virtual
async def test_what_a_thread_did_while_the_engine_was_busy_is_deleted_in_order() -> None:
    """L28: the handler of a1 acks it early, so it is settled in another way than a0, in the same turn."""
    async with World(fifo=True) as world:
        server, go_on, last, runs = Server(world), threading.Event(), threading.Event(), list[str]()

        def handle(message: Message[str]) -> None:
            runs.append(message.body)
            if message.body == "a0":
                assert go_on.wait(60)
            elif message.body == "a1":
                message.ack()
            elif message.body == "b1":
                last.set()

        await world.send("a0", "a1", group="a")
        await world.send("b0", "b1", group="b")
        consumer = await world.start(handle, **options(concurrency=2, threads=1, ack_interval=0))
        await world.until(lambda: runs)
        go_on.set()
        assert last.wait(60)  # this blocks the engine's loop
        assert runs == ["a0", "b0", "a1", "b1"]
        await world.until(lambda: not world.bodies())
        assert [body for _, body in server.deletes if body.startswith("a")] == ["a0", "a1"]
        await consumer.stop()


@virtual
async def test_what_a_thread_has_not_taken_goes_back_at_a_stop() -> None:
    """L24: although it was handed over, and before the handler of the message in front of it ends."""
    async with World(fifo=True) as world:
        server, go_on, runs = Server(world), threading.Event(), list[str]()

        def handle(body: str) -> None:
            runs.append(body)
            assert go_on.wait(60)

        await world.send("0", "1", "2")
        consumer = await world.start(handle, **options(concurrency=3))
        await world.until(lambda: runs)
        consumer.runner.stop()
        await world.until(lambda: server.places() == {"0": "in flight", "1": "visible", "2": "visible"})
        go_on.set()
        assert (await consumer.ended()).released == 2
        assert runs == ["0"]


@virtual
async def test_a_message_whose_thread_ends_during_a_stop_goes_back_and_does_not_run_again() -> None:
    """L24: nothing is started at a stop."""
    async with World(fifo=True) as world:
        server, stuck = Server(world), Stuck()
        await world.send("0", "1")
        consumer = await world.start(
            stuck.handle, **options(concurrency=3, handler_timeout=2.0, drain_timeout=40_000.0)
        )
        await asyncio.sleep(8)
        consumer.runner.stop()
        await asyncio.sleep(8)
        assert server.places() == {"0": "in flight", "1": "visible"}
        stuck.go_on.set()
        report = await consumer.ended()
        assert stuck.runs == ["0"]
        assert server.places() == {"0": "visible", "1": "visible"}
        assert report.released == 2


@virtual
async def test_what_a_thread_acked_before_its_time_out_is_deleted_when_the_thread_ends() -> None:
    """L25: deleted at the time-out, it would unlock its group, and another process would run the next message."""
    async with World(fifo=True) as world:
        go_on, runs = threading.Event(), list[str]()

        def handle(message: Message[str]) -> None:
            runs.append(message.body)
            if message.body == "0":
                message.ack()
                go_on.wait(60)

        await world.send("0")
        consumer = await world.start(handle, **options(concurrency=3, handler_timeout=2.0, local_retry_limit=200.0))
        await world.until(lambda: runs)
        await world.send("1")
        other = await world.start(handle, **options(concurrency=3))
        await asyncio.sleep(90)
        assert runs == ["0"]
        assert world.bodies() == ["0", "1"]
        assert held(consumer) == 1
        go_on.set()
        await world.until(lambda: not world.bodies())
        assert runs == ["0", "1"]
        assert held(consumer) == 0
        await other.stop()
        assert consumer.statistics().work.timed_out == 1
        await consumer.stop()


@virtual
async def test_what_comes_in_behind_such_a_thread_is_given_back_in_the_end() -> None:
    """L20: its group is refused after `local_retry_limit`, as that of any thread that does not end."""
    async with World(fifo=True) as world:
        server, go_on, runs = Server(world), threading.Event(), list[str]()

        def handle(message: Message[str]) -> None:
            runs.append(message.body)
            if len(runs) == 1:
                message.ack()
                go_on.wait(60)

        await world.send("0", "1")
        consumer = await world.start(handle, **options(concurrency=3, handler_timeout=2.0, local_retry_limit=20.0))
        await asyncio.sleep(19)
        assert server.places() == {"0": "in flight", "1": "in flight"}
        await asyncio.sleep(6)
        assert server.changes[-1][1:] == ("1", 20)
        assert runs == ["0"]
        assert held(consumer) == 1
        go_on.set()
        await world.until(lambda: not world.bodies())
        assert runs == ["0", "1"]
        await world.until(lambda: held(consumer) == 0)
        await consumer.stop()
