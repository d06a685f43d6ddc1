"""Dispatch and cancellation from outside: of one task, which is its own failure, and of all when the loop goes down."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from dispatch_scene import Scene, both, handler_tasks, second, stubborn

from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, Failed
from leasekeeper.testing.clock import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome


@both
@pytest.mark.parametrize("work", [second, stubborn])
def test_a_loop_that_goes_down_leaves_nothing_unanswered(
    kind: str, work: Callable[[str], Coroutine[Any, Any, Any]], deliver: Callable[..., Delivery]
) -> None:
    """L23: as `asyncio.run` ends: every task is cancelled once and waited for. Nothing new is started meanwhile."""
    bodies = [f"{index}" for index in range(8)]
    scenes: list[Scene] = []

    async def main() -> None:
        scene = Scene(kind, work)
        scenes.append(scene)
        scene.submit(deliver, *bodies)
        await asyncio.sleep(0.5)

    run_virtual(main())
    [scene] = scenes
    assert Counter(body for body, _ in scene.answers) == Counter(bodies)
    assert len(scene.started) == 3
    assert [outcome for _, outcome in scene.answers].count(NOT_STARTED) == 5


@both
@pytest.mark.parametrize("turns", range(1, 4))
def test_a_loop_that_goes_down_as_the_last_handler_ends_leaves_nothing_unanswered(
    kind: str, turns: int, deliver: Callable[..., Delivery]
) -> None:
    """L23: whether or not the task of the next one has been made, or has begun."""
    scenes: list[Scene] = []

    async def main() -> None:
        gate = asyncio.Event()
        scene = Scene(kind, lambda body: gate.wait() if body == "a" else asyncio.sleep(60), concurrency=1)
        scenes.append(scene)
        scene.submit(deliver, *"abc")
        await asyncio.sleep(0.5)
        gate.set()
        for _ in range(turns):
            await asyncio.sleep(0)

    run_virtual(main())
    [scene] = scenes
    assert Counter(body for body, _ in scene.answers) == Counter("abc")
    assert scene.running == 0


@both
@pytest.mark.parametrize("begun", [True, False])
def test_units_submitted_as_the_loop_goes_down_are_answered_and_not_started(
    kind: str, deliver: Callable[..., Delivery], *, begun: bool
) -> None:
    """L23: in the same turn, and while cancelled handlers clean up."""
    scenes: list[Scene] = []

    async def cleans_up(body: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)
            scenes[0].submit(deliver, f"{body} late")

    async def main() -> None:
        scene = Scene(kind, cleans_up)
        scenes.append(scene)
        if begun:
            scene.submit(deliver, "a")
            await asyncio.sleep(0.5)
        scene.submit(deliver, *"bcde")
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_virtual(main())
    [scene] = scenes
    assert scene.strategy.down
    outcomes = dict(scene.answers)
    assert len(outcomes) == len(scene.answers)
    assert scene.started == ["a"] * begun
    expected: dict[str, Outcome] = dict.fromkeys("bcde", NOT_STARTED)
    assert outcomes == (expected | {"a": ENDED, "a late": NOT_STARTED} if begun else expected)
    assert scene.numbers[:2] == (0, 0)


@both
def test_a_loop_that_goes_down_waits_for_no_worker(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L22: neither for one that was just given work, nor for one with a handler that takes its cancellation back."""

    async def takes_it_back(body: str) -> None:
        try:
            await asyncio.sleep(60 if body == "b" else 1)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()

    async def main() -> Scene:
        scene = Scene(kind, takes_it_back)
        scene.submit(deliver, "a")
        await asyncio.sleep(0.5)
        scene.submit(deliver, "b")
        await asyncio.sleep(1)
        scene.submit(deliver, "c")
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return scene

    scene = run_virtual(main())
    assert Counter(scene.answers) == Counter([("a", DONE), ("b", DONE), ("c", NOT_STARTED)])


@both
def test_a_handlers_task_that_is_cancelled_inside_the_application_is_its_own_failure(
    kind: str, deliver: Callable[..., Delivery]
) -> None:
    """L24: as old time-out libraries do it. What waits is run, and nothing is given back."""

    async def cancelled_later(body: str) -> None:
        if body == "odd":
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.5, task.cancel)
        await asyncio.sleep(1)

    async def main() -> None:
        for concurrency in (1, 2):
            scene = Scene(kind, cancelled_later, concurrency=concurrency)
            scene.submit(deliver, "a", "odd", "b", "c", "odd", "d")
            await asyncio.sleep(20)
            failed = [outcome for body, outcome in scene.answers if body == "odd"]
            assert [type(outcome) for outcome in failed] == [Failed, Failed]
            assert Counter(answer for answer in scene.answers if answer[0] != "odd") == Counter(
                (body, DONE) for body in "abcd"
            )
            assert not scene.strategy.down

    run_virtual(main())


@both
def test_a_handler_that_cancels_itself_is_its_own_failure(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L20, L24: before it waits, or in its very last step, when the cancellation is still to come."""

    async def cancels_itself(body: str) -> None:
        if body != "fine":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        if body != "at its end":
            await asyncio.sleep(1)

    async def main() -> None:
        scene = Scene(kind, cancels_itself, concurrency=2)
        scene.submit(deliver, "at once", "at its end", "fine", "at once", "at its end", "fine")
        await asyncio.sleep(5)
        kinds = Counter((body, type(outcome).__name__) for body, outcome in scene.answers)
        assert kinds == {("at once", "Failed"): 2, ("at its end", "Done"): 2, ("fine", "Done"): 2}
        scene.submit(deliver, *["fine"] * 4)
        await asyncio.sleep(0.5)
        assert scene.numbers == (2, 2, 2)
        await asyncio.sleep(30)
        assert scene.answers[6:] == [("fine", DONE)] * 4

    run_virtual(main())


def test_an_idle_worker_that_is_cancelled_loses_no_unit(deliver: Callable[..., Delivery]) -> None:
    """L20, L24: before, in, and after the turn in which it is given work."""

    async def main() -> None:
        scene = Scene("pool", second, concurrency=1)
        scene.submit(deliver, "a")
        await asyncio.sleep(2)
        [worker] = handler_tasks()
        worker.cancel()
        scene.submit(deliver, "b")  # in the turn in which it is being cancelled
        await asyncio.sleep(2)
        assert scene.answers[1:] == [("b", DONE)]
        [worker] = handler_tasks()
        worker.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        scene.submit(deliver, "c")
        await asyncio.sleep(2)
        assert scene.answers[2:] == [("c", DONE)]
        [worker] = handler_tasks()
        scene.submit(deliver, "d")
        worker.cancel()  # in the turn in which it was given work
        await asyncio.sleep(60)
        assert scene.answers[3:] == [("d", DONE)]
        scene.submit(deliver, "e")
        await asyncio.sleep(60)
        assert scene.answers[4:] == [("e", DONE)]
        assert scene.numbers == (0, 0, 0)

    run_virtual(main())


@both
def test_a_task_that_is_cancelled_before_it_begins_is_answered_at_the_end(
    kind: str, deliver: Callable[..., Delivery]
) -> None:
    """L20: it runs not one line, so that only `end` sees it."""

    async def main() -> None:
        scene = Scene(kind, second, concurrency=1)
        scene.submit(deliver, "a", "b")
        [task] = handler_tasks()
        task.cancel()
        await asyncio.sleep(5)
        assert scene.answers == []
        scene.strategy.end(None)
        await asyncio.sleep(5)
        assert scene.answers == [("a", NOT_STARTED), ("b", DONE)]

    run_virtual(main())


@both
def test_a_loop_that_is_closed_under_running_handlers_dies_in_silence(
    kind: str, deliver: Callable[..., Delivery], caplog: pytest.LogCaptureFixture
) -> None:
    """What is collected then is closed where it stands, and answers nothing."""

    async def main() -> Scene:
        scene = Scene(kind, second)
        scene.submit(deliver, *"abcde")
        await asyncio.sleep(0.5)
        return scene

    loop = VirtualLoop()
    scene = loop.run_until_complete(main())
    loop.close()
    answers = scene.answers
    del scene, loop
    gc.collect()
    assert answers == []
    assert {record.message.partition("\n")[0] for record in caplog.records} == {"Task was destroyed but it is pending!"}
