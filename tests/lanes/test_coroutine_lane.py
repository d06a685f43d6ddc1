"""The coroutine lane: to the application's loop and back in batches, and what happens when that loop is gone."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from leasekeeper.lanes.coroutines import CoroutineLane
from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.options import Options
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, Failed
from leasekeeper.testing.clock import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answer
    from leasekeeper.options import Dispatch

both = pytest.mark.parametrize("dispatch", ["semaphore", "pool"])


async def second(_body: str) -> None:
    await asyncio.sleep(1)


class Home:
    """Where answers arrive: the engine's side."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.batches: list[list[Answer[Delivery]]] = []
        self.answers: Mailbox[Answer[Delivery]] = Mailbox(loop, self.batches.append)

    @property
    def outcomes(self) -> dict[str, object]:
        flat = [answer for batch in self.batches for answer in batch]
        assert len({answer.unit for answer in flat}) == len(flat), "answered once"
        return {answer.unit.received.body: answer.outcome for answer in flat}


def lane_of(
    home: Home, loop: asyncio.AbstractEventLoop, dispatch: Dispatch = "semaphore", concurrency: int = 3
) -> CoroutineLane[Delivery]:
    return CoroutineLane(
        Handler(second, queue="q"),
        Options(concurrency=concurrency, dispatch=dispatch),
        loop=loop,
        answers=home.answers,
        clock=lambda: loop.time() + 1.0,  # never 0.0, which a unit shows that has not started
    )


@both
def test_handlers_that_end_together_come_home_together(dispatch: Dispatch, deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        home = Home(loop)
        lane = lane_of(home, loop, dispatch)
        lane.submit([deliver(each) for each in "ab"])
        lane.submit([deliver(each) for each in "cde"])
        await asyncio.sleep(0.5)
        assert repr(lane) == "<CoroutineLane 3 running, 2 waiting, 3 workers>"
        await asyncio.sleep(5)
        assert [len(batch) for batch in home.batches] == [3, 2]
        assert home.outcomes == dict.fromkeys("abcde", DONE)
        assert all(answer.final for batch in home.batches for answer in batch)
        await lane.close()
        await asyncio.sleep(0.1)
        assert lane.statistics().workers == 0

    run_virtual(main())


@both
def test_recall_and_end_reach_the_other_loop(dispatch: Dispatch, deliver: Callable[..., Delivery]) -> None:
    """L22."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        home = Home(loop)
        lane = lane_of(home, loop, dispatch)
        rows = [deliver(each) for each in "abcde"]
        lane.submit(rows)
        await asyncio.sleep(0.5)
        lane.recall()
        assert lane.end(rows[0])
        await asyncio.sleep(0.1)
        assert home.outcomes == {"d": NOT_STARTED, "e": NOT_STARTED, "a": ENDED}
        assert lane.end()
        await asyncio.sleep(0.1)
        assert home.outcomes == {"d": NOT_STARTED, "e": NOT_STARTED, "a": ENDED, "b": ENDED, "c": ENDED}

    run_virtual(main())


def test_what_is_submitted_and_recalled_at_once_is_recalled(deliver: Callable[..., Delivery]) -> None:
    """L23, L24: the recall does not overtake the deliveries on their way to the loop."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        home = Home(loop)
        lane = lane_of(home, loop, concurrency=1)
        lane.submit([deliver(each) for each in "abc"])
        lane.recall()
        await asyncio.sleep(5)
        assert home.outcomes == {"a": DONE, "b": NOT_STARTED, "c": NOT_STARTED}

    run_virtual(main())


def test_a_closed_application_gives_everything_back(deliver: Callable[..., Delivery]) -> None:
    """L23: what is submitted now, and what was on its way when the loop was closed."""
    application = VirtualLoop()

    async def main() -> None:
        home = Home(asyncio.get_running_loop())
        lane = lane_of(home, application)
        lane.submit([deliver("a")])  # never received
        application.close()
        lane.submit([deliver("b"), deliver("c")])
        await asyncio.sleep(0)
        assert home.outcomes == dict.fromkeys("abc", NOT_STARTED)
        lane.submit([deliver("d")])
        await asyncio.sleep(0)
        assert home.outcomes["d"] == NOT_STARTED
        lane.recall()
        assert not lane.end(), "its handlers are gone with it"
        await lane.close()

    run_virtual(main())


@both
def test_a_loop_that_is_closed_under_handlers_answers_for_them_and_for_what_waits(
    dispatch: Dispatch, deliver: Callable[..., Delivery]
) -> None:
    """L22, L23: at the next call of the engine, so that a stop does not wait for what can never end."""
    application = VirtualLoop()

    async def main() -> None:
        home = Home(asyncio.get_running_loop())
        lane = lane_of(home, application, dispatch, concurrency=1)
        lane.submit([deliver("a"), deliver("b")])
        await asyncio.to_thread(application.run_until_complete, asyncio.sleep(0.5))
        lane.submit([deliver("c")])
        application.close()
        lane.recall()
        await asyncio.sleep(0)
        outcomes = home.outcomes
        running = outcomes.pop("a")
        assert isinstance(running, Failed)
        assert str(running.error) == "the event loop was closed while the handler ran on it; its message is retried"
        assert outcomes == dict.fromkeys("bc", NOT_STARTED)
        assert not lane.end(), "there is nothing left"
        await asyncio.sleep(0)
        assert len(home.outcomes) == 3

    run_virtual(main())


@both
def test_a_loop_that_goes_down_takes_no_more_work(dispatch: Dispatch, deliver: Callable[..., Delivery]) -> None:
    """L23: `submit` says so before the loop is closed, so that the consumer stops receiving."""

    async def main() -> None:
        home = Home(asyncio.get_running_loop())
        lane = lane_of(home, asyncio.get_running_loop(), dispatch, concurrency=1)
        assert lane.submit([deliver("a"), deliver("b")])
        await asyncio.sleep(0.5)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        assert not lane.submit([deliver("c")])
        await asyncio.sleep(1)
        assert home.outcomes == {"a": ENDED, "b": NOT_STARTED, "c": NOT_STARTED}
        await lane.close()

    run_virtual(main())


@pytest.fixture
def application() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in another thread, as an application's is to the engine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_loop_that_a_handler_blocks_does_not_hold_the_engine_up(
    application: asyncio.AbstractEventLoop, deliver: Callable[..., Delivery]
) -> None:
    """L9: the engine submits, ends and beats on while the application's loop stands still."""
    blocked, go_on = threading.Event(), threading.Event()

    async def hog(body: str) -> None:
        if body == "hog":
            blocked.set()
            go_on.wait(60)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        home = Home(loop)
        everything = asyncio.Event()

        def receive(batch: list[Answer[Delivery]]) -> None:
            home.batches.append(batch)
            everything.set()

        home.answers = Mailbox(loop, receive)
        lane = CoroutineLane(
            Handler(hog, queue="q"), Options(), loop=application, answers=home.answers, clock=time.monotonic
        )
        lane.submit([deliver("hog")])
        await asyncio.to_thread(blocked.wait, 10)
        lane.submit([deliver(each) for each in "abc"])
        for _ in range(100):  # the engine's loop runs on
            await asyncio.sleep(0)
        assert home.batches == []
        go_on.set()
        async with asyncio.timeout(60):
            while len(home.outcomes) < 4:
                everything.clear()
                await everything.wait()
        assert home.outcomes == dict.fromkeys(["hog", *"abc"], DONE)

    asyncio.run(main())


@pytest.mark.slow
@both
def test_starts_and_stops_under_load_answer_everything(
    dispatch: Dispatch, application: asyncio.AbstractEventLoop, deliver: Callable[..., Delivery]
) -> None:
    """L20, L22: fifty lanes one after the other, each recalled and ended in the thick of it."""

    async def work(body: str) -> None:
        await asyncio.sleep(0)
        if int(body) % 3 == 0:
            await asyncio.sleep(3600)

    async def main() -> None:
        for _ in range(50):
            home = Home(asyncio.get_running_loop())
            lane = CoroutineLane(
                Handler(work, queue="q"),
                Options(concurrency=5, dispatch=dispatch),
                loop=application,
                answers=home.answers,
                clock=time.monotonic,
            )
            for _ in range(4):
                lane.submit([deliver() for _ in range(5)])
                await asyncio.sleep(0)
            async with asyncio.timeout(60):
                while len(home.outcomes) < 20:
                    lane.recall()
                    lane.end()
                    await asyncio.sleep(0)
            assert lane.statistics().waiting == 0
            await lane.close()

    asyncio.run(main())
