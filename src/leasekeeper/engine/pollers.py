"""The pollers of one runner: as many as the throttler wants, started and ended together.

Owned by the runner. It promises that a poller which ended is started again when it is wanted again, and that no poll is
left when `end` returns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.core.arrival import Arrival
from leasekeeper.engine.poller import Poller, Receiver
from leasekeeper.engine.waits import first_of
from leasekeeper.events import PollersChanged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.lag import LagMeter


class Pollers:
    """Starts pollers in a task group, lets them rest while the consumer is paused, and ends their polls.

    Args:
        context: the runner's.
        throttler: says how many are wanted.
        capacity: where they reserve slots.
        lag: how late the engine's loop is.
        receiver: receives messages: the client, or what stands for it.
        take: takes the deliveries that they bring.
    """

    def __init__(
        self,
        context: QueueContext,
        throttler: Throttler,
        capacity: Capacity,
        *,
        lag: LagMeter,
        receiver: Receiver,
        take: Callable[[Sequence[Delivery]], None],
    ) -> None:
        self._context = context
        self._throttler = throttler
        self._capacity = capacity
        self._lag = lag
        self._receiver = receiver
        self._take = take
        self._resting = asyncio.Event()
        """While it is set none is started, and those there are end with their polls."""
        self._arrival = Arrival()
        self._pollers: list[Poller] = []
        """By index, also those that have ended: each goes on where it was."""
        self._running: dict[int, asyncio.Task[None]] = {}
        self._wanted = 0
        """How many were wanted at the last look."""
        self._tasks: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._running)

    def hand_to(self, take: Callable[[Sequence[Delivery]], None]) -> None:
        """Let `take` take what pollers bring from now on."""
        self._take = take
        for poller in self._pollers:
            poller.take = take

    def marks(self, now: float) -> list[str]:
        """What each poller does, in a word; may be asked from any thread."""
        running = list(self._running)
        return [self._pollers[index].mark(now) for index in sorted(running)]

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Start those that are wanted, in this group."""
        self._tasks = tasks
        self._capacity.expect_poll()
        self._scale()

    def _scale(self) -> None:
        """Start the pollers that are wanted and missing; those that are too many end by themselves."""
        wanted = self._throttler.pollers
        if wanted == self._wanted or self._tasks is None or self._resting.is_set():
            return
        self._wanted, before = wanted, len(self._running)
        for index in range(wanted):
            if index == len(self._pollers):
                self._pollers.append(self._new(index))
            if index not in self._running:
                self._running[index] = self._tasks.create_task(self._poll_as(self._pollers[index]))
        if before and len(self._running) != before:
            self._context.emit(PollersChanged(self._context.queue, len(self._running), before))

    def _new(self, index: int) -> Poller:
        return Poller(
            index,
            self._context,
            self._throttler,
            self._capacity,
            lag=self._lag,
            arrival=self._arrival,
            receiver=self._receiver,
            take=self._take,
            scale=self._scale,
        )

    async def _poll_as(self, poller: Poller) -> None:
        try:
            await poller.run(self._resting)
        finally:
            del self._running[poller.index]
            self._wanted = 0  # it may be wanted again at the next look
            if self._running and not self._resting.is_set():
                self._context.emit(PollersChanged(self._context.queue, len(self._running), len(self._running) + 1))

    def rest(self) -> None:
        """Receive nothing more; polls in flight end by themselves. It may be called again."""
        self._resting.set()

    def resume(self) -> None:
        """Receive again. A poller that was still in its poll simply goes on."""
        self._resting.clear()
        self._capacity.expect_poll()
        self._wanted = 0
        self._scale()

    async def end(self, limit: Callable[[], Awaitable[None]]) -> None:
        """Let polls in flight end, until `limit` has ended; then cancel them."""
        polls = [task for task in self._running.values() if not task.done()]
        if polls:
            await first_of(asyncio.wait(polls), limit())
        for poll in polls:
            poll.cancel()
        self._tasks = None

    def __repr__(self) -> str:
        return f"<Pollers {len(self)} of {self._throttler.pollers} wanted>"
