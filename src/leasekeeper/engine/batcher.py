"""The batcher: items gathered and sent ten at a time. Acks, visibility changes and copies differ only in the call.

Owned by the part that gives it `send`. It promises that an item is sent when its batch is full or due, whichever is
first, that no more than `parallel` calls are out at once, and that closing it sends everything.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from leasekeeper.core.batch import Batch, Batching

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherStatistics:
    """What a batcher holds and has done."""

    waiting: int
    """Items that wait to be sent, those that failed and will be tried again included."""
    calls: int
    """Calls started since the start."""
    in_flight: int
    """Calls without an answer yet."""


class _Abandoned(Exception):
    """Ends the task group of a batcher."""


class Batcher(Generic[T]):
    """Gathers items and hands them to `send`, which handles failures itself and may `put_back`.

    Args:
        name: what it sends, in the plural, for people.
        send: sends one batch.
        size: items in a batch.
        linger: seconds that an item may wait for others.
        clock: seconds, monotonic.
        failed: called with a sentence and an error that `send` raised; the items of that batch are lost.
        parallel: calls out at once, at most.
        keep_open: whether items may still come although the batcher was closed; asked again at each `close`.
        batch: decides what goes together, and when; None: a `Batch` of that size and linger.

    Attributes:
        closing: whether it was closed; it goes on until everything is sent and answered.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[list[T]], Coroutine[None, None, None]],
        *,
        size: int,
        linger: float,
        clock: Callable[[], float],
        failed: Callable[[str, BaseException], None],
        parallel: int = 32,
        keep_open: Callable[[], bool] | None = None,
        batch: Batching[T] | None = None,
    ) -> None:
        self.name = name
        self.closing = False
        self._send = send
        self._clock = clock
        self._failed = failed
        self._keep_open = keep_open
        self._batch: Batching[T] = Batch(size=size, linger=linger) if batch is None else batch
        self._parallel = parallel
        self._in_flight = 0
        self._calls = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self._tasks: asyncio.TaskGroup | None = None
        self._finished = asyncio.Event()
        self._abandoned = False

    def add(self, items: Sequence[T], *, latest: float = math.inf) -> None:
        """Add items; `latest` is the time by which they must be sent."""
        if self._batch.add(items, self._clock(), latest=latest) or self.closing:
            self._pump()
        elif self._timer is None or self._batch.due() < self._armed:
            self._arm()

    def put_back(self, item: T, *, ready: float, latest: float = math.inf) -> None:
        """Add an item that failed, to go again from `ready` on."""
        self._batch.put_back(item, ready=ready, latest=latest)
        self._arm()

    def flush(self) -> None:
        """Send what waits now, due or not, as far as calls may be out."""
        self._pump(flush=True)

    def _arm(self) -> None:
        """See to it that the timer fires when something is due.

        One that fires too early looks again, which is cheaper than setting it again for each batch.
        """
        due = self._batch.due()
        if self._tasks is None or due == math.inf or self._in_flight >= self._parallel:
            return
        if self._timer is not None:
            if self._armed <= due:
                return
            self._timer.cancel()
        self._armed = due
        delay = max(0.0, due - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._pump()

    def _pump(self, *, flush: bool = False) -> None:
        """Send what is due, as far as calls may be out."""
        now = self._clock()
        while self._in_flight < self._parallel and self._tasks is not None:
            taken = self._batch.take(now, flush=flush)
            if taken is None:
                break
            self._in_flight += 1
            self._calls += 1
            self._tasks.create_task(self._call(taken[0]))
        self._arm()

    async def _call(self, items: list[T]) -> None:
        try:
            await self._send(items)
        except Exception as error:  # a bug of ours must cost these items, not everything else that is held (L15)
            self._failed(f"sending a batch of {len(items)} {self.name}", error)
        finally:
            self._in_flight -= 1
        # Not when this call is cancelled: then the whole batcher is, and can start no other. While closing, what was
        # never sent waits for nothing; what failed keeps its pause.
        self._pump(flush=self.closing and not self._batch.put_back_count)
        self._end_if_finished()

    async def run(self) -> None:
        """Send until closed and empty."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                try:
                    self._pump(flush=self.closing)
                    self._end_if_finished()
                    await self._finished.wait()
                    if self._abandoned:
                        raise _Abandoned  # the group cancels the calls that are out
                finally:
                    # What comes now comes too late, and stays: a group that is being cancelled starts nothing, and a
                    # call that was answered in this very moment would want to start the next.
                    self._tasks = None
        except* _Abandoned:
            pass
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def close(self) -> None:
        """Send everything that waits; `run` returns when all of it has been answered. May be called again."""
        self.closing = True
        self._pump(flush=True)
        self._end_if_finished()

    def abandon(self) -> None:
        """Drop what waits, cancel the calls in flight, and end: nothing depends on them any more."""
        self.closing = self._abandoned = True
        self._finished.set()

    def _end_if_finished(self) -> None:
        if self.closing and not self._batch and not self._in_flight and not (self._keep_open and self._keep_open()):
            self._finished.set()

    def statistics(self) -> BatcherStatistics:
        """What it holds and has done."""
        return BatcherStatistics(waiting=len(self._batch), calls=self._calls, in_flight=self._in_flight)

    def __repr__(self) -> str:
        return f"<Batcher {self.name} {len(self._batch)} waiting, {self._in_flight} calls out>"
