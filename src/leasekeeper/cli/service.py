"""All targets of a `leasekeeper run` as one service, and its end in bounded time.

Owned by `leasekeeper run`. It promises to start all or none, to stop all at once, and that the process ends even when a
handler blocks the event loop that it shares with the main thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from leasekeeper.cli.errors import Exit
from leasekeeper.engine.runner import END_GRACE
from leasekeeper.observe.statistics import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.cli.targets import Target
    from leasekeeper.consumer import Consumer

log = logging.getLogger("leasekeeper.run")

LINGER = 5.0
"""Seconds the main thread gets to end by itself after its consumers have ended."""


class Services:
    """Several apps and consumers as one `leasekeeper.running.Service`."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self.signalled = False
        """Whether a signal asked for the stop."""
        # A queue, and not an event: a second signal may come while the first one's handler is in here, and an event's
        # lock would then wait for itself.
        self._words: SimpleQueue[bool] = SimpleQueue()

    async def start(self) -> None:
        """Start all; if one cannot start, those that have are stopped."""
        results = await asyncio.gather(*(each.start() for each in self._targets), return_exceptions=True)
        errors = [each for each in results if isinstance(each, BaseException)]
        if errors:
            await self.stop()
            raise errors[0]
        log.info("ready: %s", ", ".join(repr(each) for each in self._targets))

    async def wait(self) -> None:
        """Wait until all have ended by themselves."""
        await asyncio.gather(*(each.wait() for each in self._targets), return_exceptions=True)

    async def stop(self) -> tuple[Report, ...]:
        """Stop all at once; their reports."""
        ends: list[Any] = await asyncio.gather(*(each.stop() for each in self._targets), return_exceptions=True)
        reports: list[Report] = []
        for end in ends:
            if isinstance(end, BaseException):
                log.error("a consumer ended by an error", exc_info=end)
            else:
                reports += (end,) if isinstance(end, Report) else end
        return tuple(reports)

    def request_stop(self, *, force: bool = False) -> None:
        """Ask for a stop from a signal handler, also while the main thread is in a handler that blocks."""
        self.signalled = True
        for each in self._targets:
            each.request_stop(force=force)
        self._words.put(True)

    def release(self) -> None:
        """Let go of who waits for a signal: none will come any more."""
        self._words.put(False)

    def await_signal(self) -> bool:
        """Wait, in a thread, until a signal asks for a stop; false when there was none."""
        return self._words.get()


def end_in_bounded_time(services: Services, consumers: Sequence[Consumer], over: threading.Event) -> None:
    """See to it that the process ends after a stop, though the main thread may be stuck in a handler that blocks."""

    def watch() -> None:
        if not services.await_signal():
            return
        longest = max(each.options.drain_timeout for each in consumers)
        log.info("stopping: handlers have %g s to finish; another signal cuts that short", longest)
        reports: list[Report] = []
        settling = threading.Thread(
            target=lambda: reports.extend(each.stop().result() for each in consumers),
            name="leasekeeper-stop",
            daemon=True,
        )
        settling.start()
        settling.join(max(map(longest_stop, consumers)))
        if not over.wait(LINGER):
            tell(reports)
            log.error("what a handler began still blocks the event loop or a thread; the process ends without it")
            logging.shutdown()
            os._exit(Exit.FAILED)

    threading.Thread(target=watch, name="leasekeeper-end", daemon=True).start()


def longest_stop(consumer: Consumer) -> float:
    """Seconds a consumer's stop may take, all its time-outs together."""
    options = consumer.options
    return options.poll_grace + options.drain_timeout + END_GRACE + options.flush_timeout + LINGER


def tell(reports: Sequence[Report]) -> None:
    """Log what each consumer did."""
    for each in reports:
        log.info("%s", each, extra={"report": {name: getattr(each, name) for name in each.__dataclass_fields__}})
