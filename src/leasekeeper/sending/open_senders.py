"""Senders that are open when the process ends: they are closed, so that what they accepted is sent or named.

Used by the loops of senders.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import os
from typing import TYPE_CHECKING, Any, Protocol

from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from concurrent.futures import Future

log = safe_logger("leasekeeper.send")


class Open(Protocol):
    """Something that has accepted messages."""

    def finish(self) -> Future[Any]:
        """Close without waiting."""
        ...


_open: set[Open] = set()


def remember(each: Open) -> None:
    """Close it when the process ends."""
    _open.add(each)


def forget(each: Open) -> None:
    """It is closed."""
    _open.discard(each)


def close_all() -> None:
    """Close them, and wait; may be called again."""
    left = list(_open)
    ends = [each.finish() for each in left]
    for each, end in zip(left, ends, strict=True):
        error = _error_of(end)
        if error is not None:
            log.error("%r: the process ends, and %s", each, error)


def _error_of(end: Future[Any]) -> BaseException | None:
    """How it ended; each bounds its end itself."""
    try:
        return end.exception()
    except concurrent.futures.CancelledError as error:
        return error


atexit.register(close_all)
os.register_at_fork(after_in_child=_open.clear)
