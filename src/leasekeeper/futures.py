"""Futures of `concurrent.futures` that our own code completes: made, chained and waited for without a loop or a thread.

On the ground floor. Used where synchronous code, event loops and signal handlers all wait for the same start or stop.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def running_future() -> Future[Any]:
    """A future that no caller can cancel."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def done_future(result: T) -> Future[T]:
    """A future that has its result."""
    future: Future[T] = running_future()
    future.set_result(result)
    return future


def failed_future(error: BaseException) -> Future[Any]:
    """A future that has failed."""
    future = running_future()
    future.set_exception(error)
    return future


def when_all(futures: Sequence[Future[Any]], call: Callable[[], None]) -> None:
    """Call once all are done: in the thread that completes the last of them, or here if all are done already."""
    left, lock = len(futures), threading.Lock()

    def count(_: object) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            call()

    for future in futures:
        future.add_done_callback(count)
    if not futures:
        call()
