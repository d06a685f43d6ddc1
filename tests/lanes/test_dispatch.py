"""The two dispatch strategies, in virtual time: concurrency, order, and one answer for every delivery."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
from collections import Counter
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.pool_dispatch import PoolDispatch
from leasekeeper.lanes.semaphore_dispatch import SemaphoreDispatch
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, Failed
from leasekeeper.testing.clock import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.dispatch import Strategy
    from leasekeeper.outcomes import Outcome

KINDS = ["semaphore", "pool"]
both = pytest.mark.parametrize("kind", KINDS)


class Scene:
    """A strategy at work, and all that it has said."""

    def __init__(self, kind: str, work: Callable[[str], Coroutine[Any, Any, Any]], concurrency: int = 3) -> None:
        loop = asyncio.get_running_loop()
        self.started: list[str] = []
        self.running = self.most = 0
        self.answers: list[tuple[str, Outcome]] = []
        self.strategy: Strategy[Delivery]

        async def handle(body: str) -> Any:
            self.started.append(body)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                return await work(body)
            finally:
                self.running -= 1

        run = partial(Handler(handle, queue="q").run, lambda _answer: True)
        if kind == "pool":
            self.strategy = PoolDispatch(
                run, self.reply, loop.time, concurrency=concurrency, waiting_room=100, idle_timeout=10.0
            )
        else:
            self.strategy = SemaphoreDispatch(run, self.reply, loop.time, concurrency=concurrency)

    def reply(self, delivery: Delivery, outcome: Outcome) -> None:
        self.answers.append((delivery.received.body, outcome))

    def submit(self, deliver: Callable[..., Delivery], *bodies: str) -> list[Delivery]:
        rows = [deliver(each) for each in bodies]
        self.strategy.submit(rows)
        return rows

    @property
    def numbers(self) -> tuple[int, int, int]:
        now = self.strategy.statistics()
        return now.running, now.waiting, now.workers


async def second(_body: str) -> None:
    await asyncio.sleep(1)


async def stubborn(body: str) -> None:
    """Goes on for a second after it has been cancelled, and returns as if nothing had been."""
    try:
        await asyncio.sleep(60 if body == "stubborn" else 1)
    except asyncio.CancelledError:
        await asyncio.sleep(1)


async def awaits_a_cancelled_task(_body: str) -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


def handler_tasks() -> set[asyncio.Task[Any]]:
    """The tasks that handlers run in, or would; not the one that only watches for the loop's end."""
    return {task for task in asyncio.all_tasks() if task.get_name() == "leasekeeper-handler"}


# Work


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
        assert [row.started for row in rows] == [0.0] * 3 + [1.0] * 3 + [2.0]
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


# The loop goes down


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
    """L23: the one that follows has been made by then, and begun, so that its cancelling answers for all."""
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


# Workers


def test_workers_are_hired_with_the_load_and_let_go_one_by_one(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene("pool", second, concurrency=4)
        scene.submit(deliver, "a")
        assert scene.numbers == (1, 0, 1)
        await asyncio.sleep(2)
        scene.submit(deliver, "b")
        assert scene.numbers == (1, 0, 1), "the idle one is used"
        scene.submit(deliver, *"cdefg")
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
