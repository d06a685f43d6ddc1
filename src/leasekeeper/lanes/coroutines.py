"""The coroutine lane: `async def` handlers on the application's loop, which may be another thread's.

Owned by the worker of a consumer. Units cross to the loop with one wake-up a batch and outcomes come home the same
way, so a loop that a handler blocks delays handlers and nothing else (L9).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic

from leasekeeper.lanes.api import Answer, U
from leasekeeper.lanes.dispatch import PoolDispatch, SemaphoreDispatch
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.outcomes import NOT_STARTED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from leasekeeper.lanes.api import LaneStatistics, UnitHandler
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
        answers: Mailbox[Answer[U]],
        clock: Callable[[], float],
    ) -> None:
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

    def submit(self, units: Sequence[U]) -> bool:
        """Run the handler for each, or let them wait; False, and gives them back at once, when the loop is closed."""
        if self._inbox.post(units):
            return True
        # Nor will what was posted before it closed be received any more.
        self._answers.post([Answer(unit, NOT_STARTED) for unit in self._inbox.take_back()])
        return False

    def _reply(self, unit: U, outcome: Outcome) -> None:
        outgoing = self._outgoing
        if not outgoing:
            # Handlers that end in one turn of the loop go home together, in the turn after.
            self._loop.call_soon(self._send)
        outgoing.append(Answer(unit, outcome))

    def _send(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._answers.post(outgoing)

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
        except RuntimeError:  # the application's loop is closed: its handlers are gone with it
            return False
        return True

    def statistics(self) -> LaneStatistics:
        """What it is doing now."""
        return self._strategy.statistics()

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<CoroutineLane {now.running} running, {now.waiting} waiting, {now.workers} workers>"
