"""The virtual loop: it jumps, it waits for what is outside, and it names a deadlock."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from leasekeeper.testing.clock import VirtualLoop, run_virtual

DAY = 86_400.0


def test_a_day_of_timers_takes_no_time() -> None:
    async def main() -> float:
        for _ in range(24 * 60):
            await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    began = time.perf_counter()
    assert run_virtual(main()) == pytest.approx(DAY)
    assert time.perf_counter() - began < 5


def test_the_clock_begins_where_it_is_told() -> None:
    async def main() -> float:
        return asyncio.get_running_loop().time()

    assert run_virtual(main(), start=1_000.0) == 1_000.0


def test_timers_fire_in_order_at_their_own_times() -> None:
    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[str, float]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, loop.time()))

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("a2", 1.0)):
                group.create_task(sleeper(name, seconds))
        return seen

    assert run_virtual(main()) == [("a", 1.0), ("a2", 1.0), ("b", 2.0), ("c", 3.0)]


def test_timeouts_strike_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3_600):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 3_600.0


def test_what_is_ready_runs_before_time_passes() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(5, lambda: None)
        for _ in range(1_000):
            await asyncio.sleep(0)
        return loop.time()

    assert run_virtual(main()) == 0.0


@pytest.mark.parametrize("start", [2.0**24, 1.8e9, 1e15, -1e9])
def test_timers_end_however_far_from_zero_the_clock_stands(start: float) -> None:
    """Epoch times are too coarse for asyncio's own resolution of 1 ns; a loop that kept it would spin."""

    async def main() -> float:
        await asyncio.sleep(1.0)
        await asyncio.sleep(0.3)
        return asyncio.get_running_loop().time()

    assert run_virtual(main(), start=start) == pytest.approx(start + 1.3, abs=0.5)


def test_a_thread_is_waited_for_and_the_clock_stands_still() -> None:
    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        gate = threading.Event()
        loop.call_later(0, gate.set)
        loop.call_later(DAY, lambda: None)

        def work() -> str:
            gate.wait()
            return "done"

        return await asyncio.to_thread(work), loop.time()

    assert run_virtual(main()) == ("done", 0.0)


def test_a_timeout_over_a_slow_thread_strikes() -> None:
    """A timer nearer than the thread's end comes due in real seconds, here 20 ms."""
    gate = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await asyncio.to_thread(gate.wait)
        assert isinstance(loop, VirtualLoop)
        assert loop.outside == 0, "an abandoned call is not waited for"
        struck = loop.time()
        gate.set()
        return struck

    assert run_virtual(main()) == pytest.approx(0.02)


def test_a_named_executor_is_waited_for_too() -> None:
    async def main() -> int:
        with ThreadPoolExecutor(1) as executor:
            return await asyncio.get_running_loop().run_in_executor(executor, sum, (1, 2, 3))

    assert run_virtual(main()) == 6


def test_a_thread_that_fails_gives_its_count_back() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return loop.outside

    assert run_virtual(main()) == 0


def test_any_thread_may_wake_a_loop_within_external() -> None:
    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        answer: asyncio.Future[str] = loop.create_future()
        loop.call_later(DAY, answer.cancel)
        with loop.external():
            thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(answer.set_result, "from outside"))
            thread.start()
            got = await answer
        thread.join()
        return got, loop.time()

    assert run_virtual(main()) == ("from outside", 0.0)


def test_outside_work_that_never_wakes_the_loop_ends_its_patience() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        with loop.external():
            await asyncio.sleep(DAY)

    with (
        asyncio.Runner(loop_factory=lambda: VirtualLoop(patience=0.01)) as runner,
        pytest.raises(RuntimeError, match=r"1 pieces of outside work did not wake the loop within 0\.01 real seconds"),
    ):
        runner.run(main())


def test_sockets_within_the_loop_need_no_real_time() -> None:
    async def main() -> tuple[bytes, float]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(3_600)
            writer.write((await reader.readline()).upper())
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            got = await reader.read()
            writer.close()
            await writer.wait_closed()
        return got, asyncio.get_running_loop().time()

    assert run_virtual(main()) == (b"HELLO\n", 3_600.0)


def test_without_timers_an_open_socket_is_waited_for() -> None:
    """Nothing says that the thread will write, but while a socket is open it may."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    writing = threading.Timer(0.01, theirs.sendall, (b"x",))

    async def main() -> bytes:
        writing.start()
        return await asyncio.get_running_loop().sock_recv(ours, 1)

    with ours, theirs:
        assert run_virtual(main()) == b"x"
    writing.join()


def test_a_deadlock_is_an_error_that_names_the_tasks() -> None:
    async def stuck_here() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.sleep(7)
        async with asyncio.TaskGroup() as group:
            group.create_task(stuck_here(), name="the culprit")

    with pytest.raises(RuntimeError) as failure:
        run_virtual(main())
    sentence = str(failure.value)
    assert sentence.startswith("deadlock at 7 s: nothing is ready, no timer is set")
    assert "the culprit in Event.wait (" in sentence
    assert "Task-" in sentence


def test_after_a_deadlock_the_tasks_are_cancelled_and_unwind() -> None:
    unwound: list[str] = []

    async def main() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(1)
            unwound.append("main")

    with pytest.raises(RuntimeError, match="deadlock"):
        run_virtual(main())
    assert unwound == ["main"]


def test_a_loop_run_forever_without_anything_to_do_is_a_deadlock_of_no_task() -> None:
    loop = VirtualLoop()
    try:
        with pytest.raises(RuntimeError, match=r"Tasks that wait: none\."):
            loop.run_forever()
    finally:
        loop.close()


def test_its_repr_reads() -> None:
    loop = VirtualLoop(start=2.5)
    assert repr(loop) == "<VirtualLoop stopped at 2.5 s, 0 outside>"

    async def main() -> str:
        return repr(asyncio.get_running_loop())

    assert loop.run_until_complete(main()) == "<VirtualLoop running at 2.5 s, 0 outside>"
    loop.close()
    assert repr(loop) == "<VirtualLoop closed at 2.5 s, 0 outside>"
