"""The thread lane under stress: two hundred lanes started and stopped, and a switch of threads at every instruction."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.lanes.threads import ThreadLane
from leasekeeper.options import Options
from leasekeeper.outcomes import DONE, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answer

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _switch_all_the_time() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class Tally:
    """Answers, counted by delivery."""

    def __init__(self) -> None:
        self.answers: Counter[Delivery] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._came = asyncio.Event()

    def receive(self, answers: list[Answer[Delivery]]) -> None:
        for answer in answers:
            delivery, outcome, final = answer.unit, answer.outcome, answer.final
            assert final
            self.answers[delivery] += 1
            self.outcomes[type(outcome).__name__] += 1
        self._came.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while sum(self.answers.values()) < count:
                self._came.clear()
                await self._came.wait()


def test_two_hundred_starts_and_stops_answer_every_delivery_once(deliver: Callable[..., Delivery]) -> None:
    """L20, L22: submitted in batches, recalled in the middle, closed; nothing is lost, nothing answered twice."""
    draw = random.Random(7)

    def work(body: str) -> None:
        if int(body) % 7 == 0:
            raise ValueError(body)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(200):
            tally = Tally()
            lane = ThreadLane(
                Handler(work, queue="q"),
                Options(threads=draw.choice([1, 2, 5]), concurrency=1, thread_queue_depth=draw.choice([0, 1, 10])),
                answers=Mailbox(loop, tally.receive),
                clock=time.monotonic,
                timer=loop,
            )
            submitted = 0
            for _ in range(draw.randrange(1, 6)):
                batch = [deliver() for _ in range(draw.randrange(1, 11))]
                submitted += len(batch)
                lane.submit(batch)
                if draw.random() < 0.3:
                    await asyncio.sleep(0)
                if draw.random() < 0.2:
                    lane.recall()
            await tally.until(submitted)
            await lane.close()
            assert set(tally.answers.values()) == {1}
            assert len(tally.answers) == submitted
            assert not any(each.thread is not None and each.thread.is_alive() for each in lane._processors)
            assert lane.statistics().waiting == lane.statistics().running == 0

    asyncio.run(main())


def test_one_lane_under_a_long_load_loses_nothing(deliver: Callable[..., Delivery]) -> None:
    """Five thousand messages, one at a time and in batches, threads parking and being summoned all the while."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tally = Tally()
        lane = ThreadLane(
            Handler(lambda _message: None, queue="q"),
            Options(threads=4, concurrency=1, handler_timeout=1000.0),
            answers=Mailbox(loop, tally.receive),
            clock=time.monotonic,
            timer=loop,
        )
        draw, submitted = random.Random(3), 0
        while submitted < 5000:
            size = draw.choice([1, 1, 2, 10])
            lane.submit([deliver() for _ in range(size)])
            submitted += size
            if draw.random() < 0.5:
                await tally.until(submitted)  # all of them are parking now
        await tally.until(submitted)
        await lane.close()
        assert tally.outcomes == {type(DONE).__name__: submitted}
        assert max(tally.answers.values()) == 1

    asyncio.run(main())


def test_time_outs_race_with_ends_and_every_place_comes_free_once(deliver: Callable[..., Delivery]) -> None:
    """L30: a delivery is answered once, or given up and then freed; never both and never neither."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        outcomes: dict[Delivery, list[str]] = {}
        came = asyncio.Event()
        freed = 0

        def receive(answers: list[Answer[Delivery]]) -> None:
            nonlocal freed
            for answer in answers:
                delivery, outcome = answer.unit, answer.outcome
                given_up = isinstance(outcome, Failed) and outcome.still_running
                outcomes.setdefault(delivery, []).append("given up" if given_up else type(outcome).__name__)
                freed += not given_up
            came.set()

        draw = random.Random(5)
        lane = ThreadLane(
            Handler(lambda message: time.sleep(int(message.body) % 3 * 0.001), queue="q"),
            Options(threads=4, concurrency=1, handler_timeout=0.001),
            answers=Mailbox(loop, receive),
            clock=time.monotonic,
            timer=loop,
        )
        submitted = 0
        for _ in range(100):
            size = draw.randrange(1, 6)
            lane.submit([deliver() for _ in range(size)])
            submitted += size
            lane._check_timeouts(0.001)
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while freed < submitted:
                came.clear()
                await came.wait()
        await lane.close()
        ways = Counter(tuple(said) for said in outcomes.values())
        assert set(ways) <= {("Done",), ("given up", "Freed")}
        assert sum(ways.values()) == submitted

    asyncio.run(main())
