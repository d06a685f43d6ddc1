"""The thread lane: handlers that take too long, and a close that ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest
from thread_scene import PATIENCE, Clock, Scene, until

from leasekeeper.errors import HandlerTimeout
from leasekeeper.outcomes import DONE, FREED, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery


# Time-outs


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
        scene = Scene(threads=1, handler_timeout=0.25)
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
            rows, _ = Ledger(LeasePolicy(visibility=30, extend_after=15)).receive(received, requested_at=0, now=0)
            lane.submit(rows)
            await answered.wait()
            main_may_end.set()
            while threading.main_thread().is_alive():
                await asyncio.sleep(0.001)
            await lane.close()
            print("closed", [each.thread.is_alive() for each in lane._processors])

        main_may_end = threading.Event()  # some Pythons start no thread once it has ended
        threading.Thread(target=lambda: asyncio.run(main())).start()
        main_may_end.wait()
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
