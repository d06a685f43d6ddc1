"""The thread lane: `def` handlers on processors, which are threads that steal work from each other.

Owned by the worker of a consumer. Units come in through one queue that all processors take from. Each takes some for
itself, and an idle processor takes over what waits behind a busy one. A thread cannot be ended: a handler that runs
longer than its time-out keeps its thread, and its place in the concurrency, until it ends.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic

from leasekeeper.errors import HandlerTimeout
from leasekeeper.lanes.api import Answer, LaneStatistics, U
from leasekeeper.lanes.failures import outcome_of_error
from leasekeeper.lanes.processor import Processor, steal, take_out
from leasekeeper.lanes.switching import SWITCH_INTERVAL
from leasekeeper.outcomes import FREED, NOT_STARTED, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.lanes.api import Answers, UnitHandler
    from leasekeeper.options import Options

LOOK_BEHIND = 4
"""At every fourth visit to the queue, a processor first looks for units that wait behind the others."""
QUICK = 0.00005
"""Seconds. While handlers take less, one thread alone does more than several that take turns with the GIL. A handler
that waits for a network takes longer, so such handlers do get several threads."""
JOIN = 0.1
"""The most seconds that a close blocks the loop, so that threads which have ended are gone when it returns."""
FEW = 4
"""Threads that keep Python's switch interval: they delay the engine by 60 ms at most, and quick handlers cost less."""
STUCK = 0.002
"""Seconds after which another thread is woken in any case, if no thread has taken a unit meanwhile."""


class ThreadLane(Generic[U]):
    """Runs a plain function in up to `threads` threads, started as they are needed."""

    def __init__(
        self,
        handler: UnitHandler[U],
        options: Options,
        *,
        answers: Answers[U],
        clock: Callable[[], float],
        timer: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.looks_before_start = True
        self._handler = handler
        self._run = partial(handler.run_blocking, answers.post_one)
        self._answers = answers
        self._clock = clock
        self._maximum = options.thread_count
        self._depth = options.thread_queue_depth
        self._timeout = options.handler_timeout
        self._timer = timer
        self._queue: deque[U] = deque()
        self._processors: list[Processor[U]] = []
        # Guards hiring, parking and closing. Taking work needs no lock: taking from either end of a deque is atomic.
        self._parking = threading.Condition()
        self._idle = 0
        self._closing = False
        self._left: Callable[[], object] = lambda: None
        """Called by each thread when it ends."""
        self._switch_interval = options.switch_interval
        self._holds_interval = False
        self._watch: asyncio.TimerHandle | None = None
        self._lookout: asyncio.TimerHandle | None = None
        self._pace = math.inf
        """Seconds that the last handler took."""
        self._taken = 0
        """Units taken so far. Threads count without a lock, so the number may be a little too small."""

    # On the engine's loop

    async def open(self) -> None:
        """Threads start when needed. A loop in virtual time is told how to look at them: their time is real."""
        if (attend := getattr(asyncio.get_running_loop(), "attend", None)) is not None:
            attend(self.at_work)

    def submit(self, units: Sequence[U]) -> bool:
        """Let processors run the handler for each; always True.

        Raises:
            RuntimeError: no thread at all can be started. What waits is answered `NotStarted`.
        """
        self._queue.extend(units)
        if self._pace >= QUICK or self._all_busy():
            try:
                self._wake_one()
            except RuntimeError:
                self.recall()  # if kept, they would stay invisible and never run
                raise
        if self._timeout is not None and self._watch is None:
            self._check_timeouts(self._timeout)
        if self._lookout is None:
            self._check_stuck()
        return True

    def _all_busy(self) -> bool:
        """Whether no thread is about to take what was submitted: all are parked, or busy for a while already."""
        now = self._clock()
        # Race: a thread may park right now. Under this lock it has either seen the queue already, or is counted idle.
        with self._parking:
            busy = [current for each in self._processors if (current := each.current) is not None]
            return self._idle + sum(now - each.started >= QUICK for each in busy) >= len(self._processors)

    def _check_stuck(self, taken: int = -1) -> None:
        """Wake another processor if no unit was taken since the last check: those awake may be in a long handler."""
        loop = self._timer or asyncio.get_running_loop()
        self._lookout = None
        if self._has_waiting() and self._may_wake() and not self._closing:
            if self._taken == taken:
                with suppress(RuntimeError):  # the system has no more threads: the existing ones do the work
                    self._wake_one()
            self._lookout = loop.call_later(STUCK, self._check_stuck, self._taken)

    def _check_timeouts(self, timeout: float) -> None:
        """Give up the units that have run for too long, and set the next check."""
        loop = self._timer or asyncio.get_running_loop()
        self._watch = None
        now = self._clock()
        with self._parking:
            for each in self._processors:
                if (late := each.current) is not None and each.given_up is None and now - late.started >= timeout:
                    each.given_up = late
                    # Race: the handler may end right now. Posted under the lock, this answer comes before `FREED`.
                    error = HandlerTimeout(self._handler.timed_out(timeout, late))
                    self._answers.post((Answer(late, Failed(error, still_running=True)),))
            # Race: a thread that is not idle may have taken a unit that is not its current one yet.
            busy = bool(self._queue) or self._idle < len(self._processors)
        if busy and not self._closing:
            self._watch = loop.call_later(min(max(timeout / 4, 0.01), 1.0), self._check_timeouts, timeout)

    def resize(self, options: Options) -> None:
        """Let more threads work, or fewer: those that are too many end when they have ended their unit."""
        with self._parking:
            self._maximum = options.thread_count
            there = sorted(self._processors, key=lambda each: each.current is None)  # those that are idle end first
            there = [each for each in there if not each.ended]
            for each in there[self._maximum :]:
                each.ended = True
            self._parking.notify_all()
        if self._has_waiting():
            with suppress(RuntimeError):  # the system has no more threads: the existing ones do the work
                self._wake_one()

    def stop_collecting(self) -> None:
        """Nothing is joined here."""

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        recalled = [
            Answer(unit, NOT_STARTED)
            for waiting in (self._queue, *(each.behind for each in self._processors))
            for unit in iter(partial(take_out, waiting, last=True), None)
        ]
        if recalled:
            self._answers.post(recalled)

    def end(self, unit: U | None = None) -> bool:  # noqa: ARG002 - the protocol's
        """False: a thread cannot be ended."""
        return False

    async def close(self) -> None:
        """Let the threads end; wait at most a second for idle ones. A handler that never returns keeps its thread."""
        loop, left = asyncio.get_running_loop(), asyncio.Event()
        with self._parking:
            self._closing = True
            # Not `Thread.join` in the loop's default executor, which takes no more work once the main thread has ended.
            self._left = partial(loop.call_soon_threadsafe, left.set)
            self._parking.notify_all()
            if self._holds_interval:
                self._holds_interval = False
                SWITCH_INTERVAL.release(self._switch_interval)
        for timer in filter(None, (self._watch, self._lookout)):
            timer.cancel()
        self._watch = self._lookout = None
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while any(each.current is None and not each.ended for each in self._processors):
                    await left.wait()
                    left.clear()
        until = time.monotonic() + JOIN
        for each in self._processors:
            if each.thread is not None and each.ended:
                each.thread.join(max(0.0, until - time.monotonic()))  # it has only to return

    # In the threads

    def _process(self, me: Processor[U]) -> None:
        try:
            while not me.ended:
                try:
                    self._run_all(me)
                    me.ended = True
                except BaseException as error:
                    self._recover(me, error)
        finally:
            me.ended = True
            self._retire(me)
            with suppress(RuntimeError):  # the loop is closed: it waits no more
                self._left()

    def _run_all(self, me: Processor[U]) -> None:
        """Run unit after unit, until the lane closes."""
        while (unit := self._next(me)) is not None:
            self._taken += 1
            if (me.behind or (self._queue and self._pace >= QUICK)) and self._may_wake():
                self._wake_one()
            unit.started = (
                self._clock()
            )  # before `lost` is read (`Unit.lost`), and before `current`: the watch reads both
            if unit.lost:
                unit.started = 0.0
                self._answers.post((Answer(unit, NOT_STARTED),))
                continue
            me.current = unit
            outcome = self._run(unit)
            self._pace = self._clock() - unit.started
            if self._timeout is None:
                me.current = None
            elif self._given_up(me, unit):
                outcome = FREED
            self._answers.post((Answer(unit, outcome),))

    def _next(self, me: Processor[U]) -> U | None:
        while not me.ended:
            unit = self._take(me)
            if unit is not None:
                return unit
            with self._parking:
                # Race: units may arrive between `_take` and here. So this looks again, under the lock under which
                # `submit` looks for idle threads: either this thread sees the units, or `submit` wakes it. A unit that
                # another thread holds and has not yet put behind itself is not missed: that thread wakes one of us.
                if not self._has_waiting():
                    if self._closing:
                        return None
                    self._idle += 1
                    try:
                        self._parking.wait()
                    finally:
                        self._idle -= 1
        return None

    def _take(self, me: Processor[U]) -> U | None:
        """The next unit: mine, from the queue (with a share for myself), or from behind another."""
        if (mine := take_out(me.behind)) is not None:
            return mine
        me.visits += 1
        # While the queue is never empty no thread is idle, and still no unit may wait for long behind a slow handler.
        if me.visits % LOOK_BEHIND == 0 and (stolen := steal(self._processors, me)) is not None:
            return stolen
        if (first := take_out(self._queue)) is None:
            return steal(self._processors, me)
        share = min(self._depth, len(self._queue) // self._maximum) if self._pace >= QUICK else 0
        while share and (another := take_out(self._queue)) is not None:
            me.behind.append(another)
            share -= 1
        return first

    def _given_up(self, me: Processor[U], unit: U) -> bool:
        """Whether the watch has given up the unit that just ended. Race: it may be about to; the lock decides."""
        with self._parking:
            me.current = None
            given_up, me.given_up = me.given_up is unit, None
        return given_up

    def _recover(self, me: Processor[U], error: BaseException) -> None:
        """Answer for the current unit, so that neither it nor this thread is lost.

        Race: time-out libraries raise errors in a thread from outside. One may arrive after its handler has ended.
        """
        if (unit := me.current) is not None:
            outcome = FREED if self._given_up(me, unit) else outcome_of_error(error)
            self._answers.post((Answer(unit, outcome),))

    def _retire(self, me: Processor[U]) -> None:
        """Leave to others what waits behind a thread that ends while the lane goes on, because there are too many."""
        with self._parking:
            if self._closing:
                return
            self._queue.extendleft(reversed(me.behind))
            me.behind.clear()
            self._processors.remove(me)
            self._parking.notify()

    # In any thread

    def follow(self, units: Sequence[U]) -> None:
        """As `submit`, in a thread of this lane that has ended a unit: it goes on with the one that waits longest."""
        self._queue.extend(units)

    def _wake_one(self) -> None:
        """Wake an idle processor, or start one. With slow handlers, it wakes the next one if more units wait."""
        with self._parking:
            if self._idle:
                self._parking.notify()
            elif len(self._processors) < self._maximum and not self._closing:
                self._hire()

    def _hire(self) -> None:
        processor: Processor[U] = Processor()
        self._processors.append(processor)
        if len(self._processors) > FEW and not self._holds_interval:
            self._holds_interval = True
            SWITCH_INTERVAL.hold(self._switch_interval)
        try:
            processor.start(self._process, f"leasekeeper-{self._handler.name}")
        except RuntimeError:  # the system has no more threads: the existing ones do the work
            self._processors.remove(processor)
            if not self._processors:
                raise

    def _has_waiting(self) -> bool:
        """Whether something waits for a thread."""
        return bool(self._queue) or any(each.behind for each in self._processors)

    def _may_wake(self) -> bool:
        return bool(self._idle) or len(self._processors) < self._maximum

    def at_work(self) -> object:
        """What threads are doing, to be compared with what they did before; None while each waits for work."""
        with self._parking:
            there = [(each, each.current) for each in self._processors if not each.ended]
            resting = self._idle == len(there) and not (self._has_waiting() or (self._closing and there))
            return None if resting else (self._idle, self._has_waiting(), self._closing, there)

    def statistics(self) -> LaneStatistics:
        """What it is doing now."""
        processors = list(self._processors)
        return LaneStatistics(
            running=sum(each.current is not None for each in processors),
            waiting=len(self._queue) + sum(len(each.behind) for each in processors),
            workers=len(processors),
        )

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<ThreadLane {now.running} running, {now.waiting} waiting, {now.workers} of {self._maximum} threads>"
