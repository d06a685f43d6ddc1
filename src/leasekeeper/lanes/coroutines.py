"""The coroutine lane: `async def` handlers on the application's loop, which may be another thread's.

Owned by the worker of a consumer. A batch of units crosses to the loop with one wake-up, and outcomes come back in the
same way. So a handler that blocks the loop delays handlers and nothing else (L9).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Generic

from leasekeeper.errors import Closed
from leasekeeper.lanes.api import Answer, U
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.lanes.pool_dispatch import PoolDispatch
from leasekeeper.lanes.semaphore_dispatch import SemaphoreDispatch
from leasekeeper.outcomes import NOT_STARTED, Failed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from leasekeeper.lanes.api import Answers, LaneStatistics, UnitHandler
    from leasekeeper.lanes.dispatch import Strategy
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome


class CoroutineLane(Generic[U]):
    """Runs a coroutine handler on `loop`; answers go to `answers` in batches."""

    def __init__(
        self,
        handler: UnitHandler[U],
        options: Options,
        *,
        loop: asyncio.AbstractEventLoop,
        answers: Answers[U],
        clock: Callable[[], float],
    ) -> None:
        self.looks_before_start = True
        self._loop = loop
        self._answers = answers
        self._outgoing: list[Answer[U]] = []
        run = partial(handler.run, answers.post_one)
        self._strategy: Strategy[U]
        if options.dispatch == "pool":
            self._strategy = PoolDispatch(
                run,
                self._reply,
                clock,
                concurrency=options.concurrency,
                waiting_room=options.max_in_flight,
                idle_timeout=options.idle_timeout,
            )
        else:
            self._strategy = SemaphoreDispatch(run, self._reply, clock, concurrency=options.concurrency)
        self._inbox: Mailbox[U] = Mailbox(loop, self._strategy.submit)

    async def open(self) -> None:
        """Nothing: a task needs no preparation."""

    def submit(self, units: Sequence[U]) -> bool:
        """Run the handler for each, or let them wait. False: the loop is ending or closed, and each is answered."""
        if self._strategy.down:
            self._answers.post([Answer(unit, NOT_STARTED) for unit in units])
            return False
        return self._inbox.post(units) or self._answer_all()

    def follow(self, units: Sequence[U]) -> None:
        """As `submit`, where answers are sent: on the loop, unless that is closed already."""
        if self._loop.is_closed():
            self._answers.post([Answer(unit, NOT_STARTED) for unit in units])
        else:
            self._strategy.submit(units)

    def _reply(self, unit: U, outcome: Outcome) -> None:
        outgoing = self._outgoing
        if not outgoing:
            # Answers of handlers that end in one turn of the loop are sent together, in the turn after.
            self._loop.call_soon(self._send)
        outgoing.append(Answer(unit, outcome))

    def _send(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._answers.post(outgoing)

    def resize(self, options: Options) -> None:
        """Let more handlers run at the same time, or fewer: those that are too many run to their end."""
        self._on_loop(self._strategy.resize, options.concurrency)

    def stop_collecting(self) -> None:
        """Nothing is joined here."""

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        self._on_loop(self._strategy.recall)

    def end(self, unit: U | None = None) -> bool:
        """Cancel the handler of that unit, or of all."""
        return self._on_loop(self._strategy.end, unit)

    async def close(self) -> None:
        """Let idle workers go."""
        self._on_loop(self._strategy.dismiss)

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> bool:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the application's loop is closed
            return self._answer_all()
        return True

    def _answer_all(self) -> bool:
        """Answer for everything that is here, now that the loop is closed and no handler runs on; always False.

        No lock: the loop's thread has left the loop, so only the engine uses the strategy now.
        """
        waiting, running = self._strategy.abandon()
        answers, self._outgoing = self._outgoing, []
        answers += [Answer(unit, NOT_STARTED) for unit in (*waiting, *self._inbox.take_back())]
        if running:
            lost = Failed(Closed("the event loop was closed while the handler ran on it; its message is retried"))
            answers += [Answer(unit, lost) for unit in running]
        if answers:
            self._answers.post(answers)
        return False

    def statistics(self) -> LaneStatistics:
        """What it is doing now."""
        now = self._strategy.statistics()
        return replace(now, waiting=now.waiting + len(self._inbox))

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<CoroutineLane {now.running} running, {now.waiting} waiting, {now.workers} workers>"
