"""Worker processes in virtual time: they run the inside of a real one, die when a simulation says so, and answer late.

A `SimulatedWorker` stands where a crew starts a process. Frames cross as bytes, in order, each after some time. What a
worker has sent before its death still arrives; sometimes an answer arrives that comes after its death.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from leasekeeper.lanes.processes.frames import Ended, Frames, Lease, framed, to_engine, to_worker
from leasekeeper.lanes.processes.worker import WorkerProcess
from leasekeeper.worker_process.channel import Channel
from leasekeeper.worker_process.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from leasekeeper.core.worker_life import WorkerLife

CURRENT: ContextVar[SimulatedWorker] = ContextVar("worker")
"""The worker in which a handler runs."""


class Workshop:
    """What all workers of a simulation have in common.

    Attributes:
        random: from which everything about them is drawn.
        unsteady: the share of starts that fail, once the first workers are there.
        workers: all that were ever started.
        owner: the simulation.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.unsteady = 0.0
        self.workers: list[SimulatedWorker] = []
        self.owner: Any = None

    def hire(self, life: WorkerLife, *, received: Callable[..., None], died: Callable[..., None]) -> SimulatedWorker:
        """A worker, as `WorkerProcess` is one."""
        worker = SimulatedWorker(self, life, received=received, died=died)
        self.workers.append(worker)
        return worker

    def some(self, *seconds: float) -> float:
        """One of these times, and a little more."""
        return self.random.choice(seconds) + self.random.uniform(0, 0.001)


class _SimulatedChannel(Channel):
    """The worker's end: without a pipe and threads."""

    def __init__(self, worker: SimulatedWorker, **takes: Any) -> None:
        self._worker = worker
        self._take, self._recall = takes["take"], takes["recall"]
        self._finish, self._settled = takes["finish"], takes["settled"]
        self._leases: dict[int, Lease] = {}
        self.clock = asyncio.get_running_loop().time

    def start(self) -> None:
        """Nothing reads but the loop."""

    def send(self, *frames: Any) -> None:
        """Have them arrive some time later."""
        self._worker.sends(*frames)

    def leases(self, ask: Any, number: int) -> Mapping[int, Lease]:
        """Ask, and wait for the answer: no time passes in this process meanwhile."""
        self._leases = {}
        self._worker.sends(ask)
        self._worker.flush()
        return dict(self._leases) if number in self._leases else {}

    def handle(self, body: bytes) -> None:
        """A frame has come."""
        frame = to_worker(body)
        if isinstance(frame, Lease):
            self._leases[frame.message] = frame
        else:
            self._handle(frame)


class SimulatedWorker(WorkerProcess):
    """One worker."""

    def __init__(
        self, shop: Workshop, life: WorkerLife, *, received: Callable[..., None], died: Callable[..., None]
    ) -> None:
        super().__init__(life, received=received, died=died)
        self.shop = shop
        self.stubborn = shop.random.random() < 0.5
        """Whether SIGTERM does not end it, as when its handler hangs in C."""
        self.dead = False
        self._code: int | None = None
        self._inside: Worker | None = None
        self._work: asyncio.Task[None] | None = None
        self._coming: deque[tuple[float, bytes]] = deque()
        self._arrives = 0.0

    async def start(self, context: Any, blueprint: bytes, *, tell_rss: bool) -> None:
        """Start it."""
        await asyncio.sleep(self.shop.some(0.04, 0.2))
        self._work = self._loop.create_task(self._live(blueprint))

    async def _live(self, blueprint: bytes) -> None:
        CURRENT.set(self)
        if self.shop.random.random() < self.shop.unsteady:
            self.crash(3)
            return
        inside = self._inside = Worker(lambda **takes: _SimulatedChannel(self, **takes), tell_rss=False)
        await inside.open(blueprint, None)
        await inside.serve()
        await inside.close()
        self.crash(0)

    # To the engine

    def sends(self, *frames: Any) -> None:
        """Have frames arrive, in order."""
        if self.dead:
            return
        for frame in frames:
            self._arrives = max(self._arrives, self._loop.time() + self.shop.some(0.0, 0.0, 0.01, 0.1))
            self._coming.append((self._arrives, framed(frame)))
            self._loop.call_at(self._arrives, self._come)

    def _come(self) -> None:
        while self._coming and self._coming[0][0] <= self._loop.time():
            self._deliver(self._coming.popleft()[1])

    def flush(self) -> None:
        """Let everything arrive that was sent."""
        while self._coming:
            self._deliver(self._coming.popleft()[1])

    def _deliver(self, data: bytes) -> None:
        (body,) = Frames().feed(data)
        self._received(self, to_engine(body))

    # From the engine

    def send(self, *frames: Any) -> None:
        """As `WorkerProcess.send`: leases are told at once, anything else arrives later."""
        for frame in frames:
            (body,) = Frames().feed(framed(frame))
            if isinstance(frame, Lease):
                self._take(body)
            else:
                self._loop.call_soon(self._take, body)

    def _take(self, body: bytes) -> None:
        if self._inside is not None and not self.dead:
            self._inside.channel.handle(body)  # type: ignore[attr-defined] # of the class above

    # The end

    def crash(self, code: int) -> None:
        """End it, now. Its engine hears of that later."""
        if self.dead:
            return
        self.dead, self._code = True, code
        if self._work is not None and code:
            while self._inside is not None and not self._inside._waiting.empty():
                self._inside._waiting.get_nowait()
            self._work.cancel()
        self._loop.call_later(self.shop.some(0.001, 0.05), self._is_known)

    def _is_known(self) -> None:
        self.flush()
        self._gone = True
        running = self.running
        self._died(self)
        if running is not None and self.shop.random.random() < 0.3:  # an answer that nobody may believe any more
            self._deliver(framed(Ended(running.number, ["done"])))

    async def end(self) -> None:
        """Wait for its task."""
        if self._work is not None:
            self.dead = True
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work

    @property
    def pid(self) -> int | None:
        """It has no process."""
        return None if self._gone else 1

    @property
    def exit_code(self) -> int | None:
        """As `WorkerProcess.exit_code`."""
        return self._code

    def terminate(self, reason: str) -> None:
        """As `WorkerProcess.terminate`."""
        self.ended_by = self.ended_by or reason
        if not self.stubborn:
            self._loop.call_later(self.shop.some(0.0, 0.01), self.crash, -15)

    def kill(self, reason: str = "") -> None:
        """As `WorkerProcess.kill`."""
        self.ended_by = self.ended_by or reason
        self.crash(-9)

    def close(self) -> None:
        """There is nothing to close."""
