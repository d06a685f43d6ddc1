"""All targets of a `leasekeeper run` as one service.

Owned by `leasekeeper run`. It promises that the log says when all are ready, and what each consumer did.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from leasekeeper.cli.words import counted
from leasekeeper.loggers import safe_logger
from leasekeeper.observe.statistics import Report
from leasekeeper.running import Several

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from leasekeeper.cli.targets import Target
    from leasekeeper.supervision.lifeline import Lifeline

log = safe_logger("leasekeeper.run")


class Services(Several):
    """Several apps and consumers as one `leasekeeper.running.Service`."""

    def __init__(self, targets: Sequence[Target], lifeline: Lifeline | None = None) -> None:
        super().__init__(targets)
        self._targets = targets
        self._lifeline = lifeline
        self.signalled = False
        """Whether a signal asked for the stop."""
        self.forced = False
        """Whether a second signal cut the stop short."""
        self.begun = False
        """Whether it was started."""
        self._asked: float | None = None

    def begin(self) -> Future[None]:
        """Start all or none; the log says when they are ready."""
        self.begun = True
        if self._lifeline is not None:
            self._lifeline.begins()
        begun = super().begin()
        begun.add_done_callback(self._tell_ready)
        return begun

    def _tell_ready(self, begun: Future[None]) -> None:
        if begun.exception() is None:
            log.info("ready: %s", ", ".join(repr(target) for target in self._targets))
            if self._lifeline is not None:
                self._lifeline.tell(ready=self.longest_stop)

    def stop_unasked(self) -> None:
        """Stop although no signal asks for it: there is nothing left to do."""
        self._asked = self._asked or time.monotonic()
        super().request_stop()

    def request_stop(self, *, force: bool = False) -> None:
        """Ask for a stop from a signal handler, also while the main thread is in a handler that blocks."""
        self.signalled = True
        self._asked = self._asked or time.monotonic()
        self.forced |= force
        super().request_stop(force=force)

    @property
    def stop_left(self) -> float:
        """Seconds that the stop might still have taken; 0 if a second signal cut it short."""
        if self.forced:
            return 0.0
        return self.longest_stop - (0.0 if self._asked is None else time.monotonic() - self._asked)


def reports_of(results: Sequence[Report | tuple[Report, ...]]) -> list[Report]:
    """The reports of all consumers, whether their target is an app or a consumer."""
    return [report for result in results for report in ((result,) if isinstance(result, Report) else result)]


def tell(reports: Sequence[Report], *, forced: bool) -> None:
    """Log what each consumer did, and what a forced stop gave up."""
    for report in reports:
        log.info("%s", report, extra={"report": {name: getattr(report, name) for name in report.__dataclass_fields__}})
    if forced:
        cancelled = sum(report.given_back.get("ended", 0) for report in reports)
        still_open = sum(report.still_open for report in reports)
        log.warning(
            "a second signal cut the drain short: %s (%d given back by the cancelling of handlers, %d unsettled)",
            _come_again(cancelled + still_open),
            cancelled,
            still_open,
        )


def _come_again(count: int) -> str:
    """`1 message comes again`, `2 messages come again`."""
    return f"{counted(count, 'message')} {'comes' if count == 1 else 'come'} again"
