"""The processes lane: worker processes, each with one message at work and one that waits in it.

Owned by the worker of a consumer, used on the engine's loop. It promises that each unit is answered once, that a death
costs the running message of that worker only, that time-outs end what hangs, and that no worker outlives the lane.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import Closed, HandlerTimeout
from leasekeeper.lanes.api import Answer, LaneStatistics
from leasekeeper.lanes.lease_control import LeaseControl
from leasekeeper.lanes.processes.crew import Crew
from leasekeeper.lanes.processes.deaths import MOST, Deaths
from leasekeeper.lanes.processes.frames import (
    AsksLease,
    Counted,
    Ended,
    Lease,
    Logged,
    Recall,
    Run,
    Says,
    Settled,
    Started,
    pack_received,
    unpack_outcome,
)
from leasekeeper.loggers import safe_logger
from leasekeeper.outcomes import ENDED, NOT_STARTED, WITHHELD, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answers, UnitHandler
    from leasekeeper.lanes.processes.blueprint import Blueprint
    from leasekeeper.lanes.processes.frames import ToEngine
    from leasekeeper.lanes.processes.worker import WorkerProcess
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome

log = safe_logger("leasekeeper.processes")

KILL_AT_STOP = 0.5
"""Seconds that workers get after SIGTERM at the end of a drain."""
TIMED_OUT = "its handler ran longer than handler_timeout"
"""Why a worker is ended, if so."""
FEED = 1
"""Messages that wait in a worker, so that it need not wait for the engine between two."""


class ProcessLane:
    """Runs a handler in `options.worker_count` processes.

    Args:
        handler: the handler.
        blueprint: how a worker gets it.
        options: how many workers there are, and when they are replaced.
        queue: the queue's name, for people.
        answers: where the outcomes go.
        clock: seconds, monotonic.
        runs: hears of each message that starts; None: nothing needs to know.
    """

    def __init__(
        self,
        handler: UnitHandler[Delivery],
        blueprint: Blueprint,
        options: Options,
        *,
        queue: str,
        answers: Answers[Delivery],
        clock: Callable[[], float],
        runs: Callable[[Delivery], object] | None = None,
    ) -> None:
        self._handler = handler
        self._runs = runs
        self._queue_name = queue
        self._options = options
        self._answers = answers
        self._clock = clock
        self._draw = random.random
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Delivery] = deque()
        self._controls: dict[int, LeaseControl] = {}
        self._numbers = 0
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._deaths = Deaths()
        self._ending = False
        self._crew = Crew(
            blueprint, options, queue=queue, clock=clock, received=self._received, free=self._is_free, died=self._died
        )
        self.open = self._crew.open

    def _is_free(self, worker: WorkerProcess) -> None:
        """A worker is ready, or is to leave."""
        if worker.leaving:
            self._take_back(worker)
        self._pump()

    # Frames of workers

    def _received(self, worker: WorkerProcess, frame: ToEngine) -> None:
        if isinstance(frame, Ended):
            self._has_ended(worker, frame)
        elif isinstance(frame, Started):
            self._has_started(worker, frame)
        elif isinstance(frame, Says):
            self._says(worker, frame)
        elif isinstance(frame, AsksLease):
            self._tell_lease(worker, frame.message)
        elif isinstance(frame, Counted):
            self._count(frame)
        elif isinstance(frame, Logged):
            _log_again(frame.record)

    def _count(self, frame: Counted) -> None:
        counters: Any = self._options.idempotency
        for queue, counts in frame.counts.items():
            for name, count in counts.items():
                counters.counts.add(queue, name, count)

    def _has_started(self, worker: WorkerProcess, frame: Started) -> None:
        unit = worker.waiting.pop(frame.message, None)
        if unit is None:
            return
        worker.running = (frame.message, unit)
        unit.started = frame.at
        if self._runs is not None:
            self._runs(unit)
        self._controls[frame.message] = LeaseControl(self._answers.post_one, unit)
        timeout = self._options.handler_timeout
        if timeout is not None:
            left = max(0.0, frame.at + timeout - self._clock())
            self._timers[frame.message] = self._loop.call_later(left, self._time_out, worker, frame.message)

    def _has_ended(self, worker: WorkerProcess, frame: Ended) -> None:
        unit = worker.waiting.pop(frame.message, None)  # one that has not started: it was recalled
        if unit is None:
            if worker.running is None or worker.running[0] != frame.message:
                return
            unit, worker.running = worker.running[1], None
            worker.life.tasks += 1
            unit.handler = frame.handler
        outcome = unpack_outcome(frame.outcome)
        self._stop_timer(frame.message)
        if outcome is NOT_STARTED and not self._ending:
            self._queue.appendleft(unit)  # taken back for another worker
        else:
            if outcome is WITHHELD:
                worker.withheld[frame.message] = unit
            else:
                self._controls.pop(frame.message, None)
                self._deaths.forget(unit.received.message_id)
            self._answers.post((Answer(unit, outcome),))
        self._crew.look_at_age(worker, frame.rss)
        self._pump()

    def _says(self, worker: WorkerProcess, frame: Says) -> None:
        """A handler settles its message while it runs, or later."""
        control = self._controls.get(frame.message)
        if control is None:
            worker.send(Settled(frame.message, "lost"))
            return
        try:
            settlement = control.settle_early(retry_after=frame.retry_after)
        except (Closed, ValueError):
            worker.send(Settled(frame.message, "lost"))
            return

        def tell(how: Any) -> None:
            self._loop.call_soon_threadsafe(worker.send, Settled(frame.message, how.value))

        settlement.when_done(tell)
        if worker.withheld.pop(frame.message, None) is not None:
            self._controls.pop(frame.message, None)

    def _tell_lease(self, worker: WorkerProcess, message: int) -> None:
        unit = self._unit(worker, message)
        if unit is None:
            worker.send(Lease(message, lost=True, capped=False, deadline=self._clock()))
        else:
            worker.send(Lease(message, unit.lost, unit.capped, unit.lease.deadline))

    def _unit(self, worker: WorkerProcess, message: int) -> Delivery | None:
        if worker.running is not None and worker.running[0] == message:
            return worker.running[1]
        return worker.withheld.get(message)

    # Deaths and time-outs

    def _died(self, worker: WorkerProcess, why: str) -> None:
        """What it ran is answered, and what waited in it goes to others."""
        for unit in reversed(worker.waiting.values()):
            if self._ending:
                self._answers.post((Answer(unit, NOT_STARTED),))
            else:
                self._queue.appendleft(unit)
        if worker.running is not None:
            number, unit = worker.running
            self._stop_timer(number)
            self._controls.pop(number, None)
            if not (self._ending or worker.ended_by):
                log.warning(
                    "queue %s: a worker process ended %s while it ran message %s; the message is retried, or rejected "
                    "after %d deaths",
                    self._queue_name,
                    why,
                    unit.received.message_id,
                    MOST,
                )
            self._answers.post((Answer(unit, self._outcome_of_death(worker, unit, why)),))
        for number in worker.withheld:
            if (control := self._controls.pop(number, None)) is not None:
                _give_back(control)
        self._pump()

    def _outcome_of_death(self, worker: WorkerProcess, unit: Delivery, why: str) -> Outcome:
        if self._ending or self._crew.closing:
            return ENDED
        timeout = self._options.handler_timeout
        if worker.ended_by == TIMED_OUT and timeout is not None:
            return Failed(HandlerTimeout(self._handler.timed_out(timeout, unit)))
        return self._deaths.outcome(unit.received.message_id, worker.ended_by or f"its worker process ended {why}")

    def _time_out(self, worker: WorkerProcess, message: int) -> None:
        self._timers.pop(message, None)
        if worker.running is None or worker.running[0] != message:
            return
        self._take_back(worker)
        worker.leaving, worker.cause = True, "timeout"
        worker.terminate(TIMED_OUT)
        self._loop.call_later(self._options.kill_grace, worker.kill)

    def _stop_timer(self, message: int) -> None:
        timer = self._timers.pop(message, None)
        if timer is not None:
            timer.cancel()

    # The lane

    def submit(self, units: Sequence[Delivery]) -> bool:
        """Run the handler for each; always True, since workers that die are replaced."""
        self._queue.extend(units)
        self._pump()
        return True

    def _pump(self) -> None:
        """Give idle workers what waits; busy ones get one message to wait in them."""
        workers = [each for each in self._crew.workers if each.ready and not each.leaving]
        if not self._queue:
            self._balance(workers)
            return
        for load in range(FEED + 1):
            for worker in workers:
                while self._queue and worker.load <= load:
                    unit = self._queue.popleft()
                    if unit.lost:
                        self._answers.post((Answer(unit, NOT_STARTED),))
                    else:
                        self._give(worker, unit)

    def _give(self, worker: WorkerProcess, unit: Delivery) -> None:
        self._numbers += 1
        number = self._numbers
        worker.waiting[number] = unit
        worker.send(Run(number, pack_received(unit.received), unit.attempt, unit.received_at, unit.settles_later))

    def _balance(self, workers: Sequence[WorkerProcess]) -> None:
        """Take back what waits behind a running message while another worker has nothing to do."""
        if any(not each.load for each in workers):
            behind = next((each for each in workers if each.running is not None and each.waiting), None)
            if behind is not None:
                self._take_back(behind)

    def _take_back(self, worker: WorkerProcess) -> None:
        if worker.waiting:
            worker.send(Recall())

    def resize(self, options: Options) -> None:
        """Let more workers run, or fewer; each stops between two messages."""
        self._options = options
        self._crew.resize(options)
        self._pump()

    def stop_collecting(self) -> None:
        """It joins none."""

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits, here and in the workers."""
        self._ending = True
        if self._queue:
            waiting = list(self._queue)
            self._queue.clear()
            self._answers.post([Answer(unit, NOT_STARTED) for unit in waiting])
        for worker in self._crew.workers:
            self._take_back(worker)

    def end(self, unit: Delivery | None = None) -> bool:
        """End the worker that runs this message, or all that run some; they answer `Ended`."""
        for worker in self._crew.workers:
            if worker.running is not None and (unit is None or worker.running[1] is unit):
                self._end(worker)
        return True

    def _end(self, worker: WorkerProcess) -> None:
        if not self._ending:
            self._take_back(worker)
        worker.leaving = True
        worker.terminate("it was ended on request")
        self._loop.call_later(KILL_AT_STOP, worker.kill)

    async def close(self) -> None:
        """End all workers: those without work by themselves, the others by force."""
        for timer in self._timers.values():
            timer.cancel()
        await self._crew.close()

    def statistics(self) -> LaneStatistics:
        """What the lane is doing now."""
        workers = list(self._crew.workers)
        return LaneStatistics(
            running=sum(worker.running is not None for worker in workers),
            waiting=len(self._queue) + sum(len(worker.waiting) for worker in workers),
            workers=sum(worker.ready for worker in workers),
            deaths=dict(self._crew.deaths),
        )

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<ProcessLane {now.running} running, {now.waiting} waiting, {now.workers} workers>"


def _give_back(control: LeaseControl) -> None:
    with suppress(Closed):
        control.settle_early(retry_after=0.0)


def _log_again(record: dict[str, Any]) -> None:
    """Log a worker's record here, as if it had been written here."""
    logger = logging.getLogger(str(record.get("name", "")))
    if logger.isEnabledFor(int(record.get("levelno", 0))):
        logger.handle(logging.makeLogRecord(record))
