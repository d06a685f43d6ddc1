"""The processes lane: worker processes, each with one message or batch at work, and one message that waits in it.

Owned by the worker of a consumer, used on the engine's loop. It promises that each unit is answered once, that a death
costs what ran in that worker only, that time-outs end what hangs, and that no worker outlives the lane.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Generic

from leasekeeper.errors import HandlerTimeout
from leasekeeper.lanes.api import Answer, LaneStatistics, U
from leasekeeper.lanes.processes.controls import Controls
from leasekeeper.lanes.processes.crew import Crew
from leasekeeper.lanes.processes.frames import (
    AsksLease,
    Counted,
    Ended,
    Logged,
    Recall,
    Says,
    Started,
    Told,
    unpack_outcome,
)
from leasekeeper.loggers import safe_logger
from leasekeeper.outcomes import NOT_STARTED, WITHHELD, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answers, UnitHandler
    from leasekeeper.lanes.processes.blueprint import Blueprint
    from leasekeeper.lanes.processes.frames import ToEngine
    from leasekeeper.lanes.processes.tasks import Task, Tasks
    from leasekeeper.lanes.processes.worker import WorkerProcess
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome

log = safe_logger("leasekeeper.processes")

KILL_AT_STOP = 0.5
"""Seconds that workers get after SIGTERM at the end of a drain."""
TIMED_OUT = "its handler ran longer than handler_timeout"
"""Why a worker is ended, if so."""
ON_REQUEST = "it was ended on request"
"""Why a worker is ended: at the end of a drain, or because the lease is lost."""


class ProcessLane(Generic[U]):
    """Runs a handler in `options.worker_count` processes.

    Args:
        handler: the handler.
        blueprint: how a worker gets it.
        options: how many workers there are, and when they are replaced.
        queue: the queue's name, for people.
        answers: where the outcomes go.
        clock: seconds, monotonic.
        tasks: makes what workers run: of messages, or of batches.
        runs: hears of each message that starts; None: nothing needs to know.
    """

    def __init__(
        self,
        handler: UnitHandler[U],
        blueprint: Blueprint,
        options: Options,
        *,
        queue: str,
        answers: Answers[U],
        clock: Callable[[], float],
        tasks: Tasks[U],
        runs: Callable[[Delivery], object] | None = None,
    ) -> None:
        self.looks_before_start = False  # workers start by themselves; their recall needs nothing that may be blocked
        self._handler = handler
        self._runs = runs
        self._queue_name = queue
        self._options = options
        self._answers = answers
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue: deque[U] = deque()
        self._tasks = tasks
        self._deaths = tasks.deaths
        self._controls = Controls(clock)
        self._numbers = 0
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._patience = options.kill_grace if getattr(handler, "is_coroutine", False) else 0.0
        """Seconds beyond the time-out, in which a worker ends a coroutine itself; that costs no process."""
        self._ending = False
        told: Any = {"received": self._received, "free": self._is_free, "died": self._died}
        self._crew = Crew(blueprint, options, queue=queue, clock=clock, **told)
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
        elif isinstance(frame, Told):
            self._is_told(worker, frame)
        elif isinstance(frame, Says):
            self._controls.says(worker, frame)
        elif isinstance(frame, AsksLease):
            self._controls.tell(worker, frame)
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
        running = self._running(worker, frame.message)
        if running is not None:
            worker.overdue = 0  # a further call has begun
        task: Task[U] | None = running or worker.waiting.pop(frame.message, None)
        if task is None:
            return
        worker.running = task
        task.started(frame)
        if self._runs is not None and running is None:  # later, some may be finished, and their slots be used again
            for row in task.rows.values():
                self._runs(row)
        self._controls.begin(task)
        timeout = self._options.handler_timeout
        if timeout is not None:
            self._stop_timer(frame.message)
            left = max(0.0, frame.at + timeout + self._patience - self._clock())
            self._timers[frame.message] = self._loop.call_later(left, self._time_out, worker, frame.message)

    @staticmethod
    def _running(worker: WorkerProcess, number: int) -> Task[U] | None:
        return worker.running if worker.running is not None and worker.running.number == number else None

    def _is_told(self, worker: WorkerProcess, frame: Told) -> None:
        """It is known how messages of a batch end, while the batch goes on."""
        task = self._running(worker, frame.message)
        if task is None:
            return
        outcome = unpack_outcome(frame.outcome)
        for number in frame.messages:
            row = task.rows[number]
            if frame.final:
                self._let_go(worker, number, row, keeps=outcome is WITHHELD)
            task.tell(row, outcome, final=frame.final)

    def _has_ended(self, worker: WorkerProcess, frame: Ended) -> None:
        task = worker.waiting.pop(frame.message, None)  # one that has not started: it was recalled
        outcome = unpack_outcome(frame.outcome)
        if task is None:
            task = self._running(worker, frame.message)
            if task is None:
                return
            worker.running = None
            worker.life.tasks += len(task.rows)
            if frame.handler:
                for row in task.rows.values():
                    row.handler = frame.handler
        self._stop_timer(frame.message)
        if outcome is NOT_STARTED and not self._ending:
            self._queue.appendleft(task.unit)  # taken back for another worker
        else:
            kept = task.kept(outcome)
            for number, row in task.rows.items():
                if number not in worker.withheld:  # kept since an earlier call of the batch
                    self._let_go(worker, number, row, keeps=number in kept)
            self._answers.post((Answer(task.unit, outcome),))
        self._crew.look_at_age(worker, frame.rss)
        self._pump()

    def _let_go(self, worker: WorkerProcess, number: int, row: Delivery, *, keeps: bool) -> None:
        """The handler has ended for this message."""
        if keeps:
            worker.withheld[number] = row
        else:
            self._controls.end((number,))
            self._deaths.forget(row.received.message_id)

    # Deaths and time-outs

    def _died(self, worker: WorkerProcess, why: str) -> None:
        """What it ran is answered or runs again, and what waited in it goes to others."""
        waiting, running = worker.waiting, worker.running
        worker.waiting, worker.running = {}, None  # nothing that it has said counts from now on
        for task in reversed(waiting.values()):
            if self._ending:
                self._answers.post((Answer(task.unit, NOT_STARTED),))
            else:
                self._queue.appendleft(task.unit)
        if running is not None:
            self._stop_timer(running.number)
            self._controls.end([number for number in running.rows if number not in worker.withheld])
            if not (self._ending or worker.ended_by):
                log.warning("queue %s: a worker process ended %s while it ran %r", self._queue_name, why, running)
            outcome = self._outcome_of_death(worker, running, why)
            if outcome is None:
                self._queue.appendleft(running.unit)
            else:
                self._answers.post((Answer(running.unit, outcome),))
        self._controls.give_back(worker.withheld)
        self._pump()

    def _outcome_of_death(self, worker: WorkerProcess, task: Task[U], why: str) -> Outcome | None:
        if self._ending or self._crew.closing or worker.ended_by == ON_REQUEST:
            return task.stopped()
        timeout = self._options.handler_timeout
        if worker.ended_by == TIMED_OUT and timeout is not None:
            if worker.overdue != task.number:
                return task.died(None, alone=False)  # what was overdue had ended: it was this one's bad luck
            failed = Failed(HandlerTimeout(self._handler.timed_out(timeout, task.unit)))
            return task.died(lambda _: failed, alone=self._options.on_batch_error != "retry")
        why = worker.ended_by or f"its worker process ended {why}"
        return task.died(lambda row: self._deaths.outcome(row.received.message_id, why), alone=True)

    def _time_out(self, worker: WorkerProcess, message: int) -> None:
        self._timers.pop(message, None)
        if self._running(worker, message) is None:
            return
        self._take_back(worker)
        worker.leaving, worker.cause, worker.overdue = True, "timeout", message
        worker.terminate(TIMED_OUT)
        self._loop.call_later(self._options.kill_grace, worker.kill)

    def _stop_timer(self, message: int) -> None:
        timer = self._timers.pop(message, None)
        if timer is not None:
            timer.cancel()

    # The lane

    def submit(self, units: Sequence[U]) -> bool:
        """Run the handler for each; always True, since workers that die are replaced."""
        self._queue.extend(units)
        self._pump()
        return True

    def _pump(self) -> None:
        """Give idle workers what waits; busy ones get what is to wait in them."""
        workers = [each for each in self._crew.workers if each.ready and not each.leaving]
        if not self._queue:
            self._balance(workers)
            return
        for load in range(self._tasks.feed + 1):
            for worker in workers:
                while self._queue and worker.load <= load:
                    unit = self._queue.popleft()
                    if unit.lost:
                        self._answers.post((Answer(unit, NOT_STARTED),))
                    else:
                        self._give(worker, unit)

    def _give(self, worker: WorkerProcess, unit: U) -> None:
        number = self._numbers + 1
        task = self._tasks.make(number, unit)
        self._numbers = number + len(task.rows)
        worker.waiting[number] = task
        worker.send(task.frame())

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

    def end(self, unit: U | None = None) -> bool:
        """End the worker that runs this unit, or all that run some; they answer `Ended`."""
        for worker in self._crew.workers:
            if worker.running is not None and (unit is None or worker.running.unit is unit):
                self._end(worker)
        return True

    def _end(self, worker: WorkerProcess) -> None:
        if not self._ending:
            self._take_back(worker)
        worker.leaving = True
        worker.terminate(ON_REQUEST)
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


def _log_again(record: dict[str, Any]) -> None:
    """Log a worker's record here, as if it had been written here."""
    logger = logging.getLogger(str(record.get("name", "")))
    if logger.isEnabledFor(int(record.get("levelno", 0))):
        logger.handle(logging.makeLogRecord(record))
