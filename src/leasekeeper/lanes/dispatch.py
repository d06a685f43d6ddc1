"""The two dispatch strategies of coroutine handlers: a task for each message behind a semaphore, or a pool of workers.

Owned by the coroutine lane, used on the application's loop only. Both keep the concurrency, let the rest wait in order,
and answer every unit exactly once.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, Protocol

from leasekeeper.core.pool import Pool
from leasekeeper.core.semaphore import WeightedSemaphore
from leasekeeper.lanes.api import LaneStatistics, U, U_contra
from leasekeeper.outcomes import ENDED, NOT_STARTED, Failed, Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextvars import Context

    Clock = Callable[[], float]


Run = Callable[[U], "Coroutine[None, None, Outcome]"]
Reply = Callable[[U, Outcome], None]


class Strategy(Protocol[U_contra]):
    """Who runs a unit, and when."""

    def submit(self, units: Sequence[U_contra]) -> None:
        """Run each now, or let it wait."""
        ...

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        ...

    def end(self, unit: U_contra | None) -> None:
        """Cancel the handler of that unit, or of all."""
        ...

    def dismiss(self) -> None:
        """Let idle workers go."""
        ...

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        ...


class SemaphoreDispatch(Generic[U]):
    """One task a message, behind a weighted semaphore; each handler has a context of its own."""

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
        """Permits that came free in this turn of the loop, and go to others in the next."""

    def submit(self, units: Sequence[U]) -> None:
        """Run as many now as there are permits left."""
        permits = self._semaphore.acquire_up_to(len(units))
        self._waiting.extend(units[permits:])
        self._start(units[:permits])

    def _start(self, units: Sequence[U]) -> None:
        """Start a task for each, for which a permit has been taken."""
        tasks, loop = self._tasks, asyncio.get_running_loop()
        for unit in units:
            tasks[unit] = _new_task(self._work(unit), self._context, loop)

    async def _work(self, unit: U) -> None:
        outcome: Outcome = NOT_STARTED
        try:
            if not unit.lost:
                unit.started = self._clock()
                outcome = await self._run(unit)
        except asyncio.CancelledError as error:  # a handler may raise it by itself, too
            outcome = ENDED if unit in self._ending else Failed(error)
        task = self._tasks.pop(unit)
        self._reply(unit, outcome)
        if unit in self._ending:
            self._ending.discard(unit)
        elif task.cancelling():
            self._go_down()
        self._freed += 1
        if not self._tasks:
            self._follow()  # at once: should the loop be going down, nobody else is left to see it
        elif self._freed == 1:
            asyncio.get_running_loop().call_soon(self._follow)

    def _follow(self) -> None:
        """Hand the permits that came free to those who wait longest."""
        freed, self._freed = self._freed, 0
        following = [self._waiting.popleft() for _ in range(min(freed, len(self._waiting)))]
        self._semaphore.release(freed - len(following))
        self._start(following)

    def _go_down(self) -> None:
        """Somebody else cancelled a task, as a loop that is going down does: start nothing any more."""
        self.recall()
        for unit, task in list(self._tasks.items()):
            if _unstarted(task):
                self._call_off(unit, task)

    def _call_off(self, unit: U, task: asyncio.Task[None]) -> None:
        """Answer for a task that has not begun: cancelled, it would end without having run one line."""
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
            if task is not None and _unstarted(task):
                self._call_off(each, task)
            elif task is not None:
                self._ending.add(each)
                task.cancel()

    def dismiss(self) -> None:
        """There is nobody idle: tasks end with their message."""

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        return LaneStatistics(running=len(self._tasks), waiting=len(self._waiting), workers=len(self._tasks))


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

    def submit(self, units: Sequence[U]) -> None:
        """Give each to an idle worker, to a new one, or to the waiting room."""
        now = self._clock()
        for unit in units:
            assignment = self._pool.submit(unit, now)
            if assignment is not None:
                self._give(assignment.worker, unit)

    def _give(self, worker: int, unit: U) -> None:
        self._at_work[unit] = worker
        idle = self._idle.pop(worker, None)
        if idle is None:  # newly hired, or its task has been cancelled by somebody else
            self._tasks[worker] = _new_task(self._work(worker, unit), self._context, asyncio.get_running_loop())
        elif not idle.cancelled():
            idle.set_result(unit)
        else:  # it is being cancelled in this very turn
            del self._at_work[unit]
            self._reply(unit, NOT_STARTED)
            self._pool.finished(worker, self._clock())

    async def _work(self, worker: int, unit: U | None) -> None:
        task = self._tasks[worker]
        try:
            while unit is not None:
                self._reply(unit, await self._serve(task, unit))
                del self._at_work[unit]
                if unit in self._ending:
                    self._ending.discard(unit)
                    for _ in range(task.cancelling()):
                        task.uncancel()
                elif task.cancelling():
                    self._go_down(worker)
                    return
                unit = self._pool.finished(worker, self._clock())
                if unit is None:
                    unit = await self._wait(worker)
                else:
                    self._at_work[unit] = worker
        finally:
            del self._tasks[worker]

    async def _serve(self, task: asyncio.Task[None], unit: U) -> Outcome:
        if unit.lost or task.cancelling():
            return NOT_STARTED
        try:
            unit.started = self._clock()
            return await self._run(unit)
        except asyncio.CancelledError as error:  # a handler may raise it by itself, too
            return ENDED if unit in self._ending else Failed(error)

    def _go_down(self, worker: int) -> None:
        """Somebody else cancelled a worker, as a loop that is going down does: it ends, and nothing follows.

        To the pool it is idle; should there be work for it after all, it is started anew.
        """
        self.recall()
        self._pool.finished(worker, self._clock())
        for unit, other in list(self._at_work.items()):
            if _unstarted(self._tasks[other]):
                self._call_off(unit, other)

    def _call_off(self, unit: U, worker: int) -> None:
        """Answer for a worker that has not begun: cancelled, it would end without having run one line."""
        self._tasks.pop(worker).cancel()
        del self._at_work[unit]
        self._reply(unit, NOT_STARTED)
        following = self._pool.finished(worker, self._clock())
        if following is not None:
            self._give(worker, following)

    async def _wait(self, worker: int) -> U | None:
        future: asyncio.Future[U | None] = asyncio.get_running_loop().create_future()
        self._idle[worker] = future
        self._schedule()
        try:
            return await future
        except asyncio.CancelledError:
            self._idle.pop(worker, None)
            if future.cancelled():
                raise
            return future.result()  # given something and cancelled in one turn: it is answered for first

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

    def recall(self) -> None:
        """Answer `NotStarted` for everything in the waiting room."""
        for unit in self._pool.recall():
            self._reply(unit, NOT_STARTED)

    def end(self, unit: U | None) -> None:
        """Cancel the handler of that unit, or of all; the worker stays."""
        for each in [unit] if unit is not None else list(self._at_work):
            worker = self._at_work.get(each)
            if worker is not None and _unstarted(self._tasks[worker]):
                self._call_off(each, worker)
            elif worker is not None:
                self._ending.add(each)
                self._tasks[worker].cancel()

    def dismiss(self) -> None:
        """Let all idle workers go at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for future in self._idle.values():
            if not future.done():
                future.set_result(None)
        self._idle.clear()

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        return LaneStatistics(running=len(self._at_work), waiting=self._pool.waiting, workers=len(self._tasks))


def _new_task(
    work: Coroutine[None, None, None], context: Context, loop: asyncio.AbstractEventLoop
) -> asyncio.Task[None]:
    """A task in a fresh copy of `context`, not in that of the handler whose end lets this one begin.

    Never an eager task: with such a factory on the application's loop it would run before it is noted down. All have
    one name: to number them, as asyncio does, takes a fifth of the time of making a task.
    """
    return asyncio.Task(work, loop=loop, context=context.copy(), name="leasekeeper-handler")


def _unstarted(task: asyncio.Task[None]) -> bool:
    """Whether it has been made in this very turn of the loop."""
    work = task.get_coro()
    return inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED
