"""The thread lane, with real threads and events: stealing, hiring, time-outs, recall, and a close that ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.errors import HandlerTimeout
from leasekeeper.lanes import threads
from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.lanes.threads import ThreadLane
from leasekeeper.options import Options
from leasekeeper.outcomes import DONE, FREED, NOT_STARTED, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answer
    from leasekeeper.outcomes import Outcome

PATIENCE = 10.0


class Scene:
    """A lane of threads, gates that handlers wait at, and all that the lane has said."""

    def __init__(self, *, threads: int = 2, clock: Callable[[], float] = time.monotonic, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        self.gates: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = {}
        self.answers: list[tuple[str, Outcome]] = []
        self._came = asyncio.Event()
        self.ran_in: dict[str, str] = {}
        self.on_work: Callable[[str], None] = lambda _body: None
        self.lane = ThreadLane(
            Handler(self.work, queue="q"),
            Options(threads=threads, concurrency=1, **options),
            answers=Mailbox(loop, self._receive),
            clock=clock,
            timer=loop,
        )

    def work(self, body: str) -> None:
        self.ran_in[body] = threading.current_thread().name + str(threading.get_ident())
        self.begun.setdefault(body, threading.Event()).set()
        self.on_work(body)
        gate = self.gates.get(body)
        if gate is not None:
            assert gate.wait(PATIENCE)

    def _receive(self, answers: list[Answer[Delivery]]) -> None:
        self.answers += [(answer.unit.received.body, answer.outcome) for answer in answers]
        self._came.set()

    def submit(self, deliver: Callable[..., Delivery], bodies: Sequence[str], *, gated: Sequence[str] = ()) -> None:
        for each in gated:
            self.gates[each] = threading.Event()
        for each in bodies:
            self.begun.setdefault(each, threading.Event())
        self.lane.submit([deliver(each) for each in bodies])

    async def has_begun(self, *bodies: str) -> None:
        for each in bodies:
            assert await asyncio.to_thread(self.begun[each].wait, PATIENCE)

    async def answered(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.answers) < count:
                self._came.clear()
                await self._came.wait()

    @property
    def numbers(self) -> tuple[int, int, int]:
        now = self.lane.statistics()
        return now.running, now.waiting, now.workers

    async def close(self) -> None:
        for gate in self.gates.values():
            gate.set()
        await self.lane.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does without saying so: parking, taking."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


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


# Time-outs


class Clock:
    """A clock that stands until it is set; the lane's timer still runs."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_thread_that_runs_too_long_is_given_up_and_keeps_its_place(deliver: Callable[..., Delivery]) -> None:
    """L30: answered at its time-out, and `Freed` when it has ended after all."""

    async def main() -> None:
        clock = Clock()
        scene = Scene(threads=1, clock=clock, handler_timeout=0.02)
        scene.submit(deliver, "ab", gated="a")
        await scene.has_begun("a")
        clock.now += 1
        await scene.answered(1)
        body, outcome = scene.answers[0]
        assert body == "a"
        assert isinstance(outcome, Failed)
        assert outcome.still_running
        assert isinstance(outcome.error, HandlerTimeout)
        assert str(outcome.error).startswith("handler Scene.work ran longer than handler_timeout=0.02 s; its message")
        assert scene.numbers == (1, 1, 1), "its place is taken"
        scene.gates["a"].set()
        await scene.answered(3)
        assert scene.answers[1:] == [("a", FREED), ("b", DONE)]
        await scene.close()

    asyncio.run(main())


def test_a_thread_in_time_is_not_given_up(deliver: Callable[..., Delivery]) -> None:
    """The time of the one before does not count."""

    async def main() -> None:
        clock = Clock()
        scene = Scene(threads=1, clock=clock, handler_timeout=0.02)
        for each in "abcd":
            scene.submit(deliver, each, gated=each)
            await scene.has_begun(each)
            clock.now += 0.015
            scene.gates[each].set()
            await scene.answered(len(scene.answers) + 1)
        assert scene.answers == [(each, DONE) for each in "abcd"]
        await scene.close()

    asyncio.run(main())


def test_what_was_given_up_is_given_up_once(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        clock = Clock()
        scene = Scene(threads=2, clock=clock, handler_timeout=0.02)
        scene.submit(deliver, "a", gated="a")
        await scene.has_begun("a")
        clock.now += 1
        await scene.answered(1)
        scene.submit(deliver, "b", gated="b")
        await scene.has_begun("b")
        clock.now += 1
        await scene.answered(2)
        assert [body for body, _ in scene.answers] == ["a", "b"]
        await scene.close()
        await scene.answered(4)
        assert sorted(scene.answers[2:]) == [("a", FREED), ("b", FREED)]

    asyncio.run(main())


def test_the_watch_is_kept_while_a_processor_is_between_two_messages(deliver: Callable[..., Delivery]) -> None:
    """A delivery taken off the queue and not yet begun is seen nowhere; the watch must not end because of that."""

    async def main() -> None:
        taken, begin = threading.Event(), threading.Event()

        def clock() -> float:
            if threading.current_thread() is not threading.main_thread():
                taken.set()  # `started` is being noted: only the thread itself has the delivery
                assert begin.wait(PATIENCE)
            return now

        now = 100.0
        scene = Scene(threads=1, clock=clock, handler_timeout=0.02)
        scene.submit(deliver, "a", gated="a")
        await asyncio.to_thread(taken.wait, PATIENCE)
        scene.lane._check_timeouts(0.02)
        assert scene.lane._watch is not None
        begin.set()
        await scene.has_begun("a")
        now += 1
        await scene.answered(1)
        assert isinstance(scene.answers[0][1], Failed)
        await scene.close()
        await scene.answered(2)

    asyncio.run(main())


def test_the_watch_ends_when_nothing_is_left_to_watch(deliver: Callable[..., Delivery]) -> None:
    """An idle consumer wakes up for nothing."""

    async def main() -> None:
        scene = Scene(threads=1, handler_timeout=0.02)
        for each in "ab":
            scene.submit(deliver, each, gated=each)
            assert scene.lane._watch is not None
            scene.gates[each].set()
            await until(lambda: scene.lane._watch is None)
        assert scene.answers == [("a", DONE), ("b", DONE)]
        await scene.close()

    asyncio.run(main())


def test_without_a_time_out_nothing_is_watched(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene()
        scene.submit(deliver, "a")
        assert scene.lane._watch is None
        await scene.answered(1)
        await scene.close()

    asyncio.run(main())


# Close


def test_close_ends_the_threads(deliver: Callable[..., Delivery]) -> None:
    async def main() -> None:
        scene = Scene(threads=4)
        scene.submit(deliver, "abcdefgh")
        await scene.answered(8)
        threads = [each.thread for each in scene.lane._processors]
        await scene.close()
        await scene.close()  # twice is once
        assert not any(each is not None and each.is_alive() for each in threads)

    asyncio.run(main())


def test_close_works_after_the_end_of_the_main_thread() -> None:
    """L22: the default executor of a loop then takes no more work, so a close must not need it."""
    program = textwrap.dedent(
        """
        import asyncio, threading
        from leasekeeper.lanes.handler import Handler
        from leasekeeper.lanes.mailbox import Mailbox
        from leasekeeper.lanes.threads import ThreadLane
        from leasekeeper.options import Options
        from leasekeeper.core.ledger import Ledger
        from leasekeeper.core.delivery import LeasePolicy
        from leasekeeper.message import Received

        async def main():
            loop = asyncio.get_running_loop()
            answered = asyncio.Event()
            lane = ThreadLane(
                Handler(lambda message: None, queue="q"),
                Options(threads=2),
                answers=Mailbox(loop, lambda answers: answered.set()),
                clock=loop.time,
                timer=loop,
            )
            received = [Received(message_id="m", receipt="r", body="")]
            rows, _ = Ledger(LeasePolicy(visibility=30, beat_after=15)).receive(received, asked=0, now=0)
            lane.submit(rows)
            await answered.wait()
            while threading.main_thread().is_alive():
                await asyncio.sleep(0.001)
            await lane.close()
            print("closed", [each.thread.is_alive() for each in lane._processors])

        threading.Thread(target=lambda: asyncio.run(main())).start()
        """
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("closed [False]\n", "", 0)


def test_close_leaves_a_handler_that_never_returns_behind(deliver: Callable[..., Delivery]) -> None:
    """L22: a stop is bounded; the thread is a daemon and does not keep the process alive."""

    async def main() -> None:
        clock = Clock()
        scene = Scene(threads=2, clock=clock, handler_timeout=5.0)
        scene.submit(deliver, "ab", gated="a")
        await scene.has_begun("a")
        await scene.answered(1)
        await scene.lane.close()
        [stuck] = [each.thread for each in scene.lane._processors if each.current is not None]
        assert stuck is not None
        assert stuck.daemon
        assert stuck.is_alive()
        assert scene.lane._watch is None
        scene.gates["a"].set()
        await asyncio.to_thread(stuck.join, PATIENCE)
        assert not stuck.is_alive(), "it ends with its handler"
        await scene.answered(2)

    asyncio.run(main())


def test_a_system_without_threads_left_makes_do_with_those_there_are(
    deliver: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        scene = Scene(threads=3)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                scene.lane.submit([])
        assert scene.numbers == (0, 0, 0)
        scene.submit(deliver, "a", gated="a")
        await scene.has_begun("a")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            scene.submit(deliver, "bcd")
        assert scene.numbers == (1, 3, 1)
        scene.gates["a"].set()
        await scene.answered(4)
        await scene.close()

    asyncio.run(main())
