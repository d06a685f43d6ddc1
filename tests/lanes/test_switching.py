"""The switch interval of Python: set while lanes have many threads, put back, and never set over the program's."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.lanes.switching import PYTHONS_OWN, SwitchInterval
from leasekeeper.lanes.threads import FEW, ThreadLane
from leasekeeper.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.core.delivery import Delivery

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def pythons_own() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(PYTHONS_OWN)
    yield
    sys.setswitchinterval(before)


def now() -> float:
    return round(sys.getswitchinterval(), 6)


def test_python_starts_with_what_we_take_for_its_own() -> None:
    import subprocess

    code = "import sys; print(sys.getswitchinterval())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(shown) == PYTHONS_OWN


def test_the_shortest_that_is_held_is_set_and_the_last_puts_it_back() -> None:
    """L9."""
    shared = SwitchInterval()
    shared.hold(0.001)
    assert now() == 0.001
    shared.hold(0.0005)
    shared.hold(0.002)
    assert now() == 0.0005
    shared.release(0.0005)
    assert now() == 0.001
    shared.release(0.001)
    assert now() == 0.002
    shared.release(0.002)
    assert now() == PYTHONS_OWN


def test_what_the_program_has_set_is_left_alone() -> None:
    """Before the first lane, and while one holds its own."""
    shared = SwitchInterval()
    sys.setswitchinterval(0.003)
    shared.hold(0.001)
    assert now() == 0.003
    shared.release(0.001)
    assert now() == 0.003
    sys.setswitchinterval(PYTHONS_OWN)
    shared.hold(0.001)
    sys.setswitchinterval(0.002)
    shared.hold(0.0005)
    assert now() == 0.002
    shared.release(0.001)
    shared.release(0.0005)
    assert now() == 0.002
    sys.setswitchinterval(PYTHONS_OWN)
    shared.hold(0.001)
    assert now() == 0.001
    shared.release(0.001)


def test_many_threads_may_hold_it() -> None:
    shared = SwitchInterval()
    start = threading.Barrier(8)

    def hold() -> None:
        start.wait(PATIENCE)
        for _ in range(500):
            shared.hold(0.001)
            assert now() == 0.001
            shared.release(0.001)

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert now() == PYTHONS_OWN


def test_a_lane_holds_it_from_its_fifth_thread_to_its_close(deliver: Callable[..., Delivery]) -> None:
    """L9: a lane of four threads changes nothing; the last of two larger lanes puts it back."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        begun, gate = threading.Semaphore(0), threading.Event()
        answered: Mailbox[object] = Mailbox(loop, lambda _answers: None)

        def work(body: str) -> None:
            begun.release()
            assert gate.wait(PATIENCE)

        async def open_lane(threads: int) -> ThreadLane[Delivery]:
            lane: ThreadLane[Delivery] = ThreadLane(
                Handler(work, queue="q"),
                Options(threads=threads, concurrency=1),
                answers=answered,
                clock=loop.time,
                timer=loop,
            )
            for _ in range(threads):
                lane.submit([deliver()])
                assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE)
            return lane

        small = await open_lane(FEW)
        assert now() == PYTHONS_OWN
        first, second = await open_lane(FEW + 1), await open_lane(FEW + 1)
        assert now() == 0.001
        gate.set()
        await first.close()
        await first.close()  # twice is once
        assert now() == 0.001
        await second.close()
        assert now() == PYTHONS_OWN
        await small.close()

    asyncio.run(main())
