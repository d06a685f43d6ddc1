"""Calls that block, on daemon threads of ours: the name resolver, files of the AWS configuration, users' functions.

The loop's default executor is not used: no exit waits for these threads, and they work after the main thread's end.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """Run a function that blocks in a thread, and return or raise what it returns or raises.

    Raises:
        RuntimeError: no thread can be started: the interpreter is shutting down, or the process has too many.
    """
    return (await started(function))()


def started(function: Callable[[], T]) -> asyncio.Future[Callable[[], T]]:
    """Start a function that blocks in a thread; the future's result, when called, returns or raises what it did.

    The future itself never fails, so nothing is logged when it is no longer awaited.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Callable[[], T]] = loop.create_future()

    def settle(outcome: Callable[[], T]) -> None:
        if not future.done():
            future.set_result(outcome)

    def run() -> None:
        raised: BaseException | None = None
        answer: Any = None
        try:
            answer = function()
        except BaseException as error:  # SystemExit too: it is raised where it is awaited
            raised = error

        def outcome() -> T:
            if raised is not None:
                raise raised
            return answer  # type: ignore[no-any-return] # the function's

        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            return  # the loop was closed in the meantime: nothing waits any more

    threading.Thread(target=run, name="leasekeeper-blocking", daemon=True).start()
    return future
