"""A task for each message, behind a semaphore: the default of coroutine handlers.

Owned by the coroutine lane, used on the application's loop only; `leasekeeper.lanes.dispatch` has the promises.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic

from leasekeeper.core.semaphore import WeightedSemaphore
from leasekeeper.lanes.api import LaneStatistics, U
from leasekeeper.lanes.dispatch import is_unstarted, new_task
from leasekeeper.lanes.loop_end import LoopEndWatch
from leasekeeper.outcomes import ENDED, NOT_STARTED, Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.lanes.dispatch import Clock, Reply, Run
    from leasekeeper.outcomes import Outcome


class SemaphoreDispatch(Generic[U]):
    """One task for each unit, behind a weighted semaphore; each handler has its own context."""

    def __init__(self, run: Run[U], reply: Reply[U], clock: Clock, *, concurrency: int) -> None:
        self._run = run
        self._reply = reply
        self._clock = clock
        self._context = copy_context()
        self._semaphore = WeightedSemaphore(concurrency)
        self._waiting: deque[U] = deque()
        self._tasks: dict[U, asyncio.Task[None]] = {}
        self._ending: set[U] = set()
        self._freed = 0
        """Permits that came free in this turn of the loop, and go to waiting units in the next."""
        self._watch: LoopEndWatch | None = None
        self.down = False

    def submit(self, units: Sequence[U]) -> None:
        """Run as many now as there are permits left."""
        if self._watch is None and not self.down:
            self._watch = LoopEndWatch(asyncio.get_running_loop(), self._go_down)
        permits = 0 if self.down else self._semaphore.acquire_up_to(len(units))
        self._waiting.extend(units[permits:])
        self._start(units[:permits])
        if self.down:
            self.recall()

    def _start(self, units: Sequence[U]) -> None:
        """Start a task for each, for which a permit has been taken."""
        tasks, loop = self._tasks, asyncio.get_running_loop()
        for unit in units:
            tasks[unit] = new_task(self._work(unit), self._context, loop)

    async def _work(self, unit: U) -> None:
        outcome: Outcome = NOT_STARTED
        try:
            unit.started = self._clock()  # before the look, as `Unit.lost` has it
            if unit.lost:
                unit.started = 0.0
            else:
                outcome = await self._run(unit)
        except asyncio.CancelledError as error:  # a handler may also raise it by itself
            outcome = ENDED if unit in self._ending else Failed(error)
        del self._tasks[unit]
        self._reply(unit, outcome)
        if self._ending:
            self._ending.discard(unit)
        if self._waiting and self._semaphore.available >= 0:
            # Here and not in `_follow`, so that the next one starts a turn of the loop earlier.
            following = self._waiting.popleft()
            self._tasks[following] = new_task(self._work(following), self._context, asyncio.get_running_loop())
            return
        self._freed += 1
        if self._freed == 1:
            asyncio.get_running_loop().call_soon(self._follow)

    def _follow(self) -> None:
        """Hand the permits that came free to the units that wait longest."""
        freed, self._freed = self._freed, 0
        most = freed + min(0, self._semaphore.available)  # after `resize` to fewer, the first that come free are gone
        following = [self._waiting.popleft() for _ in range(max(0, min(most, len(self._waiting))))]
        self._semaphore.release(freed - len(following))
        if following:
            self._start(following)

    def resize(self, concurrency: int) -> None:
        """Let more run at the same time, or fewer."""
        self._semaphore.resize(concurrency)
        self._start([self._waiting.popleft() for _ in range(self._semaphore.acquire_up_to(len(self._waiting)))])

    def _go_down(self) -> None:
        """The loop is ending: it waits for the tasks that it has cancelled, and runs none that is made from now on."""
        self.down = True
        self.recall()
        for unit, task in list(self._tasks.items()):
            if is_unstarted(task):
                self._call_off(unit, task)
        self._ending.update(self._tasks)

    def _call_off(self, unit: U, task: asyncio.Task[None]) -> None:
        """Answer for a task that has not begun: cancelled, it ends without running one line."""
        del self._tasks[unit]
        task.cancel()
        self._reply(unit, NOT_STARTED)
        self._freed += 1
        self._follow()

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        while self._waiting:
            self._reply(self._waiting.popleft(), NOT_STARTED)

    def end(self, unit: U | None) -> None:
        """Cancel the handler of that unit, or of all."""
        for each in [unit] if unit is not None else list(self._tasks):
            task = self._tasks.get(each)
            if task is not None and (is_unstarted(task) or task.done()):  # done and still here: it never ran
                self._call_off(each, task)
            elif task is not None:
                self._ending.add(each)
                task.cancel()

    def dismiss(self) -> None:
        """Nothing is idle here but the watch; a submit starts it again."""
        if self._watch is not None:
            self._watch.dismiss()
            self._watch = None

    def abandon(self) -> tuple[list[U], list[U]]:
        """Forget what waits and what runs, and return both."""
        waiting, running = list(self._waiting), list(self._tasks)
        self._waiting.clear()
        self._tasks.clear()
        return waiting, running

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        tasks = list(self._tasks)
        running = sum(unit.started > 0.0 for unit in tasks)
        return LaneStatistics(running=running, waiting=len(self._waiting) + len(tasks) - running, workers=len(tasks))
