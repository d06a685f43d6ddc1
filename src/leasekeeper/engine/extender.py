"""The visibility extender: buffers receipts, flushes at ten or on a timer, and sets their visibility in bulk.

Owned by the runner. The heartbeat gives it leases to extend, the worker messages to give back. One writer a receipt:
the ledger holds a release back until the extension of the same receipt has been answered (L5).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from leasekeeper.core.delivery import Action, deadline_of
from leasekeeper.core.states import State
from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.calls import PASSING, SHORTEST, Pauses, by_entry, limited, nobody_listens, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import EntryFailure
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext


RESERVE = 0.35
"""Seconds of a lease, at least, that an extension without an answer leaves for another try."""


def _patience(left: float) -> float:
    """How long to wait for an extension's answer: a client would wait longer than a short lease lasts (L7).

    Not for releases: one given up may still take effect, and the next would set the same back-off anew (L5).
    """
    return max(left - max(left / 4, RESERVE), SHORTEST)


class Change(NamedTuple):
    """A visibility change that waits: an extension of the lease, or its end."""

    row: Delivery
    extends: bool


class Extender:
    """Changes visibility, ten receipts a call."""

    def __init__(self, context: QueueContext, *, linger: float) -> None:
        self._context = context
        self.answered: Callable[[], None] = nobody_listens
        """Called after each answer: leases have moved."""
        self._pauses = Pauses(context.draw)
        self.batcher: Batcher[Change] = Batcher(
            "visibility", self._send, size=10, linger=linger, clock=context.clock, logger=context.logger
        )

    def extend(self, rows: Sequence[Delivery]) -> None:
        """Extend the leases of these deliveries, which the ledger has marked as beating."""
        if rows:
            changes = [Change(row, extends=True) for row in rows]
            self.batcher.add(changes, latest=min(map(deadline_of, rows)) - 1.0)

    def release(self, row: Delivery) -> None:
        """Give this message back: visible again after the seconds the ledger noted."""
        self.batcher.add([Change(row, extends=False)], latest=row.lease.deadline - 1.0)

    async def _send(self, changes: list[Change]) -> None:
        context = self._context
        sent = context.clock()
        calls = [
            (change, change.row.receipt, seconds) for change in changes if (seconds := self._seconds(change, sent)) >= 0
        ]
        if not calls:
            self.answered()
            return
        entries = [(receipt, seconds) for _, receipt, seconds in calls]
        call = context.client.change_visibility_batch(context.queue_url, entries)
        ends = [change.row.lease.deadline for change, _, _ in calls if change.extends]
        answers = await by_entry(
            limited(call, _patience(min(ends) - sent)) if ends else call, len(calls), context.logger
        )
        now = context.clock()
        extensions = [index for index, (change, _, _) in enumerate(calls) if change.extends]
        if extensions:
            context.tally.heartbeat_calls += 1
        extended = [(calls[i][0].row, calls[i][1], calls[i][2]) for i in extensions if answers[i] is None]
        for row in context.ledger.extended(extended, sent):
            self.release(row)
        pause = self._pauses.note(failed=any(answers))
        for (change, receipt, _), failure in zip(calls, answers, strict=True):
            if change.extends:
                if failure is not None:
                    self._extension_failed(change.row, failure, now, receipt)
            elif failure is None:
                context.ledger.released(change.row)
            else:
                self._release_failed(change, failure, now, pause)
        self.answered()

    def _seconds(self, change: Change, now: float) -> int:
        """What to ask for; -1 when the change has become pointless."""
        ledger = self._context.ledger
        if not change.extends:
            return math.ceil(change.row.release_after) if change.row.state is State.RELEASING else -1
        seconds = ledger.extension(change.row, now)
        if seconds > 0:
            return seconds
        if ledger.extension_failed(change.row, None, now) is Action.RELEASE:
            self.release(change.row)
        return -1

    def _extension_failed(self, row: Delivery, failure: EntryFailure, now: float, receipt: str) -> None:
        if row.state is not State.ACKED:  # a delete that was quicker leaves nothing to extend: no error (L5)
            self._context.tally.heartbeat_failures += 1
            self._context.tally.failed_entry(failure.code)
        if self._context.ledger.extension_failed(row, failure.verdict, now, receipt) is Action.RELEASE:
            self.release(row)

    def _release_failed(self, change: Change, failure: EntryFailure, now: float, pause: float) -> None:
        context, row = self._context, change.row
        context.tally.failed_entry(failure.code)
        again = now + within(pause, row.lease.deadline - now)
        if failure.verdict in PASSING and context.ledger.may_try_again(row, again):
            self.batcher.put_back(change, ready=again)
            return
        context.ledger.released(row, refused=True)
        context.logger.warning(
            "message %s could not be given back (%s: %s); it comes again when its visibility timeout ends",
            row.received.message_id,
            failure.code,
            failure.message,
        )

    async def run(self) -> None:
        """Change visibility until closed and empty."""
        await self.batcher.run()

    def close(self) -> None:
        """Send everything that waits, at once."""
        self.batcher.close()

    def __repr__(self) -> str:
        return f"<Extender {self.batcher!r}>"
