"""The two dispatch strategies, in virtual time: concurrency, order, and one answer for every delivery."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import pytest
from dispatch_scene import Scene, awaits_a_cancelled_task, both, second, stubborn

from leasekeeper.lanes.coroutines import CoroutineLane
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.lanes.threads import ThreadLane
from leasekeeper.options import Options
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, Failed
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.options import Dispatch
    from leasekeeper.outcomes import Outcome


@both
def test_the_concurrency_is_kept_and_the_rest_waits_in_order(kind: str, deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene(kind, second)
        rows = scene.submit(deliver, *"abcdefg")
        await asyncio.sleep(0.5)
        assert scene.numbers == (3, 4, 3)
        await asyncio.sleep(10)
        assert (scene.started, scene.most) == (list("abcdefg"), 3)
        assert Counter(scene.answers) == Counter((each, DONE) for each in "abcdefg")
        assert [row.started for row in rows] == [1.0] * 3 + [2.0] * 3 + [3.0]
        assert scene.numbers[:2] == (0, 0)

    run_virtual(main())


@both
def test_a_slow_handler_holds_up_no_other(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L19: one message of five minutes among ten slots leaves nine in full use."""

    async def work(body: str) -> None:
        await asyncio.sleep(300 if body == "slow" else 1)

    async def main() -> None:
        scene = Scene(kind, work, concurrency=10)
        scene.submit(deliver, "slow", *map(str, range(90)))
        await asyncio.sleep(10.5)
        assert len(scene.answers) == 90
        assert scene.running == 1
        await asyncio.sleep(300)
        assert scene.answers[-1] == ("slow", DONE)

    run_virtual(main())


@both
def test_failures_give_their_places_back(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L20: of whatever kind, and the full concurrency is there afterwards."""
    errors: list[BaseException] = [ValueError(), SystemExit(), KeyboardInterrupt(), asyncio.CancelledError()]

    async def work(body: str) -> None:
        await asyncio.sleep(0)
        if body != "fine":
            raise errors[int(body)]
        await asyncio.sleep(1)

    async def main() -> None:
        scene = Scene(kind, work)
        scene.submit(deliver, *(str(index % 4) for index in range(40)))
        await asyncio.sleep(1)
        assert len(scene.answers) == 40
        for body, outcome in scene.answers:
            assert isinstance(outcome, Failed)
            assert isinstance(outcome.error, type(errors[int(body)]))
        scene.submit(deliver, *["fine"] * 6)
        await asyncio.sleep(0.5)
        assert scene.running == 3
        await asyncio.sleep(5)
        assert scene.answers[40:] == [("fine", DONE)] * 6

    run_virtual(main())


@both
def test_a_cancellation_of_the_handlers_own_making_is_a_failure(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L20: it awaited a task that was cancelled; its worker goes on."""

    async def main() -> None:
        scene = Scene(kind, awaits_a_cancelled_task)
        scene.submit(deliver, *"abcdefgh")
        await asyncio.sleep(1)
        assert [body for body, _ in scene.answers] == list("abcdefgh")
        assert all(isinstance(outcome, Failed) for _, outcome in scene.answers)
        assert scene.numbers[:2] == (0, 0)

    run_virtual(main())


@both
def test_lost_deliveries_are_not_started(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L8: neither the first nor those that waited; and their places go on to the next."""

    async def main() -> None:
        scene = Scene(kind, second, concurrency=1)
        rows = [deliver(each) for each in "abcde"]
        rows[0].lost = rows[2].lost = True
        scene.strategy.submit(rows)
        rows[3].lost = True
        await asyncio.sleep(5)
        assert scene.started == ["b", "e"]
        assert scene.answers == [("a", NOT_STARTED), ("b", DONE), ("c", NOT_STARTED), ("d", NOT_STARTED), ("e", DONE)]
        assert [bool(row.started) for row in rows[2:4]] == [False, False]

    run_virtual(main(), start=50.0)


@both
def test_what_waits_can_be_recalled(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L24."""

    async def main() -> None:
        scene = Scene(kind, second)
        scene.submit(deliver, *"abcdef")
        await asyncio.sleep(0.5)
        scene.strategy.recall()
        assert scene.answers == [(each, NOT_STARTED) for each in "def"]
        scene.strategy.recall()
        await asyncio.sleep(5)
        assert Counter(scene.answers[3:]) == Counter((each, DONE) for each in "abc")
        assert scene.started == list("abc")

    run_virtual(main())


# Ending


@both
def test_one_handler_can_be_ended(kind: str, deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene(kind, second)
        _, b, *_ = scene.submit(deliver, *"abcd")
        await asyncio.sleep(0.5)
        scene.strategy.end(b)
        await asyncio.sleep(0.25)
        assert scene.answers == [("b", ENDED)]
        assert scene.started == list("abcd"), "its place goes to who waits"
        scene.strategy.end(b)  # has no effect any more
        await asyncio.sleep(5)
        assert Counter(scene.answers[1:]) == Counter((each, DONE) for each in "acd")

    run_virtual(main())


@both
def test_all_handlers_can_be_ended(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L22: at the deadline, after what waits has been recalled."""

    async def main() -> None:
        scene = Scene(kind, second)
        scene.submit(deliver, *"abcde")
        await asyncio.sleep(0.5)
        scene.strategy.recall()
        scene.strategy.end(None)
        await asyncio.sleep(0.1)
        assert scene.answers == [("d", NOT_STARTED), ("e", NOT_STARTED), ("a", ENDED), ("b", ENDED), ("c", ENDED)]
        assert scene.running == 0
        scene.submit(deliver, *"fgh")
        await asyncio.sleep(5)
        assert scene.answers[5:] == [(each, DONE) for each in "fgh"]

    run_virtual(main())


@both
def test_what_is_ended_in_the_turn_it_was_submitted_in_is_answered(kind: str, deliver: Callable[..., Delivery]) -> None:
    """L20: a task that is cancelled before its first step runs not one line, its answer included."""

    async def main() -> None:
        scene = Scene(kind, second, concurrency=2)
        a, *_ = scene.submit(deliver, *"abc")
        scene.strategy.end(a)
        assert scene.answers == [("a", NOT_STARTED)]
        scene.strategy.recall()
        scene.strategy.end(None)
        await asyncio.sleep(5)
        assert Counter(scene.answers) == Counter((each, NOT_STARTED) for each in "abc")
        assert scene.started == []
        scene.submit(deliver, *"xyz")
        await asyncio.sleep(0.5)
        assert scene.running == 2
        await asyncio.sleep(5)
        assert scene.numbers[:2] == (0, 0)

    run_virtual(main())


def test_an_idle_worker_given_work_and_ended_in_one_turn_answers(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene("pool", second, concurrency=1)
        scene.submit(deliver, "a")
        await asyncio.sleep(2)
        [b] = scene.submit(deliver, "b")
        scene.strategy.end(b)
        await asyncio.sleep(2)
        assert scene.answers == [("a", DONE), ("b", NOT_STARTED)]
        scene.submit(deliver, "c")
        await asyncio.sleep(2)
        assert scene.answers[2:] == [("c", DONE)]
        assert scene.numbers == (0, 0, 1), "the same worker throughout"

    run_virtual(main())


@both
def test_ending_twice_is_ending_once(kind: str, deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene(kind, second, concurrency=1)
        [a] = scene.submit(deliver, "a")
        await asyncio.sleep(0.5)
        scene.strategy.end(a)
        scene.strategy.end(None)
        await asyncio.sleep(0.5)
        scene.submit(deliver, "b")
        await asyncio.sleep(5)
        assert scene.answers == [("a", ENDED), ("b", DONE)]

    run_virtual(main())


@both
def test_a_handler_that_suppresses_its_cancellation_has_the_last_word(
    kind: str, deliver: Callable[..., Delivery]
) -> None:
    """Its outcome stands, and nothing of the cancellation sticks to the messages that follow."""

    async def main() -> None:
        scene = Scene(kind, stubborn, concurrency=1)
        [row, *_] = scene.submit(deliver, "stubborn", "next")
        await asyncio.sleep(0.5)
        scene.strategy.end(row)
        await asyncio.sleep(0.5)
        assert scene.answers == []
        await asyncio.sleep(5)
        assert scene.answers == [("stubborn", DONE), ("next", DONE)]
        assert not scene.strategy._ending  # type: ignore[attr-defined]  # both have it

    run_virtual(main())


# Both


@both
def test_which_context_a_handler_sees(kind: str, deliver: Callable[..., Delivery]) -> None:
    """A task each: a context each. Handlers of one worker share theirs."""
    last: contextvars.ContextVar[str] = contextvars.ContextVar("last", default="nothing")
    seen: list[str] = []

    async def work(body: str) -> None:
        seen.append(last.get())
        last.set(body)

    async def main() -> None:
        scene = Scene(kind, work, concurrency=1)
        scene.submit(deliver, *"ab")
        await asyncio.sleep(1)

    run_virtual(main())
    assert seen == ["nothing", "a" if kind == "pool" else "nothing"]


@both
@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_every_delivery_is_answered_exactly_once(
    kind: str, seed: int, deliver: Callable[..., Delivery]
) -> None:
    """L20: submits, losses, recalls and ends at random; the concurrency is never passed, nor lost."""
    draw = random.Random(seed)

    async def work(_body: str) -> None:
        kind = draw.random()
        if kind < 0.1:
            raise ValueError
        if kind < 0.2:
            await awaits_a_cancelled_task("")
        try:
            await asyncio.sleep(draw.choice([0, 0.01, 0.5, 3]))
        except asyncio.CancelledError:
            if kind < 0.6:
                raise

    async def main() -> None:
        scene = Scene(kind, work, concurrency=4)
        rows: list[Delivery] = []
        for index in range(200):
            chance = draw.random()
            if chance < 0.7 and scene.numbers[1] < 90:
                rows += scene.submit(deliver, *(f"{index}-{each}" for each in range(draw.randrange(5))))
            elif chance < 0.75:
                scene.strategy.recall()
            elif chance < 0.9 and rows:
                scene.strategy.end(draw.choice(rows[-8:]))
            elif chance < 0.92:
                scene.strategy.end(None)
            elif rows:
                draw.choice(rows[-8:]).lost = True
            await asyncio.sleep(draw.choice([0, 0, 0.01, 1, 30]))
        await asyncio.sleep(600)
        assert Counter(body for body, _ in scene.answers) == Counter(row.received.body for row in rows)
        assert scene.most <= 4
        before = len(scene.started)
        scene.submit(deliver, *"wxyz")
        await asyncio.sleep(0)
        assert len(scene.started) == before + 4, "the full concurrency is there"
        await asyncio.sleep(600)

    run_virtual(main())


class TakenBack:
    """A unit that the engine takes back at the worst moment: after its lane has written `started`."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.lost = False

    @property
    def started(self) -> float:
        return self.times[-1] if self.times else 0.0

    @started.setter
    def started(self, now: float) -> None:
        self.times.append(now)
        self.lost = True


@pytest.mark.parametrize("lane", ["semaphore", "pool", "threads"])
def test_a_unit_that_is_taken_back_while_it_starts_is_not_run(lane: Dispatch | Literal["threads"]) -> None:
    """L24: the lane looks after it has written that it starts, so it and the engine cannot both miss each other."""
    runs: list[object] = []

    class Noting:
        name = "noting"

        async def run(self, _say: object, unit: TakenBack) -> Outcome:
            runs.append(unit)
            return DONE

        def run_blocking(self, _say: object, unit: TakenBack) -> Outcome:
            runs.append(unit)
            return DONE

    async def main() -> None:
        loop = asyncio.get_running_loop()
        came: asyncio.Future[Any] = loop.create_future()
        answers: Mailbox[Any] = Mailbox(loop, came.set_result)
        handler: Any = Noting()
        options = Options(concurrency=1, threads=1, dispatch="semaphore" if lane == "threads" else lane)

        def clock() -> float:
            return loop.time() + 1.0

        made: CoroutineLane[TakenBack] | ThreadLane[TakenBack]
        if lane == "threads":
            made = ThreadLane(handler, options, answers=answers, clock=clock)
        else:
            made = CoroutineLane(handler, options, loop=loop, answers=answers, clock=clock)
        unit = TakenBack()
        made.submit([unit])
        [answer] = await came
        assert (answer.unit, answer.outcome) == (unit, NOT_STARTED)
        assert unit.times == [unit.times[0], 0.0]
        assert runs == []
        await made.close()

    asyncio.run(main())
