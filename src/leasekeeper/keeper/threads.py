"""The threads that make the keeper's calls.

Owned by the keeper's process, or by a supervisor, which shares them among the processes that it watches.
"""

from __future__ import annotations

import queue
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 16
"""Calls out at once."""
STACK = 256 * 1024
"""Bytes of a thread's stack, which bound only what is reserved."""


class Threads:
    """The threads that make the calls."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._started = False

    def start(self) -> None:
        """Start them, now: when memory is short it may be too late."""
        if self._started:
            return
        self._started = True
        before = threading.stack_size(STACK)
        try:
            for number in range(THREADS):
                threading.Thread(target=self._work, name=f"leasekeeper-keeper-{number}", daemon=True).start()
        finally:
            threading.stack_size(before)

    def do(self, job: Callable[[], None]) -> None:
        """Do a job, when a thread is free."""
        self._jobs.put(job)

    def close(self) -> None:
        """Let each thread end when the jobs before are done. The threads of a process end with it without this."""
        for _ in range(THREADS if self._started else 0):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # a thread that ends takes no more jobs
                sys.stderr.write(f"leasekeeper: the keeper: a call failed unexpectedly: {error!r}\n")
