"""Interruptions of a command: SIGTERM does what Ctrl-C does, and the work has the time to leave nothing behind.

Used by the commands that talk to a queue for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    """Run a command's work to its end.

    Raises:
        KeyboardInterrupt: SIGTERM or Ctrl-C cancelled it.
    """

    async def interruptible() -> T:
        with ending_on_sigterm():
            return await work

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def finished(work: Coroutine[object, object, object], stop: Callable[[], object]) -> bool:
    """Wait for the work; at an interruption ask it to stop, and wait for it all the same. Whether it was interrupted.

    So a receive that has begun is answered: SQS has hidden the messages in the answer.
    """
    task, interrupted = asyncio.ensure_future(work), False
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise
        interrupted = True
        stop()
        await task
    return interrupted


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: cancel this task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not on Windows, not in threads
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGTERM)
