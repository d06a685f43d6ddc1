"""The lives of consumers in this process, so that none is cut off when the process ends, and none survives a fork.

Lives add themselves at their beginning and leave at their end.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from concurrent.futures import Future

log = safe_logger("leasekeeper.run")


class AtWork(Protocol):
    """What has begun and not ended; `leasekeeper.life.Life` is it."""

    ended: Future[Any]

    @property
    def forked(self) -> bool:
        """Whether it is of the parent process."""
        ...

    @property
    def queue(self) -> str:
        """The queue's name."""
        ...

    @property
    def longest_stop(self) -> float:
        """Seconds that its stop may take."""
        ...

    def stop(self, *, force: bool = False) -> None:
        """Ask for its end."""
        ...


beginning = threading.RLock()
"""Held while a life begins, and during a fork: no child inherits it held, nor half a beginning."""
alive: set[AtWork] = set()


def drain_at_exit() -> None:
    """Drain what is still at work when the process ends: killed in the middle, its messages would stay hidden."""
    lives = [life for life in list(alive) if not life.forked]
    if not lives:
        return
    longest = max(life.longest_stop for life in lives)
    log.warning(
        "the program ends while consumers run (%s): draining, in at most %g s. Call stop() before the end, or use "
        "run() or `async with`",
        ", ".join(sorted(life.queue for life in lives)),
        longest,
    )
    for life in lives:
        life.stop()
    ends = [life.ended for life in lives]
    try:
        left = concurrent.futures.wait(ends, longest).not_done
    except KeyboardInterrupt:
        for life in lives:
            life.stop(force=True)
        left = concurrent.futures.wait(ends, longest).not_done
    for end in ends:
        if end in left:
            log.error("a consumer did not end in time; its messages come again when their visibility timeout ends")
        elif end.exception() is None:
            log.warning("%s", end.result())


atexit.register(drain_at_exit)


def drain_last() -> None:
    """Drain before what was registered until now: `multiprocessing` waits for its processes when it is its turn."""
    atexit.unregister(drain_at_exit)
    atexit.register(drain_at_exit)


def _after_fork() -> None:
    alive.clear()
    beginning.release()


os.register_at_fork(before=beginning.acquire, after_in_parent=beginning.release, after_in_child=_after_fork)
