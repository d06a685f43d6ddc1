"""What processes in virtual time promise: killed, nothing of them runs again; suspended, time passes them by."""

from __future__ import annotations

import asyncio

import pytest

from leasekeeper.local import Broker, LocalClient
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.testing.processes import Process
from leasekeeper.testing.world import World, virtual, virtual_processes

VISIBILITY = 5


async def _count(process: Process, seen: list[float]) -> None:
    """Note the time each second, as a program of that process."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def program() -> None:
        while True:
            await asyncio.sleep(1)
            seen.append(loop.time() - began)

    task = loop.create_task(program(), context=process.context)
    assert task in process.tasks


@virtual_processes
async def test_nothing_of_a_killed_process_runs_again() -> None:
    process, seen = Process(Broker()), list[float]()
    await _count(process, seen)
    await asyncio.sleep(2.5)
    process.kill()
    process.resume()
    await asyncio.sleep(10)
    assert seen == [1, 2]
    assert (process.alive, process.runs) == (False, False)
    await process.bury()
    assert all(task.done() for task in process.tasks)
    assert seen == [1, 2]


@virtual_processes
async def test_a_suspended_process_stands_still_and_goes_on_late() -> None:
    process, seen = Process(Broker()), list[float]()
    await _count(process, seen)
    await asyncio.sleep(1.5)
    process.suspend()
    await asyncio.sleep(10)
    assert seen == [1]
    process.resume()
    await asyncio.sleep(2)
    assert seen == [1, 11.5, 12.5]
    await process.bury()


@virtual_processes
async def test_what_is_cancelled_while_a_process_is_suspended_does_not_run() -> None:
    process, seen = Process(Broker()), list[str]()
    loop = asyncio.get_running_loop()
    second = loop.call_later(2, seen.append, "second", context=process.context)
    first = loop.call_later(1, second.cancel, context=process.context)
    loop.call_later(3, seen.append, "third", context=process.context)
    process.suspend()
    await asyncio.sleep(5)
    process.resume()
    await asyncio.sleep(0.001)
    assert seen == ["third"]
    assert first.when() < second.when()


@virtual_processes
async def test_the_server_answers_a_suspended_process_which_reads_the_answer_late() -> None:
    """The messages are in flight from the time of the answer, as for a program that gets SIGSTOP in a long poll."""
    async with World() as world:
        bodies = list[str]()

        async def handle(body: str) -> None:
            bodies.append(body)

        consumer = await world.start(handle, visibility_timeout=VISIBILITY)
        consumer.process.suspend()
        await world.send("a")
        await asyncio.sleep(1)
        assert world.queue().in_flight == 1
        assert bodies == []
        consumer.process.resume()
        await asyncio.sleep(1)
        assert bodies == ["a"]


@virtual_processes
async def test_a_killed_consumer_settles_nothing_and_its_leases_lapse() -> None:
    async with World() as world:
        started = dict[str, float]()
        ended = list[str]()

        async def handle(body: str) -> None:
            started.setdefault(body, world.now)
            try:
                await asyncio.sleep(2)
            finally:
                ended.append(body)

        await world.send("a", "b", "c")
        consumer = await world.start(handle, visibility_timeout=VISIBILITY, concurrency=2, prefetch=8, throttle=False)
        await world.until(lambda: len(started) == 2)
        killed = world.now
        consumer.process.kill()
        assert world.queue().in_flight == 3
        calls = world.broker.calls.total()
        await asyncio.sleep(VISIBILITY - 0.1)
        assert world.queue().in_flight == 3
        await asyncio.sleep(1)
        assert world.queue().visible == 3
        assert world.broker.calls.total() == calls
        assert ended == []
        again = await world.start(handle, visibility_timeout=VISIBILITY)
        await world.until(lambda: not world.bodies())
        assert sorted(ended) == ["a", "b", "c"]
        assert killed < 1
        await again.stop()


@virtual_processes
async def test_a_consumer_that_is_suspended_beyond_its_lease_learns_of_it() -> None:
    """Check 7 of FIFO consumption, for any queue: `lease_lost` is set, and the first consumer deletes nothing."""
    async with World() as world:
        runs = list[tuple[int, bool]]()

        async def handle(message: Message[str]) -> None:
            await asyncio.sleep(2)
            runs.append((message.receive_count, message.lease_lost))

        first = await world.start(handle, visibility_timeout=VISIBILITY, concurrency=1, prefetch=0)
        await world.send("a")
        await asyncio.sleep(1)
        first.process.suspend()
        second = await world.start(handle, visibility_timeout=VISIBILITY)
        await asyncio.sleep(30)
        assert runs == [(2, False)]
        assert world.bodies() == []
        first.process.resume()
        await asyncio.sleep(10)
        assert runs == [(2, False), (1, True)]
        assert (await second.stop()).acked == 1
        assert (await first.stop()).lost == 1


@virtual_processes
async def test_a_connection_that_is_cut_refuses_calls() -> None:
    async with World() as world:
        process = Process(world.broker)
        process.kill()
        with pytest.raises(Exception, match="did not arrive"):
            await LocalClient(process.connection).queue_url("orders")
        assert "cut" in repr(process.connection)
        assert "killed" in repr(process)


@virtual
async def test_consumers_are_processes_only_where_a_test_wants_that() -> None:
    async with World() as world:

        async def handle(body: str) -> None: ...

        consumer = await world.start(handle)
        with pytest.raises(RuntimeError, match="virtual_processes"):
            _ = consumer.process
        await consumer.stop()
