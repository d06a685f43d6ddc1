"""Whether the application's loop is ending, as `asyncio.run` ends one: it cancels every task, then waits for them.

Owned by a dispatch strategy, on the application's loop. A handler's own task may be cancelled for many reasons (a
time-out in a library, a test, an impatient user); that says nothing about the loop. So one task is kept that does
nothing: only code that cancels all tasks cancels it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class LoopEndWatch(asyncio.Task[None]):
    """Calls `ending` once, inside of the `cancel()` of this task: before any cancelled task runs another line.

    The loop does not run at that moment, so `ending` may not ask for the running loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ending: Callable[[], None]) -> None:
        self._ending = ending
        self._over = loop.create_future()
        super().__init__(_until(self._over), loop=loop, name="leasekeeper-lane")
        self._log_destroy_pending = False  # a loop that is closed without its end is no news of this task

    def cancel(self, msg: Any | None = None) -> bool:
        """Report that the loop is ending, then be cancelled as any task."""
        if not self._over.done():
            self._over.cancel()
            self._ending()
        return super().cancel(msg)

    def dismiss(self) -> None:
        """End the task; nothing is reported any more."""
        if not self._over.done():
            self._over.set_result(None)


async def _until(over: asyncio.Future[None]) -> None:
    await over
