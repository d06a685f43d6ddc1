"""A fleet of real consumers in virtual time, which an autoscaler as KEDA's starts and stops.

KEDA's formula gives a number, and the horizontal autoscaler of Kubernetes follows it as it does: within its tolerance,
at most doubling, and downwards only to the highest number of the last minutes. What SQS says of the queue is late.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from leasekeeper.admin.scaling import with_scaling
from leasekeeper.core.scaling import backlog_per_replica, messages_in_flight
from leasekeeper.engine.queue_counts import QueueCounts
from leasekeeper.observe.backlog import Backlog
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.testing.world import Running

INTERVAL = 30.0
"""Seconds between two looks of KEDA (`pollingInterval`)."""
LAG = 60.0
"""Seconds by which the counts of SQS may be late."""
STABLE = 300.0
"""Seconds of which the highest number counts before the fleet gets smaller (`stabilizationWindowSeconds`)."""
TOLERANCE = 0.1
"""The share by which the autoscaler lets the fleet be too large or too small."""
STARTING = 10.0
"""Seconds until a new process receives."""
GRACE = 34.0
"""Seconds that a process gets for its stop: what `leasekeeper manifest` computes for these options."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The fleet at one moment."""

    at: float
    rate: float
    wanted: int
    replicas: int
    visible: int
    in_flight: int


@dataclass(slots=True)
class Autoscaler:
    """The horizontal autoscaler: from a number that is wanted to the size of the fleet."""

    least: int = 1
    most: int = 40
    window: float = STABLE
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def size(self, now: float, current: int, wanted: float) -> int:
        """The size of the fleet from now on."""
        if abs(wanted / max(1, current) - 1) <= TOLERANCE:
            wanted = current
        bounded = max(self.least, min(self.most, math.ceil(wanted - 1e-9)))
        self._recent.append((now, bounded))
        while self._recent[0][0] <= now - self.window:
            self._recent.popleft()
        if bounded >= current:
            return min(bounded, max(2 * current, current + 4))
        highest = max(each for _, each in self._recent)
        return max(min(current, highest), math.ceil(current / 2))


class Fleet:
    """Consumers of one queue, as many as the autoscaler wants.

    Args:
        world: where they work.
        by: what the autoscaler follows: `wanted` (KEDA's `metrics-api` with the number of `/statusz`), `formula` (that
            of `leasekeeper manifest`), or `queue` (KEDA's `aws-sqs-queue` with `length`).
        handler: seconds of a handler.
        concurrency: of each consumer.
        latency: seconds in which a backlog should be worked off.
        length: KEDA's `queueLength`; None: what we advise.
        autoscaler: what follows the number.
    """

    def __init__(
        self,
        world: World,
        *,
        by: str,
        handler: float,
        concurrency: int,
        latency: float,
        length: int | None = None,
        autoscaler: Autoscaler | None = None,
    ) -> None:
        self._world = world
        self._by = by
        self._handler = handler
        self._concurrency = concurrency
        self._latency = latency
        self._in_flight = messages_in_flight(concurrency)
        self._visible = backlog_per_replica(concurrency, handler, latency)
        self._length = length or self._in_flight
        self._autoscaler = autoscaler or Autoscaler()
        self._random = Random(world.random.random())
        self._history: deque[tuple[float, QueueCounts]] = deque(maxlen=int(LAG) + 2)
        self._backlog = Backlog()
        self._tasks: list[asyncio.Task[None]] = []
        self.running: list[Running] = []
        self.size = 0
        self.rate = 0.0
        self.samples: list[Sample] = []
        self.runs: dict[str, int] = {}
        self.cut_off = 0
        """Handlers that a stop cut off."""
        self.late = 0
        """Processes that did not stop within their grace period."""

    async def _handle(self, body: str) -> None:
        try:
            await asyncio.sleep(self._handler * self._random.uniform(0.5, 1.5))
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        self.runs[body] = self.runs.get(body, 0) + 1

    async def play(self, rates: Sequence[tuple[float, float]]) -> None:
        """Send messages at each rate for its seconds, and scale meanwhile; then let everything end."""
        self._resize(self._autoscaler.least)
        sending = asyncio.create_task(self._send(rates))
        while not sending.done():
            await self._second()
        await sending
        self._resize(0)
        await asyncio.gather(*self._tasks)

    async def _send(self, rates: Sequence[tuple[float, float]]) -> None:
        sent = 0
        for rate, seconds in rates:
            self.rate = rate
            end = self._world.now + seconds
            while (pause := self._random.uniform(0, 2 / rate)) < end - self._world.now:
                await asyncio.sleep(pause)
                await self._world.send(str(sent))
                sent += 1
            await asyncio.sleep(end - self._world.now)

    async def _second(self) -> None:
        await asyncio.sleep(1.0)
        now, queue = self._world.now, self._world.queue()
        counts = QueueCounts(visible=queue.visible, in_flight=queue.in_flight, delayed=0, dead_letters=None)
        self._history.append((now, counts))
        if round(now) % INTERVAL:
            return
        late = now - self._random.uniform(0, LAG)
        told = next((counts for at, counts in self._history if at >= late), counts)
        wanted = self._wanted(now, told)
        self._resize(self._autoscaler.size(now, self.size, wanted))
        self.samples.append(Sample(now, self.rate, math.ceil(wanted), self.size, counts.visible, counts.in_flight))

    def _wanted(self, now: float, told: QueueCounts) -> float:
        if self._by == "queue":
            return (told.visible + told.in_flight) / self._length
        if self._by == "formula":
            return told.in_flight / self._in_flight + told.visible / self._visible
        self._backlog.add(now, told)
        asked = [each.statistics() for each in self.running if each.runner.phase.value == "running"]
        numbers = [with_scaling(each, self._backlog, self._latency).scaling for each in asked]
        each = [found.wanted_replicas for found in numbers if found is not None]
        return sum(each) / len(each) if each else self.size

    def _resize(self, size: int) -> None:
        for _ in range(self.size, size):
            self._tasks.append(asyncio.create_task(self._start()))
        for _ in range(size, min(self.size, len(self.running))):
            victim = self.running.pop(self._random.randrange(len(self.running)))
            self._tasks.append(asyncio.create_task(self._stop(victim)))
        self.size = size

    async def _start(self) -> None:
        await asyncio.sleep(STARTING)
        if len(self.running) < self.size:
            self.running.append(await self._world.start(self._handle, concurrency=self._concurrency))

    async def _stop(self, victim: Running) -> None:
        asked = self._world.now
        await victim.stop()
        self.late += self._world.now - asked > GRACE

    # What a test asks

    def between(self, start: float, end: float) -> list[Sample]:
        """The samples of that time."""
        return [sample for sample in self.samples if start < sample.at <= end]


def turns(samples: Sequence[Sample]) -> int:
    """How often the fleet changed its direction: up and then down is one turn."""
    sizes = [sample.replicas for sample in samples]
    steps = [after - before for before, after in pairwise(sizes) if after != before]
    return sum(before * after < 0 for before, after in pairwise(steps))


def story(rates: Sequence[tuple[float, float]], *, seed: int, **given: Any) -> Fleet:
    """A fleet that has been through these rates: pairs of messages a second, and seconds."""

    async def told() -> Fleet:
        async with World(seed) as world:
            fleet = Fleet(world, **given)
            await fleet.play(rates)
            return fleet

    return virtual(told)()
