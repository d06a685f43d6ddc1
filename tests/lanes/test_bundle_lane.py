"""The bundle lane around coroutines and threads: batches in, an answer for each message out, whatever ends a batch."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.batch import Batch  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.engine.lane import open_lane
from leasekeeper.errors import HandlerTimeout
from leasekeeper.lanes.bundles import BundleLane
from leasekeeper.lanes.handlers import make_handler
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.options import Options
from leasekeeper.outcomes import DONE, ENDED, FREED, NOT_STARTED, Failed, Retry
from leasekeeper.testing.world import virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answer
    from leasekeeper.outcomes import Outcome

PATIENCE = 60.0


class Scene:
    """A bundle lane on this loop, and what it has answered, in order."""

    def __init__(
        self, handler: Callable[..., Any], *, application: asyncio.AbstractEventLoop | None = None, **options: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        given = Options(**{"batch": 3, "concurrency": 2, **options})
        self.answers: list[tuple[str, Outcome]] = []
        self._came = asyncio.Event()
        self.lane = open_lane(
            make_handler(handler, given, queue="q"),
            given,
            queue="q",
            application=application or loop,
            answers=Mailbox(loop, self._receive),
            clock=loop.time,
        )
        assert isinstance(self.lane, BundleLane)

    def _receive(self, answers: list[Answer[Delivery]]) -> None:
        self.answers += [(answer.unit.received.body, answer.outcome) for answer in answers]
        self._came.set()

    async def answered(self, count: int) -> dict[str, Outcome]:
        async with asyncio.timeout(PATIENCE):
            while len(self.answers) < count:
                self._came.clear()
                await self._came.wait()
        return dict(self.answers)


def in_real_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """For tests with threads, which take real time."""

    def run(deliver: Callable[..., Delivery]) -> None:
        asyncio.run(test(deliver))

    return run


@virtual
async def test_each_message_gets_its_answer(deliver: Callable[..., Delivery]) -> None:
    async def load(batch: Batch[str]) -> None:
        batch.retry(batch[1], after=5)

    scene = Scene(load)
    assert scene.lane.submit([deliver() for _ in range(3)])
    found = await scene.answered(3)
    assert (found["1"], found["3"]) == (DONE, DONE)
    assert isinstance(found["2"], Retry)
    assert [body for body, _ in scene.answers] == ["1", "2", "3"]


@virtual
async def test_all_messages_of_a_batch_have_started_when_it_starts(deliver: Callable[..., Delivery]) -> None:
    async def load(batch: Batch[str]) -> None:
        await asyncio.sleep(1)

    scene, rows = Scene(load), [deliver() for _ in range(3)]
    scene.lane.submit(rows[:2])
    await asyncio.sleep(0)
    assert [row.started for row in rows] == [0.0, 0.0, 0.0]
    assert (scene.lane.statistics().running, scene.lane.statistics().waiting) == (0, 2)
    scene.lane.submit(rows[2:])
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(0.5)
    assert [row.started for row in rows] == [began] * 3
    assert (scene.lane.statistics().running, scene.lane.statistics().waiting) == (1, 0)
    await scene.answered(3)


@virtual
async def test_no_more_batches_run_than_the_concurrency(deliver: Callable[..., Delivery]) -> None:
    running = most = 0

    async def load(batch: Batch[str]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    scene = Scene(load, concurrency=2)
    scene.lane.submit([deliver() for _ in range(15)])
    await asyncio.sleep(0.5)
    assert (scene.lane.statistics().running, scene.lane.statistics().waiting) == (2, 9)
    await scene.answered(15)
    assert most == 2


@virtual
async def test_what_is_collected_and_what_waits_can_be_recalled(deliver: Callable[..., Delivery]) -> None:
    async def load(batch: Batch[str]) -> None:
        await asyncio.sleep(1)

    scene = Scene(load, concurrency=1)
    scene.lane.submit([deliver() for _ in range(8)])  # a batch runs, one waits, two messages are collected
    await asyncio.sleep(0.5)
    scene.lane.recall()
    found = await scene.answered(8)
    assert [found[str(n)] for n in range(1, 9)] == [DONE] * 3 + [NOT_STARTED] * 5


@virtual
async def test_a_cancelled_batch_ends_all_its_messages_but_those_it_has_named(
    deliver: Callable[..., Delivery],
) -> None:
    async def load(batch: Batch[str]) -> None:
        batch.retry(batch[0], after=5)
        await asyncio.sleep(100)

    scene = Scene(load)
    scene.lane.submit([deliver() for _ in range(3)])
    await asyncio.sleep(0.5)
    assert scene.lane.end()
    found = await scene.answered(3)
    assert isinstance(found["1"], Retry)
    assert (found["2"], found["3"]) == (ENDED, ENDED)


@virtual
async def test_a_lost_lease_ends_a_batch_when_no_other_is_left(deliver: Callable[..., Delivery]) -> None:
    async def load(batch: Batch[str]) -> None:
        await asyncio.sleep(100)

    scene, rows = Scene(load), [deliver() for _ in range(3)]
    scene.lane.submit(rows)
    await asyncio.sleep(0.5)
    for row in rows[:2]:
        row.lost = True
        assert not scene.lane.end(row)
    rows[2].lost = True
    assert scene.lane.end(rows[2])
    assert set((await scene.answered(3)).values()) == {ENDED}


@virtual
async def test_the_time_out_counts_for_each_call(deliver: Callable[..., Delivery]) -> None:
    async def load(batch: Batch[str]) -> None:
        await asyncio.sleep(3)
        if "2" in batch.bodies:
            await asyncio.sleep(100)

    scene = Scene(load, handler_timeout=5, on_batch_error="singly")
    scene.lane.submit([deliver() for _ in range(3)])
    begun = asyncio.get_running_loop().time()
    found = await scene.answered(1)
    assert found == {"1": DONE}  # settled as soon as its own call has ended
    found = await scene.answered(3)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(5 + 3 + 5 + 3)
    assert (found["1"], found["3"]) == (DONE, DONE)
    assert isinstance(found["2"], Failed)
    assert isinstance(found["2"].error, HandlerTimeout)
    assert "the messages of its batch are retried" in str(found["2"].error)


def test_a_closed_loop_gives_everything_back(deliver: Callable[..., Delivery]) -> None:
    async def load(batch: Batch[str]) -> None:
        raise AssertionError("called")

    application = asyncio.new_event_loop()
    application.close()

    async def main() -> None:
        scene = Scene(load, application=application)
        assert scene.lane.submit(
            [deliver(), deliver()]
        )  # collected: that the loop is closed shows with the first batch
        assert not scene.lane.submit([deliver()])
        assert not scene.lane.submit([deliver()])
        assert set((await scene.answered(4)).values()) == {NOT_STARTED}

    asyncio.run(main())


@in_real_time
async def test_plain_functions_run_in_threads(deliver: Callable[..., Delivery]) -> None:
    ran_in: set[str] = set()

    def load(batch: Batch[str]) -> None:
        ran_in.add(threading.current_thread().name)
        if len(batch) == 3:
            raise ValueError("all or nothing")
        if batch.bodies == ["2"]:
            raise ValueError("the guilty one")

    scene = Scene(load, on_batch_error="singly")
    scene.lane.submit([deliver() for _ in range(3)])
    found = await scene.answered(3)
    assert (found["1"], found["3"]) == (DONE, DONE)
    assert isinstance(found["2"], Failed)
    assert all(name.startswith("leasekeeper-") for name in ran_in)
    await scene.lane.close()


@in_real_time
async def test_a_thread_that_runs_too_long_is_given_up_and_answers_once_more_when_it_ends(
    deliver: Callable[..., Delivery],
) -> None:
    gate = threading.Event()

    def load(batch: Batch[str]) -> None:
        batch.retry(batch[0], after=7)
        assert gate.wait(PATIENCE)

    scene = Scene(load, concurrency=1, handler_timeout=0.01)
    scene.lane.submit([deliver() for _ in range(3)])
    found = await scene.answered(3)
    assert isinstance(found["1"], Retry)
    assert isinstance(found["2"], Failed)
    assert found["2"].still_running
    assert isinstance(found["3"], Failed)
    gate.set()
    await scene.answered(5)
    assert scene.answers[3:] == [("2", FREED), ("3", FREED)]
    await scene.lane.close()


@in_real_time
async def test_a_thread_that_was_given_up_makes_no_further_calls(deliver: Callable[..., Delivery]) -> None:
    gate, calls = threading.Event(), []

    def load(batch: Batch[str]) -> None:
        calls.append(len(batch))
        assert gate.wait(PATIENCE)
        raise ValueError("too late")

    scene = Scene(load, concurrency=1, handler_timeout=0.01, on_batch_error="halves")
    scene.lane.submit([deliver() for _ in range(3)])
    await scene.answered(3)
    gate.set()
    await scene.answered(6)
    assert calls == [3]
    await scene.lane.close()


@in_real_time
async def test_in_a_thread_the_time_out_counts_for_each_call(deliver: Callable[..., Delivery]) -> None:
    """The second of three calls is given up; what the first has done stands."""
    gate = threading.Event()

    def load(batch: Batch[str]) -> None:
        if len(batch) == 3:
            raise ValueError("all or nothing")
        if batch.bodies == ["2"]:
            assert gate.wait(PATIENCE)

    scene = Scene(load, concurrency=1, handler_timeout=0.05, on_batch_error="singly")
    scene.lane.submit([deliver() for _ in range(3)])
    found = await scene.answered(3)
    assert found["1"] is DONE
    assert isinstance(found["2"], Failed)
    assert isinstance(found["3"], Failed)  # its call could not be made any more
    gate.set()
    await scene.answered(5)
    assert scene.answers[3:] == [("2", FREED), ("3", FREED)]
    await scene.lane.close()
