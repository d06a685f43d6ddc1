"""The crew: the worker processes of a lane; it starts them, replaces them, and ends them.

Owned by the processes lane, used on the engine's loop. It promises that there are as many workers as there should be,
as far as the system allows, and that none is left when it is closed.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from leasekeeper.alive import drain_last
from leasekeeper.core.worker_life import Limits, WorkerLife
from leasekeeper.errors import LeasekeeperError
from leasekeeper.lanes.processes.endings import CAUSES, cause_of, memory_kills, reason_of, rss_of
from leasekeeper.lanes.processes.frames import Broken, Ready
from leasekeeper.lanes.processes.worker import WorkerProcess, context_of
from leasekeeper.loggers import safe_logger
from leasekeeper.schedules import Exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.lanes.processes.blueprint import Blueprint
    from leasekeeper.lanes.processes.frames import ToEngine
    from leasekeeper.options import Options

log = safe_logger("leasekeeper.processes")

RESTART = Exponential(base=0.1, maximum=10.0)
"""Pauses before a worker is started again, while workers cannot start."""
SAMPLE = 1.0
"""Seconds between two looks at the memory of the workers."""
LONGEST_CLOSE = 3.0
"""Seconds that idle workers get at the end, to close what their lifespan opened."""


class Crew:
    """The workers of a lane.

    Args:
        blueprint: what they make the handler of.
        options: how many they are, and when they are replaced.
        queue: the queue's name, for the log.
        clock: seconds, monotonic.
        received: called with what a worker says of messages.
        free: called with a worker that can take messages, or is to give back those that wait in it.
        died: called with a worker that has ended, and why; it is no longer one of `workers`.

    Attributes:
        workers: those that live or are being started.
        deaths: how many workers have died, by cause (`leasekeeper.lanes.processes.endings.CAUSES`).
        closing: whether no more are started.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        options: Options,
        *,
        queue: str,
        clock: Callable[[], float],
        received: Callable[[WorkerProcess, ToEngine], None],
        free: Callable[[WorkerProcess], None],
        died: Callable[[WorkerProcess, str], None],
    ) -> None:
        self.workers: list[WorkerProcess] = []
        self.deaths = dict.fromkeys(CAUSES, 0)
        self.closing = False
        self._blueprint = blueprint
        self._options = options
        self._queue_name = queue
        self._clock = clock
        self._tell = received
        self._free = free
        self._tell_death = died
        self._draw = random.random
        self._loop = asyncio.get_running_loop()
        self._limits = Limits(tasks=options.max_tasks, age=options.max_age, rss=options.max_rss)
        self._context: Any = None
        self._kills = 0
        self._failures = 0
        self._starting: set[asyncio.Task[None]] = set()
        self._sampler: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[None] | None = None
        self._all_gone = asyncio.Event()

    async def open(self) -> None:
        """Start all workers, and wait until they are ready.

        Raises:
            LeasekeeperError: a worker cannot start; the sentence has its traceback.
            ConfigurationError: a worker would not find a function.
        """
        self._blueprint.verify()
        self._context = context_of(self._options.start_method, self._options.preload)
        drain_last()  # `multiprocessing` waits for its processes at the exit, before ours would be drained
        self._kills = memory_kills()
        self._opened = self._loop.create_future()
        for _ in range(self._options.worker_count):
            self._hire()
        if self._options.kill_rss is not None:
            self._sample(self._options.kill_rss)
        await self._opened

    def _hire(self) -> None:
        worker = WorkerProcess(
            WorkerLife(self._limits, self._clock(), self._draw()), received=self._received, died=self._died
        )
        self.workers.append(worker)
        task = self._loop.create_task(self._start(worker))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, worker: WorkerProcess) -> None:
        try:
            await worker.start(self._context, self._blueprint.data, tell_rss=self._limits.rss is not None)
        except Exception as error:  # the system has no process left, or no descriptor
            self.workers.remove(worker)
            self._cannot_start(f"no worker process can be started: {error!r}", "")
        else:
            if self.closing:
                worker.kill()

    def _received(self, worker: WorkerProcess, frame: ToEngine) -> None:
        if isinstance(frame, Ready):
            self._is_ready(worker)
        elif isinstance(frame, Broken):
            worker.ended_by = "it cannot start"
            self._cannot_start(frame.text, frame.traceback)
        else:
            self._tell(worker, frame)

    def _is_ready(self, worker: WorkerProcess) -> None:
        worker.ready = True
        self._failures = 0
        ready = [each for each in self.workers if each.ready and not each.leaving]
        if self._opened is not None and not self._opened.done() and len(ready) >= self._options.worker_count:
            self._opened.set_result(None)
        if len(ready) > self._options.worker_count:  # it replaces one that is to leave
            oldest = max(ready, key=lambda each: each.life.tasks)
            oldest.finish()
            self._free(oldest)
        self._free(worker)

    def _cannot_start(self, text: str, traceback: str) -> None:
        """At the start this is the start's error; later it is tried again, ever more slowly."""
        sentence = f"queue {self._queue_name}: a worker process cannot start: {text}"
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(LeasekeeperError(f"{sentence}\n{traceback}".rstrip()))
            return
        self._failures += 1
        pause = RESTART.ceiling(self._failures)
        log.error("%s; another try in %.1f s\n%s", sentence, pause, traceback)
        self._loop.call_later(pause, self._fill)

    def _fill(self) -> None:
        """Start workers until there are as many as there should be."""
        if self.closing:
            return
        staying = sum(not each.leaving for each in self.workers)
        for _ in range(self._options.worker_count - staying):
            self._hire()

    def resize(self, options: Options) -> None:
        """Have as many workers as these options say. Those that are too many finish their message, idle ones first."""
        self._options = options
        ready = [each for each in self.workers if each.ready and not each.leaving]
        ready.sort(key=lambda each: (each.load, -each.life.tasks))
        for worker in ready[: max(0, len(ready) - options.worker_count)]:
            worker.finish()
            self._free(worker)
        self._fill()

    def look_at_age(self, worker: WorkerProcess, rss: int) -> None:
        """Start a replacement for a worker that has done enough; one at a time."""
        over = worker.life.over(self._clock(), rss)
        if over and not worker.leaving and not self.closing and all(each.ready for each in self.workers):
            log.info("queue %s: a worker process is replaced after %s", self._queue_name, over)
            self._hire()

    def _died(self, worker: WorkerProcess) -> None:
        self.workers.remove(worker)
        memory = worker.exit_code == -9 and not worker.ended_by and (kills := memory_kills()) > self._kills
        if memory:
            self._kills = kills
        why = reason_of(worker.exit_code, memory=memory)
        cause = self._cause_of_death(worker, memory=memory)
        worker.close()
        if not self.closing:
            if cause:
                self.deaths[cause] += 1
            self._replace(worker, why)
        self._tell_death(worker, why)
        if not self.workers:
            self._all_gone.set()

    @staticmethod
    def _cause_of_death(worker: WorkerProcess, *, memory: bool) -> str:
        """Empty for an end that costs no message: between two messages, or on request."""
        if not worker.ready:
            return "start"
        if worker.ended_by:
            return worker.cause
        return "" if worker.leaving and worker.exit_code == 0 else cause_of(worker.exit_code, memory=memory)

    def _replace(self, worker: WorkerProcess, why: str) -> None:
        if worker.ready:
            if worker.running is None and not worker.leaving and not worker.ended_by:
                log.warning("queue %s: an idle worker process ended %s", self._queue_name, why)
            self._fill()
        elif not worker.ended_by:
            self._cannot_start(f"it ended {why} before it was ready", "")

    def _sample(self, most: int) -> None:
        """End workers that take more memory than they may, in mid-message."""
        for worker in self.workers:
            if worker.ready and (rss := rss_of(worker.pid)) > most:
                worker.leaving, worker.cause = True, "memory"
                worker.kill(f"its worker process had {rss:,} bytes of memory, more than kill_rss={most:,}")
        self._sampler = self._loop.call_later(SAMPLE, self._sample, most)

    async def close(self) -> None:
        """End all workers: those without work by themselves, the others by force."""
        self.closing = True
        if self._sampler is not None:
            self._sampler.cancel()
        for worker in self.workers:
            if worker.running is not None or not worker.ready:
                worker.kill()
            else:
                worker.finish()
        await self._gone(LONGEST_CLOSE)
        for worker in self.workers:
            worker.kill()
        await self._gone(LONGEST_CLOSE)

    async def _gone(self, seconds: float) -> None:
        if self._starting:
            await asyncio.wait(set(self._starting), timeout=seconds)
        if self.workers:
            try:
                async with asyncio.timeout(seconds):
                    await self._all_gone.wait()
            except TimeoutError:
                return

    def __repr__(self) -> str:
        return f"<Crew {len(self.workers)} workers>"
