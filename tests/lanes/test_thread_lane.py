"""The thread lane, with real threads and events: stealing, hiring, recall, and errors."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from thread_scene import PATIENCE, Scene, until

from leasekeeper.lanes import threads
from leasekeeper.outcomes import DONE, NOT_STARTED, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery


def test_handlers_run_in_threads_and_are_answered(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene()
        scene.submit(deliver, "abcdefgh")
        await scene.answered(8)
        assert sorted(scene.answers) == [(each, DONE) for each in "abcdefgh"]
        assert all(name.startswith("leasekeeper-Scene.work") for name in scene.ran_in.values())
        await scene.close()
        assert not any(thread.name.startswith("leasekeeper-Scene.work") for thread in threading.enumerate())

    asyncio.run(main())


def test_threads_are_hired_as_they_are_needed_up_to_the_maximum(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene(threads=3, thread_queue_depth=0)
        assert scene.numbers == (0, 0, 0)
        scene.submit(deliver, "a", gated="a")
        await scene.has_begun("a")
        assert scene.numbers == (1, 0, 1)
        scene.submit(deliver, "bcde", gated="bcde")
        await scene.has_begun(*"bc")
        assert scene.numbers == (3, 2, 3)
        assert repr(scene.lane) == "<ThreadLane 3 running, 2 waiting, 3 of 3 threads>"
        await scene.close()
        await scene.answered(5)

    asyncio.run(main())


def test_an_idle_thread_is_used_again(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene(threads=2)
        for each in "abcdef":
            scene.submit(deliver, each)
            await scene.answered(len(scene.answers) + 1)
            await until(lambda: scene.lane._idle == 1)
        assert scene.numbers == (0, 0, 1)
        await scene.close()

    asyncio.run(main())


def test_an_idle_processor_takes_over_what_stands_behind_a_busy_one(deliver: Callable[..., Delivery]) -> None:
    """L19: the first takes some for itself and is held up; the second does all the rest."""

    async def main() -> None:
        scene = Scene(threads=2)
        bodies = [f"m{index}" for index in range(12)]
        scene.submit(deliver, bodies, gated=["m0"])
        await scene.answered(11)
        await scene.has_begun("m0")
        assert scene.numbers == (1, 0, 2)
        busy = scene.ran_in.pop("m0")
        behind = [body for body, thread in scene.ran_in.items() if thread != busy]
        assert len(behind) == 11, "five of them stood behind the busy one"
        await scene.close()
        await scene.answered(12)

    asyncio.run(main())


def test_quick_handlers_share_one_thread(deliver: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that take turns with the GIL do less than one alone. The clock says that no handler takes any time."""
    monkeypatch.setattr(threads, "STUCK", 60.0)

    async def main() -> None:
        scene = Scene(threads=8, clock=lambda: 1.0)
        scene.submit(deliver, "a")
        await scene.answered(1)
        for turn in range(20):
            scene.submit(deliver, [f"{turn}-{index}" for index in range(50)])
            await scene.answered(1 + 50 * (turn + 1))
        assert scene.numbers == (0, 0, 1)
        await scene.close()

    asyncio.run(main())


def test_a_long_handler_among_quick_ones_delays_no_other(
    deliver: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L19: a thread that has been busy for a while will not take what is submitted."""
    monkeypatch.setattr(threads, "STUCK", 60.0)
    now = [1.0]

    async def main() -> None:
        scene = Scene(threads=2, clock=lambda: now[0])
        scene.submit(deliver, "a")
        await scene.answered(1)
        scene.submit(deliver, "b", gated="b")
        await scene.has_begun("b")
        now[0] += 1.0
        scene.submit(deliver, "c")
        await scene.answered(2)
        assert scene.numbers == (1, 0, 2)
        await scene.close()
        await scene.answered(3)

    asyncio.run(main())


def test_what_waits_behind_a_quick_handler_that_turned_slow_is_taken_over(deliver: Callable[..., Delivery]) -> None:
    """L19: no thread was woken when it was taken, and nothing more is submitted that would wake one."""

    async def main() -> None:
        scene = Scene(threads=3, clock=lambda: 1.0)
        scene.submit(deliver, "a")
        await scene.answered(1)
        scene.submit(deliver, ["slow", "b", "slow too", "c"], gated=["slow", "slow too"])
        await scene.answered(3)
        await scene.has_begun("slow", "slow too")
        assert sorted(body for body, _ in scene.answers) == ["a", "b", "c"]
        assert scene.numbers == (2, 0, 3)
        await scene.close()
        await scene.answered(5)

    asyncio.run(main())


def test_nothing_stands_for_long_behind_a_slow_handler_however_full_the_queue(
    deliver: Callable[..., Delivery],
) -> None:
    """L19: while the queue is never empty no thread is idle; still one looks behind the others now and then."""

    async def main() -> None:
        scene = Scene(threads=2)
        bodies = [f"m{index}" for index in range(12)]
        more = iter(range(1000))
        full = threading.Event()

        def keep_the_queue_full(body: str) -> None:
            if body == "m0":
                full.set()
            elif not stuck <= set(scene.ran_in) and (index := next(more, None)) is not None:
                scene.lane.submit([deliver(f"more{index}"), deliver(f"again{index}")])

        scene.on_work = keep_the_queue_full
        stuck = {f"m{index}" for index in range(1, 6)}
        scene.submit(deliver, bodies, gated=["m0"])
        await asyncio.to_thread(full.wait, PATIENCE)
        await until(lambda: stuck <= set(scene.ran_in))
        assert next(more, None) is not None, "they had to wait until the queue ran dry"
        await scene.close()

    asyncio.run(main())


def test_a_share_is_left_to_the_others(deliver: Callable[..., Delivery]) -> None:
    """No thread takes more for itself than waits in the queue for each thread, nor more than the depth."""

    async def main() -> None:
        for depth, behind in ((10, 4), (2, 2), (0, 0)):
            scene = Scene(threads=2, thread_queue_depth=depth)
            bodies = [f"m{index}" for index in range(9)]
            scene.submit(deliver, bodies, gated=bodies)
            await scene.has_begun("m0")
            first, *_ = scene.lane._processors
            assert len(first.behind) <= behind
            await scene.close()
            await scene.answered(9)

    asyncio.run(main())


def test_what_a_handler_raises_ends_no_thread(deliver: Callable[..., Delivery]) -> None:
    """L15, L20."""

    async def main() -> None:
        scene = Scene(threads=1)
        errors = iter([ValueError(), SystemExit(), KeyboardInterrupt()])

        def fail(body: str) -> None:
            if body != "d":
                raise next(errors)

        scene.on_work = fail
        scene.submit(deliver, "abcd")
        await scene.answered(4)
        assert [type(outcome).__name__ for _, outcome in scene.answers] == ["Failed"] * 3 + ["Done"]
        assert scene.numbers[2] == 1
        await scene.close()

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_an_error_that_reaches_the_thread_after_its_handler_costs_neither_of_them(
    timeout: float | None, deliver: Callable[..., Delivery]
) -> None:
    """L15, L20: time-out libraries raise in threads from outside, and may be late. The clock raises in their place."""

    class Late(BaseException):
        """What such a library raises."""

    async def main() -> None:
        calls = iter(range(1000))

        def clock() -> float:
            if threading.current_thread() is not threading.main_thread() and next(calls) == 1:
                raise Late
            return 1.0

        scene = Scene(threads=1, clock=clock, handler_timeout=timeout)
        scene.submit(deliver, "abc")
        await scene.answered(3)
        assert [(body, type(outcome).__name__) for body, outcome in scene.answers] == [
            ("a", "Failed"),
            ("b", "Done"),
            ("c", "Done"),
        ]
        assert isinstance(scene.answers[0][1], Failed)
        assert isinstance(scene.answers[0][1].error, Late)
        assert scene.numbers == (0, 0, 1)
        await scene.close()

    asyncio.run(main())


def test_lost_deliveries_are_not_started_in_threads(deliver: Callable[..., Delivery]) -> None:
    """L8."""

    async def main() -> None:
        scene = Scene(threads=1)
        scene.submit(deliver, "a", gated="a")
        await scene.has_begun("a")
        rows = [deliver(each) for each in "bcd"]
        scene.lane.submit(rows)
        rows[0].lost = rows[2].lost = True
        scene.gates["a"].set()
        await scene.answered(4)
        assert scene.answers == [("a", DONE), ("b", NOT_STARTED), ("c", DONE), ("d", NOT_STARTED)]
        assert not rows[0].started
        await scene.close()

    asyncio.run(main())


def test_what_waits_is_recalled_from_the_queue_and_from_behind(deliver: Callable[..., Delivery]) -> None:
    """L24."""

    async def main() -> None:
        scene = Scene(threads=2)
        bodies = [f"m{index}" for index in range(9)]
        scene.submit(deliver, bodies, gated=bodies)
        await until(lambda: scene.numbers == (2, 7, 2))
        scene.lane.recall()
        await scene.answered(7)
        assert {outcome for _, outcome in scene.answers} == {NOT_STARTED}
        assert scene.numbers == (2, 0, 2)
        scene.lane.recall()
        await scene.close()
        await scene.answered(9)
        assert [outcome for _, outcome in scene.answers[7:]] == [DONE, DONE]

    asyncio.run(main())


def test_a_thread_cannot_be_ended(deliver: Callable[..., Delivery]) -> None:
    """L22: so its message is not given back."""

    async def main() -> None:
        scene = Scene()
        assert not scene.lane.end()
        assert not scene.lane.end(deliver())
        await scene.close()

    asyncio.run(main())
