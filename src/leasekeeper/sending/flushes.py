"""Flushes: callers that wait until everything that was accepted before them is sent, or until their time is over.

Owned by the sender's loop, on which all but `Flush()` runs. It promises that each flush ends and names failed posts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.errors import Unsent
from leasekeeper.futures import running_future

if TYPE_CHECKING:
    from collections.abc import Iterable

    from leasekeeper.sending.dispatcher import Entry
    from leasekeeper.sending.unsent import FailedPosts


class Flush:
    """Asks for everything that was accepted before it; made on any thread.

    Attributes:
        done: done when SQS has it, or when the time is over.
    """

    def __init__(self) -> None:
        self.done = running_future()


class Flushes:
    """The flushes of one sender that have not ended.

    Args:
        queue: the queue's name.
        limit: seconds that each may take.
        unsent: the posts that failed; the flush that ends next names them.
    """

    def __init__(self, queue: str, limit: float, unsent: FailedPosts) -> None:
        self._queue = queue
        self._limit = limit
        self._unsent = unsent
        self._waiting: dict[Flush, tuple[set[Entry], asyncio.TimerHandle]] = {}

    def begin(self, flush: Flush, outstanding: Iterable[Entry]) -> None:
        """Let a flush wait for these entries."""
        timer = asyncio.get_running_loop().call_later(self._limit, self._end, flush)
        self._waiting[flush] = set(outstanding), timer
        self._end_complete()

    def answered(self, entries: Iterable[Entry]) -> None:
        """These entries are sent, or have failed."""
        if self._waiting:
            gone = set(entries)
            for left, _ in self._waiting.values():
                left.difference_update(gone)
            self._end_complete()

    def end_all(self) -> None:
        """End every flush now."""
        for flush in list(self._waiting):
            self._end(flush)

    def _end_complete(self) -> None:
        for flush in [each for each, (left, _) in self._waiting.items() if not left]:
            self._end(flush)

    def _end(self, flush: Flush) -> None:
        left, timer = self._waiting.pop(flush)
        timer.cancel()
        error = self._unsent.take(self._queue)
        if error is None and left:
            error = Unsent(
                f"{len(left):,} messages to {self._queue} were not confirmed within "
                f"flush_timeout={self._limit:g} s; they are still tried",
                [(entry.outgoing, TimeoutError()) for entry in left],
            )
        if error is None:
            flush.done.set_result(None)
        else:
            flush.done.set_exception(error)
