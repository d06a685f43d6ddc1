"""The two dispatch strategies of coroutine handlers: a task for each message behind a semaphore, or a pool of workers.

Owned by the coroutine lane, used on the application's loop only. Both keep the concurrency, let the rest wait in order,
and answer every delivery exactly once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from penstock.core.pool import Pool
from penstock.core.semaphore import WeightedSemaphore
from penstock.lanes.api import LaneStatistics
from penstock.outcomes import ENDED, NOT_STARTED, Failed, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from penstock.core.delivery import Delivery

    Run = Callable[[Delivery], Coroutine[None, None, Outcome]]
    Reply = Callable[[Delivery, Outcome], None]
    Clock = Callable[[], float]


class Strategy(Protocol):
    """Who runs a delivery, and when."""

    def submit(self, delivery: Delivery) -> None:
        """Run it now, or let it wait."""
        ...

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        ...

    def end(self, delivery: Delivery | None) -> None:
        """Cancel the handler of that delivery, or of all."""
        ...

    def dismiss(self) -> None:
        """Let idle workers go."""
        ...

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        ...


class SemaphoreDispatch:
    """One task a message, behind a weighted semaphore; each handler has a context of its own."""

    def __init__(self, run: Run, reply: Reply, clock: Clock, *, concurrency: int) -> None:
        self._run = run
        self._reply = reply
        self._clock = clock
        self._semaphore = WeightedSemaphore(concurrency)
        self._waiting: deque[Delivery] = deque()
        self._tasks: dict[Delivery, asyncio.Task[None]] = {}
        self._ending: set[Delivery] = set()

    def submit(self, delivery: Delivery) -> None:
        """Run it now if a permit is left."""
        if self._semaphore.try_acquire():
            self._start(delivery)
        else:
            self._waiting.append(delivery)

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._work(delivery))
        self._tasks[delivery] = task

    async def _work(self, delivery: Delivery) -> None:
        try:
            delivery.started = self._clock()
            outcome = await self._run(delivery)
        except asyncio.CancelledError as error:
            outcome = ENDED if delivery in self._ending else Failed(error)
        self._ending.discard(delivery)
        del self._tasks[delivery]
        self._reply(delivery, outcome)
        self._follow()

    def _follow(self) -> None:
        """Hand the permit that came free to whoever waits longest."""
        while self._waiting:
            delivery = self._waiting.popleft()
            if not delivery.lost:
                self._start(delivery)
                return
            self._reply(delivery, NOT_STARTED)
        self._semaphore.release()

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        while self._waiting:
            self._reply(self._waiting.popleft(), NOT_STARTED)

    def end(self, delivery: Delivery | None) -> None:
        """Cancel the handler of that delivery, or of all."""
        for each in [delivery] if delivery is not None else list(self._tasks):
            task = self._tasks.get(each)
            if task is not None:
                self._ending.add(each)
                task.cancel()

    def dismiss(self) -> None:
        """There is nobody idle: tasks end with their message."""

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        return LaneStatistics(running=len(self._tasks), waiting=len(self._waiting), workers=len(self._tasks))


class PoolDispatch:
    """Workers that are kept and reused: hired up to the concurrency, let go one by one when idle.

    Cheaper a message than a task each; handlers of one worker share a context, so a context variable that a handler
    sets is seen by the next.
    """

    def __init__(
        self, run: Run, reply: Reply, clock: Clock, *, concurrency: int, waiting_room: int, idle_timeout: float
    ) -> None:
        self._run = run
        self._reply = reply
        self._clock = clock
        self._pool: Pool[Delivery] = Pool(maximum=concurrency, waiting_room=waiting_room, idle_timeout=idle_timeout)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._idle: dict[int, asyncio.Future[Delivery | None]] = {}
        self._at_work: dict[Delivery, int] = {}
        self._ending: set[Delivery] = set()
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, delivery: Delivery) -> None:
        """Give it to an idle worker, to a new one, or to the waiting room."""
        assignment = self._pool.submit(delivery, self._clock())
        if assignment is None:
            return
        if assignment.hired:
            self._tasks[assignment.worker] = asyncio.create_task(self._work(assignment.worker, delivery))
        else:
            self._idle.pop(assignment.worker).set_result(delivery)

    async def _work(self, worker: int, first: Delivery) -> None:
        delivery: Delivery | None = first
        try:
            while delivery is not None:
                await self._serve(worker, delivery)
                delivery = self._pool.finished(worker, self._clock())
                if delivery is None:
                    delivery = await self._wait(worker)
        finally:
            del self._tasks[worker]

    async def _serve(self, worker: int, delivery: Delivery) -> None:
        if delivery.lost:
            self._reply(delivery, NOT_STARTED)
            return
        self._at_work[delivery] = worker
        try:
            delivery.started = self._clock()
            outcome = await self._run(delivery)
        except asyncio.CancelledError as error:
            if delivery not in self._ending:  # the loop itself is going down: so does this worker
                self._reply(delivery, Failed(error))
                raise
            self._ending.discard(delivery)
            self._tasks[worker].uncancel()
            outcome = ENDED
        finally:
            del self._at_work[delivery]
        self._reply(delivery, outcome)

    async def _wait(self, worker: int) -> Delivery | None:
        future = self._idle[worker] = asyncio.get_running_loop().create_future()
        self._schedule()
        return await future

    def _schedule(self) -> None:
        if self._timer is None and self._idle:
            delay = max(0.0, self._pool.next_let_go() - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._let_go)

    def _let_go(self) -> None:
        self._timer = None
        worker = self._pool.let_go(self._clock())
        if worker is not None:
            self._idle.pop(worker).set_result(None)
        self._schedule()

    def recall(self) -> None:
        """Answer `NotStarted` for everything in the waiting room."""
        for delivery in self._pool.recall():
            self._reply(delivery, NOT_STARTED)

    def end(self, delivery: Delivery | None) -> None:
        """Cancel the handler of that delivery, or of all; the worker stays."""
        for each in [delivery] if delivery is not None else list(self._at_work):
            worker = self._at_work.get(each)
            if worker is not None:
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
