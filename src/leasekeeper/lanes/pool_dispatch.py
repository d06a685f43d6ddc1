"""A pool of workers for coroutine handlers, hired and let go with the load.

Owned by the coroutine lane, used on the application's loop only; `leasekeeper.lanes.dispatch` has the promises.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic

from leasekeeper.core.pool import Pool
from leasekeeper.lanes.api import LaneStatistics, U
from leasekeeper.lanes.dispatch import is_unstarted, new_task, take_back_cancellations
from leasekeeper.lanes.loop_end import LoopEndWatch
from leasekeeper.outcomes import ENDED, NOT_STARTED, Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.lanes.dispatch import Clock, Reply, Run
    from leasekeeper.outcomes import Outcome


class PoolDispatch(Generic[U]):
    """Workers that are kept and reused: hired up to the concurrency, let go one by one when idle.

    What a worker costs to make (a connection that its context holds, say) is paid once, not at each message. Handlers
    of one worker share a context, so a context variable that a handler sets is seen by the next.
    """

    def __init__(
        self, run: Run[U], reply: Reply[U], clock: Clock, *, concurrency: int, waiting_room: int, idle_timeout: float
    ) -> None:
        self._run = run
        self._reply = reply
        self._clock = clock
        self._context = copy_context()
        self._pool: Pool[U] = Pool(maximum=concurrency, waiting_room=waiting_room, idle_timeout=idle_timeout)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._idle: dict[int, asyncio.Future[U | None]] = {}
        self._at_work: dict[U, int] = {}
        self._ending: set[U] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._watch: LoopEndWatch | None = None
        self.down = False

    def submit(self, units: Sequence[U]) -> None:
        """Give each to an idle worker, to a new one, or to the waiting room."""
        if self.down:
            for unit in units:
                self._reply(unit, NOT_STARTED)
            return
        if self._watch is None:
            self._watch = LoopEndWatch(asyncio.get_running_loop(), self._go_down)
        now = self._clock()
        for unit in units:
            assignment = self._pool.submit(unit, now)
            if assignment is not None:
                self._give(assignment.worker, unit)

    def _give(self, worker: int, unit: U) -> None:
        self._at_work[unit] = worker
        idle = self._idle.pop(worker, None)
        if idle is None or idle.cancelled():  # hired just now, or its task was cancelled: a new task
            self._tasks[worker] = new_task(self._work(worker, unit), self._context, asyncio.get_running_loop())
        else:
            idle.set_result(unit)

    async def _work(self, worker: int, unit: U | None) -> None:
        task = self._tasks[worker]
        try:
            while unit is not None:
                self._reply(unit, await self._serve(unit))
                del self._at_work[unit]
                if unit in self._ending:
                    self._ending.discard(unit)
                    take_back_cancellations(task)
                if task.cancelling():
                    self._replace(worker)
                    return
                unit = self._pool.finished(worker, self._clock())
                if unit is None and self.down:
                    return  # the loop waits for this task before it ends
                if unit is None:
                    unit = await self._wait(worker, task)
                else:
                    self._at_work[unit] = worker
        finally:
            if self._tasks.get(worker) is task:
                del self._tasks[worker]

    async def _serve(self, unit: U) -> Outcome:
        unit.started = self._clock()  # before the look, as `Unit.lost` has it
        if unit.lost or unit in self._ending:
            unit.started = 0.0
            return NOT_STARTED
        try:
            return await self._run(unit)
        except asyncio.CancelledError as error:  # a handler may also raise it by itself
            return ENDED if unit in self._ending else Failed(error)

    def _replace(self, worker: int) -> None:
        """A task that was cancelled from outside ends with its handler; what waits for its worker gets a new task.

        A cancellation that the handler asked for in its last step is still to come, so this task cannot go on.
        """
        del self._tasks[worker]
        following = self._pool.finished(worker, self._clock())
        if following is not None:
            self._give(worker, following)

    def _go_down(self) -> None:
        """The loop is ending: it waits for the tasks that it has cancelled, and runs none that is made from now on."""
        self.down = True
        self.recall()
        for unit, worker in list(self._at_work.items()):
            if is_unstarted(self._tasks[worker]):
                self._call_off(unit, worker)
        self._ending.update(self._at_work)

    def _call_off(self, unit: U, worker: int) -> None:
        """Answer for a worker that has not begun: cancelled, it ends without running one line."""
        self._tasks.pop(worker).cancel()
        del self._at_work[unit]
        self._reply(unit, NOT_STARTED)
        following = self._pool.finished(worker, self._clock())
        if following is not None:
            self._give(worker, following)

    async def _wait(self, worker: int, task: asyncio.Task[None]) -> U | None:
        future: asyncio.Future[U | None] = asyncio.get_running_loop().create_future()
        self._idle[worker] = future
        self._schedule()
        try:
            return await future
        except asyncio.CancelledError:
            if self._idle.get(worker) is future:
                del self._idle[worker]
            if future.cancelled():
                raise
            # Race: it was given a unit and cancelled in one turn of the loop. The unit still needs its answer.
            take_back_cancellations(task)
            return future.result()

    def _schedule(self) -> None:
        if self._timer is None and self._idle:
            delay = max(0.0, self._pool.next_let_go() - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._let_go)

    def _let_go(self) -> None:
        self._timer = None
        worker = self._pool.let_go(self._clock())
        if worker is not None and worker in self._idle:
            self._idle.pop(worker).set_result(None)
        self._schedule()

    def resize(self, concurrency: int) -> None:
        """Let more run at the same time, or fewer."""
        for unit, assignment in self._pool.resize(self._clock(), maximum=concurrency):
            self._give(assignment.worker, unit)
        if self._timer is not None:  # idle workers that are too many go at once
            self._timer.cancel()
            self._timer = None
        self._schedule()

    def recall(self) -> None:
        """Answer `NotStarted` for everything in the waiting room."""
        for unit in self._pool.recall():
            self._reply(unit, NOT_STARTED)

    def end(self, unit: U | None) -> None:
        """Cancel the handler of that unit, or of all; the worker stays."""
        for each in [unit] if unit is not None else list(self._at_work):
            worker = self._at_work.get(each)
            if worker is None:
                continue
            task = self._tasks[worker]
            if is_unstarted(task) or task.done():  # done and its unit still here: it never ran
                self._call_off(each, worker)
            else:
                self._ending.add(each)
                task.cancel()

    def dismiss(self) -> None:
        """Let all idle workers go at once."""
        if self._watch is not None:
            self._watch.dismiss()
            self._watch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for future in self._idle.values():
            if not future.done():
                future.set_result(None)
        self._idle.clear()

    def abandon(self) -> tuple[list[U], list[U]]:
        """Forget what waits and what runs, and return both."""
        waiting, running = list(self._pool.recall()), list(self._at_work)
        self._at_work.clear()
        self._tasks.clear()
        return waiting, running

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        at_work = list(self._at_work)
        running = sum(unit.started > 0.0 for unit in at_work)
        waiting = self._pool.waiting + len(at_work) - running
        return LaneStatistics(running=running, waiting=waiting, workers=len(self._tasks))
