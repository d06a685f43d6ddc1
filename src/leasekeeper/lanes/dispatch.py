"""How coroutine handlers are dispatched: what the two strategies have in common.

Used by the coroutine lane, on the application's loop only. Both strategies keep the concurrency, let the rest wait in
order, and answer every unit exactly once. A task that is cancelled from outside costs its own message a failure and
nothing else; when the loop itself ends, what waits is answered and nothing is started (`leasekeeper.lanes.loop_end`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from leasekeeper.lanes.api import LaneStatistics, U
from leasekeeper.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextvars import Context

Run = Callable[[U], "Coroutine[None, None, Outcome]"]
Reply = Callable[[U, Outcome], None]
Clock = Callable[[], float]


class Strategy(Protocol[U]):
    """Decides which units run, and when."""

    @property
    def down(self) -> bool:
        """Whether the loop is ending, so that nothing is started any more. May be read from any thread."""
        ...

    def submit(self, units: Sequence[U]) -> None:
        """Run each now, or let it wait."""
        ...

    def resize(self, concurrency: int) -> None:
        """Let more run at the same time, or fewer; those that are too many run to their end."""
        ...

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        ...

    def end(self, unit: U | None) -> None:
        """Cancel the handler of that unit, or of all."""
        ...

    def dismiss(self) -> None:
        """Let idle workers go."""
        ...

    def abandon(self) -> tuple[list[U], list[U]]:
        """Forget what waits and what runs, and return both: for the lane, once the loop is closed."""
        ...

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        ...


def new_task(
    work: Coroutine[None, None, None], context: Context, loop: asyncio.AbstractEventLoop
) -> asyncio.Task[None]:
    """A task in a fresh copy of `context`, not in the context of the handler that ended before it.

    Never an eager task: if the application's loop has such a factory, the task would run before it is in our tables.
    All have one name, because numbering them, as asyncio does, takes a fifth of the time of making a task.
    """
    return asyncio.Task(work, loop=loop, context=context.copy(), name="leasekeeper-handler")


def is_unstarted(task: asyncio.Task[None]) -> bool:
    """Whether it was made in this very turn of the loop."""
    work = task.get_coro()
    return inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED


def take_back_cancellations(task: asyncio.Task[None]) -> None:
    """Let the task run on as if it had not been cancelled."""
    for _ in range(task.cancelling()):
        task.uncancel()
