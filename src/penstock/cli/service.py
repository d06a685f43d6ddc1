"""All targets of a `penstock run` as one service, and its end in bounded time.

Owned by `penstock run`. It promises to start all or none, to stop all at once, and that the process ends even when a
handler blocks the event loop that it shares with the main thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from penstock.cli.errors import Exit
from penstock.observe.statistics import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.cli.targets import Target
    from penstock.consumer import Consumer

log = logging.getLogger("penstock.run")

LINGER = 5.0
"""Seconds the main thread gets to end by itself after its consumers have ended."""


class Services:
    """Several apps and consumers as one `penstock.running.Service`."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self.stop_asked = threading.Event()
        """Set by the first signal, also while the main thread is in a handler that blocks."""

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
        """Ask for a stop from a signal handler."""
        for each in self._targets:
            each.request_stop(force=force)
        self.stop_asked.set()


def end_in_bounded_time(services: Services, consumers: Sequence[Consumer], over: threading.Event) -> None:
    """See to it that the process ends after a stop, though the main thread may be stuck in a handler that blocks."""

    def watch() -> None:
        services.stop_asked.wait()
        if over.is_set():
            return
        longest = max(each.options.drain_timeout for each in consumers)
        log.info("stopping: handlers have %g s to finish; another signal cuts that short", longest)
        reports = [each.stop().result() for each in consumers]
        if not over.wait(LINGER):
            tell(reports)
            log.error("what a handler began still blocks the event loop or a thread; the process ends without it")
            logging.shutdown()
            os._exit(Exit.FAILED)

    threading.Thread(target=watch, name="penstock-end", daemon=True).start()


def tell(reports: Sequence[Report]) -> None:
    """Log what each consumer did."""
    for each in reports:
        log.info("%s", each, extra={"report": {name: getattr(each, name) for name in each.__dataclass_fields__}})
