"""The thread lane: `def` handlers on processors, threads that steal work from each other.

Owned by the worker of a consumer. Units come in through one queue that all processors take from; each takes some
for itself, and an idle processor takes over what waits behind a busy one. A thread cannot be ended: one that outlives
its time-out keeps its place until it ends.
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
from leasekeeper.lanes.switching import SWITCH_INTERVAL
from leasekeeper.outcomes import FREED, NOT_STARTED, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.lanes.api import UnitHandler
    from leasekeeper.lanes.mailbox import Mailbox
    from leasekeeper.options import Options


LOOK_BEHIND = 4
"""Every so many visits to the queue a processor first looks for what stands behind the others."""
QUICK = 0.00005
"""Seconds: while handlers take less, one thread does more alone than several that hand the GIL to and fro. Nothing that
waits for a network takes so little, so that handlers which wait have threads to overlap in."""
JOIN = 0.1
"""The most seconds that a close blocks the loop, so that threads which have ended are gone when it returns."""
STUCK = 0.002
"""Seconds after which another thread is woken in any case, if none has taken anything in between."""


class Processor(Generic[U]):
    """One thread: what waits behind it, and what it is at work on. Only `ThreadLane` makes and moves it."""

    __slots__ = ("behind", "current", "ended", "given_up", "thread", "visits")

    def __init__(self) -> None:
        self.behind: deque[U] = deque()
        """Its own units: it takes from the left, thieves from the right."""
        self.current: U | None = None
        self.given_up: U | None = None
        """The unit whose time ran out here, answered already."""
        self.thread: threading.Thread | None = None
        self.ended = False
        """Whether its thread takes no more work and is about to end."""
        self.visits = 0
        """How often it has come for more work than stood behind it."""


class ThreadLane(Generic[U]):
    """Runs a plain function in up to `threads` threads, started as they are needed."""

    def __init__(
        self,
        handler: UnitHandler[U],
        options: Options,
        *,
        answers: Mailbox[Answer[U]],
        clock: Callable[[], float],
        timer: asyncio.AbstractEventLoop | None = None,
    ) -> None:
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
        # Guards hiring, parking and closing. Taking work needs no lock: a deque's ends are atomic.
        self._parking = threading.Condition()
        self._idle = 0
        self._closing = False
        self._left: Callable[[], None] = _nothing
        """Called by each thread when it ends."""
        self._switch_interval = options.switch_interval
        self._holds_interval = False
        self._watch: asyncio.TimerHandle | None = None
        self._lookout: asyncio.TimerHandle | None = None
        self._pace = math.inf
        """Seconds that the handler took which ended last."""
        self._taken = 0
        """Units taken so far, as nearly as threads count that do not wait for each other."""

    def submit(self, units: Sequence[U]) -> bool:
        """Let processors run the handler for each.

        Raises:
            RuntimeError: not one thread can be started; what waits is answered `NotStarted`.
        """
        self._queue.extend(units)
        if self._pace >= QUICK or self._all_busy():
            try:
                self._summon()
            except RuntimeError:
                self.recall()  # kept, they would be invisible with nobody to work on them
                raise
        if self._timeout is not None and self._watch is None:
            self._check_timeouts(self._timeout)
        if self._lookout is None:
            self._check_stuck()
        return True

    def _check_stuck(self, taken: int = -1) -> None:
        """Wake another processor if nothing has been taken since the last look: whoever is awake may be stuck."""
        loop = self._timer or asyncio.get_running_loop()
        self._lookout = None
        if self._has_waiting() and self._may_summon() and not self._closing:
            if self._taken == taken:
                with suppress(RuntimeError):  # no more threads are to be had: those there are do the work
                    self._summon()
            self._lookout = loop.call_later(STUCK, self._check_stuck, self._taken)

    def _all_busy(self) -> bool:
        """Whether no thread is about to take what was submitted: all are parked, or at work for a while already."""
        now = self._clock()
        with self._parking:  # whoever is about to park has either seen what is in the queue, or is counted here
            busy = [current for each in self._processors if (current := each.current) is not None]
            return self._idle + sum(now - each.started >= QUICK for each in busy) >= len(self._processors)

    def _has_waiting(self) -> bool:
        """Whether something waits for a thread."""
        return bool(self._queue) or any(each.behind for each in self._processors)

    def _summon(self) -> None:
        """Wake an idle processor, or start one; while handlers take their time, it wakes the next if there is more."""
        with self._parking:
            if self._idle:
                self._parking.notify()
            elif len(self._processors) < self._maximum and not self._closing:
                self._hire()

    def _hire(self) -> None:
        processor: Processor[U] = Processor()
        # A daemon: a handler that never returns must not keep the process from ending.
        processor.thread = threading.Thread(
            target=self._process, args=(processor,), name=f"leasekeeper-{self._handler.name}", daemon=True
        )
        self._processors.append(processor)
        if len(self._processors) > 1 and not self._holds_interval:
            self._holds_interval = True
            SWITCH_INTERVAL.hold(self._switch_interval)
        try:
            processor.thread.start()
        except RuntimeError:  # the system has no more threads: those there are do the work
            self._processors.remove(processor)
            if not self._processors:
                raise

    def _process(self, me: Processor[U]) -> None:
        while (unit := self._next(me)) is not None:
            if unit.lost:
                self._answers.post((Answer(unit, NOT_STARTED),))
                continue
            self._taken += 1
            if (me.behind or (self._queue and self._pace >= QUICK)) and self._may_summon():
                self._summon()
            unit.started = self._clock()  # before `current`: the watch reads it of whatever is current
            me.current = unit
            outcome = self._run(unit)
            self._pace = self._clock() - unit.started
            if self._timeout is None:
                me.current = None
            elif self._given_up(me, unit):
                outcome = FREED
            self._answers.post((Answer(unit, outcome),))
        me.ended = True
        self._left()

    def _may_summon(self) -> bool:
        return bool(self._idle) or len(self._processors) < self._maximum

    def _given_up(self, me: Processor[U], unit: U) -> bool:
        """Whether the watch has given up what just ended; under the lock, for it may be about to."""
        with self._parking:
            me.current = None
            given_up, me.given_up = me.given_up is unit, None
        return given_up

    def _next(self, me: Processor[U]) -> U | None:
        while True:
            unit = self._take(me)
            if unit is not None:
                return unit
            with self._parking:
                # Looked at again under the lock: who adds work looks under it for somebody awake, so nothing slips in
                # between; and should something stand with a thread that has not yet put it behind itself, it summons.
                if not self._has_waiting():
                    if self._closing:
                        return None
                    self._idle += 1
                    self._parking.wait()
                    self._idle -= 1

    def _take(self, me: Processor[U]) -> U | None:
        """The next unit: mine, from the queue (with a share for myself), or from behind another."""
        if (mine := _pop(me.behind)) is not None:
            return mine
        me.visits += 1
        # While the queue never runs dry nobody is idle, and still nothing may stand behind a slow handler for long.
        if me.visits % LOOK_BEHIND == 0 and (stolen := self._steal(me)) is not None:
            return stolen
        first = _pop(self._queue)
        if first is None:
            return self._steal(me)
        share = min(self._depth, len(self._queue) // self._maximum) if self._pace >= QUICK else 0
        while share and (another := _pop(self._queue)) is not None:
            me.behind.append(another)
            share -= 1
        return first

    def _steal(self, me: Processor[U]) -> U | None:
        for victim in self._processors:
            if victim is not me and (stolen := _pop(victim.behind, last=True)) is not None:
                return stolen
        return None

    def _check_timeouts(self, timeout: float) -> None:
        """Give up, from time to time, what has run for too long."""
        loop = self._timer or asyncio.get_running_loop()
        self._watch = None
        now = self._clock()
        with self._parking:
            for each in self._processors:
                late = each.current
                if late is not None and each.given_up is None and now - late.started >= timeout:
                    each.given_up = late
                    # Said under the lock: the thread may end at any moment, and what it says then comes after this.
                    error = HandlerTimeout(self._handler.timed_out(timeout))
                    self._answers.post((Answer(late, Failed(error, still_running=True)),))
            # Whoever is not parked may be about to start something, even if nothing is to be seen of it yet.
            busy = bool(self._queue) or self._idle < len(self._processors)
        if busy and not self._closing:
            self._watch = loop.call_later(min(max(timeout / 4, 0.01), 1.0), self._check_timeouts, timeout)

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        recalled: list[Answer[U]] = []
        for waiting in (self._queue, *(each.behind for each in self._processors)):
            try:
                while True:
                    recalled.append(Answer(waiting.pop(), NOT_STARTED))
            except IndexError:
                pass
        if recalled:
            self._answers.post(recalled)

    def end(self, unit: U | None = None) -> bool:  # noqa: ARG002 - the seam's
        """False: a thread cannot be ended."""
        return False

    async def close(self) -> None:
        """Let the threads end; wait at most a second for idle ones. A handler that never returns keeps its thread."""
        loop, left = asyncio.get_running_loop(), asyncio.Event()
        with self._parking:
            self._closing = True
            # Not `Thread.join` in the loop's default executor, which takes no more work once the main thread has ended.
            self._left = partial(_tell, loop, left)
            self._parking.notify_all()
            if self._holds_interval:
                self._holds_interval = False
                SWITCH_INTERVAL.release(self._switch_interval)
        for timer in (self._watch, self._lookout):
            if timer is not None:
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


def _nothing() -> None:
    """For a lane that is not closing."""


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed: it waits no more
        loop.call_soon_threadsafe(event.set)


def _pop(waiting: deque[U], *, last: bool = False) -> U | None:
    """Take the first or the last out; None when there is none, or another thread was quicker."""
    if not waiting:  # an exception takes ten times as long as a look
        return None
    try:
        return waiting.pop() if last else waiting.popleft()
    except IndexError:
        return None
