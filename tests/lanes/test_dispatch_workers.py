"""Who runs the next unit: workers of a pool, hired with the load and let go, or a place that has come free."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

from dispatch_scene import Scene, both, handler_tasks, second

from leasekeeper.outcomes import DONE
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery


def test_workers_are_hired_with_the_load_and_let_go_one_by_one(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene("pool", second, concurrency=4)
        scene.submit(deliver, "a")
        assert scene.numbers == (0, 1, 1), "it starts in the next turn"
        await asyncio.sleep(0)
        assert scene.numbers == (1, 0, 1)
        await asyncio.sleep(2)
        scene.submit(deliver, "b")
        await asyncio.sleep(0)
        assert scene.numbers == (1, 0, 1), "the idle one is used"
        scene.submit(deliver, *"cdefg")
        await asyncio.sleep(0)
        assert scene.numbers == (4, 2, 4)
        await asyncio.sleep(3)
        counts = []
        for _ in range(40):
            counts.append(scene.numbers[2])
            await asyncio.sleep(1)
        assert counts[0] == 4
        assert counts[-1] == 0
        assert all(after in (before, before - 1) for before, after in pairwise(counts))
        scene.submit(deliver, *"hi")
        await asyncio.sleep(0)
        assert scene.numbers == (2, 0, 2), "hired again"
        await asyncio.sleep(60)
        assert len(scene.answers) == 9
        assert scene.numbers == (0, 0, 0)

    run_virtual(main())


def test_a_short_lull_dismisses_no_worker(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene("pool", second, concurrency=1)
        for _ in range(5):
            scene.submit(deliver, "a")
            await asyncio.sleep(9)
            assert scene.numbers == (0, 0, 1)
        assert len(scene.answers) == 5

    run_virtual(main())


def test_idle_workers_can_be_dismissed_at_once(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene("pool", second, concurrency=2)
        scene.strategy.dismiss()
        scene.submit(deliver, *"ab")
        await asyncio.sleep(2)
        assert scene.numbers == (0, 0, 2)
        scene.strategy.dismiss()
        await asyncio.sleep(0)
        assert scene.numbers == (0, 0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        scene.submit(deliver, "c")
        await asyncio.sleep(2)
        assert scene.answers[2:] == [("c", DONE)]

    run_virtual(main())


def test_a_worker_that_is_being_cancelled_can_be_dismissed_too(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene("pool", second, concurrency=2)
        scene.submit(deliver, *"ab")
        await asyncio.sleep(2)
        worker, _ = handler_tasks()
        worker.cancel()
        scene.strategy.dismiss()
        await asyncio.sleep(0)
        assert scene.numbers == (0, 0, 0)

    run_virtual(main())


def test_tasks_of_the_semaphore_end_with_their_message(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene("semaphore", second)
        scene.submit(deliver, *"ab")
        await asyncio.sleep(2)
        assert handler_tasks() == set()
        scene.strategy.dismiss()
        await asyncio.sleep(0)
        assert scene.numbers == (0, 0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


@both
def test_the_next_handler_starts_in_the_turn_after_the_one_before_has_ended(
    kind: str, deliver: Callable[..., Delivery]
) -> None:
    """Under load, turns of the loop are long, and each one that a slot stands idle for is a share of its rate."""

    async def main() -> None:
        end = asyncio.Event()

        async def work(body: str) -> None:
            if body in "ab":
                await end.wait()

        scene = Scene(kind, work, concurrency=2)
        scene.submit(deliver, *"abcd")
        await asyncio.sleep(0.5)
        assert scene.started == ["a", "b"]
        end.set()
        await asyncio.sleep(0)  # the turn in which both end
        await asyncio.sleep(0)
        assert scene.started == ["a", "b", "c", "d"]

    run_virtual(main())


@both
def test_with_fewer_places_the_next_ones_wait_until_enough_have_ended(
    kind: str, deliver: Callable[..., Delivery]
) -> None:
    async def main() -> None:
        scene = Scene(kind, second, concurrency=3)
        scene.submit(deliver, *"abcdef")
        await asyncio.sleep(0.5)
        scene.strategy.resize(1)
        await asyncio.sleep(1)
        assert scene.numbers[:2] == (1, 2)
        await asyncio.sleep(3)
        assert scene.started == list("abcdef")
        assert scene.numbers[:2] == (0, 0)

    run_virtual(main())
