"""The visibility extender: buffers receipts, flushes at ten or on a timer, and sets their visibility in batches.

Owned by the runner. The heartbeat gives it leases to extend, the runner messages to give back. Each of the two has a
batcher, because an extension must never wait behind releases (L7). One writer a receipt: the ledger holds a release
back until every extension of the same receipt has been answered (L5); for that reason no extension is ever cancelled.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action, Delivery, deadline_of, note
from leasekeeper.core.states import State
from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.calls import FailedEntries, call_batch, emit_failures, refusal_of
from leasekeeper.engine.health import CHANGE
from leasekeeper.events import InternalError, LeasesExtended, MessagesReleased

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.api import EntryFailure
    from leasekeeper.engine.context import QueueContext

LAST_MOMENT = 1.0
"""Seconds before the end of a lease at which a release is sent although an extension has not been answered."""
PART = 3
"""An extension may take this part of what is left of its lease before another one is sent beside it."""
ROUNDING = 1e-6
"""Seconds that a sum of times may be too high: ten seconds must not become eleven."""
_NOTHING_TO_EXTEND = (State.ACKED, State.RELEASED)
"""After a delete or a release that was quicker: no error (L5)."""
SECOND_TRY = 0.2
"""Seconds at least that it may take."""


class Extender:
    """Changes visibility, ten receipts a call."""

    def __init__(self, context: QueueContext, *, linger: float) -> None:
        self._context = context
        self._failed = FailedEntries(context, CHANGE)
        self._closing = False
        self._out: set[Delivery] = set()
        """Those with a release on its way beside an extension."""
        self._in_time: dict[Delivery, asyncio.TimerHandle] = {}
        """Releases that wait for the answers to their extensions, with the timers that send them before that."""
        self.extensions: Batcher[Delivery] = Batcher(
            "extensions", self._extend, size=10, linger=linger, clock=context.clock, failed=self._bug
        )
        self.releases: Batcher[Delivery] = Batcher(
            "releases",
            self._release,
            size=10,
            linger=linger,
            clock=context.clock,
            failed=self._bug,
            keep_open=self._extensions_needed,
        )

    def extend(self, rows: Sequence[Delivery]) -> None:
        """Extend the leases of these deliveries, of which the ledger has counted one more extension as out."""
        if rows:
            self.extensions.add(rows, latest=min(map(deadline_of, rows)) - 1.0)

    def release(self, rows: Sequence[Delivery]) -> None:
        """Give these messages back: visible again when the ledger noted."""
        if rows:
            if self._in_time:
                self._forget_timers(rows)
            self.releases.add(rows, latest=min(map(deadline_of, rows)) - 1.0)

    def release_in_time(self, rows: Sequence[Delivery]) -> None:
        """Give these back just before their leases end, if the answers to their extensions do not come earlier.

        At a stop they are given back at once. An extension that takes effect after that is answered later, and then
        the release is sent once more.
        """
        if self._closing:
            self.release(rows)
            return
        loop, now = asyncio.get_running_loop(), self._context.clock()
        for row in rows:
            delay = max(0.0, row.lease.deadline - LAST_MOMENT - now)
            self._in_time[row] = loop.call_later(delay, self.release, [row])

    def _forget_timers(self, rows: Sequence[Delivery]) -> None:
        for row in rows:
            if (timer := self._in_time.pop(row, None)) is not None:
                timer.cancel()

    # Extensions

    async def _extend(self, rows: list[Delivery]) -> None:
        context, leases = self._context, self._context.ledger.leases
        sent = context.clock()
        entries: list[tuple[Delivery, str, int]] = []
        for row in rows:
            seconds = leases.seconds_for(row, sent)
            if seconds > 0:
                entries.append((row, row.receipt, seconds))
            else:
                context.act(leases.extension_failed(row, None, sent), [row])
        if entries:
            await self._call(entries, sent)
        context.moved()
        context.left()
        if self._closing:
            self.releases.close()  # the last release may have waited for this answer

    async def _call(self, entries: list[tuple[Delivery, str, int]], sent: float) -> None:
        context, leases = self._context, self._context.ledger.leases
        rows = [row for row, _, _ in entries]
        patience = max((min(map(deadline_of, rows)) - sent) / PART, SECOND_TRY)
        second = asyncio.get_running_loop().call_later(patience, self._try_beside, rows)
        try:
            call = context.client.change_visibility_batch(
                context.source.url, [(receipt, seconds) for _, receipt, seconds in entries]
            )
            answers = await call_batch(context, call, len(entries))
        finally:
            second.cancel()
        now = context.clock()
        extended = [entry for entry, failure in zip(entries, answers, strict=True) if failure is None]
        context.act(Action.RELEASE, leases.extended(extended, sent))
        note((row for row, _, _ in extended), "extended", now)
        if len(extended) < len(entries):
            self._extensions_failed(entries, answers, now)
        context.emit(LeasesExtended(context.queue, len(extended), now - sent, refusal_of(answers)))
        if extended and context.health.problem is not None:
            context.health.succeeded(CHANGE, now)

    def _try_beside(self, rows: list[Delivery]) -> None:
        """The answer takes long: send another extension beside it, and leave the first one on its way (L5, L7)."""
        leases, now = self._context.ledger.leases, self._context.clock()
        self.extend([row for row in rows if leases.extend_again(row, now)])

    def _extensions_failed(
        self, entries: list[tuple[Delivery, str, int]], answers: list[EntryFailure | None], now: float
    ) -> None:
        context = self._context
        failed: list[tuple[Delivery, EntryFailure]] = []
        for (row, receipt, _), failure in zip(entries, answers, strict=True):
            if failure is None:
                continue
            if row.state not in _NOTHING_TO_EXTEND:
                failed.append((row, failure))
            action = context.ledger.leases.extension_failed(row, failure.verdict, now, receipt, failure.retry_after)
            context.act(action, [row])
        if failed:
            emit_failures(context, CHANGE, failed, heartbeat=True)

    # Releases

    async def _release(self, rows: list[Delivery]) -> None:
        context, ledger = self._context, self._context.ledger
        sent = context.clock()
        # What is out is looked at again when it is answered.
        rows = [row for row in dict.fromkeys(rows) if row not in self._out and not ledger.released_for_good(row, sent)]
        if not rows:
            context.left()
            return
        beside = {row for row in rows if row.extending}
        for row in beside:
            ledger.release_sent(row)
        self._out |= beside
        entries = [(row.receipt, max(0, math.ceil(row.visible_at - sent - ROUNDING))) for row in rows]
        answers = await call_batch(
            context, context.client.change_visibility_batch(context.source.url, entries), len(rows)
        )
        self._out -= beside
        now = context.clock()
        confirmed = [row for row, failure in zip(rows, answers, strict=True) if failure is None]
        for row in confirmed:
            ledger.released(row, now, beside=row in beside)
        if confirmed:
            ledger.endings.hide([row for row in confirmed if row.state is State.RELEASED], now)
            self._failed.failed_calls = 0
            if context.health.problem is not None:
                context.health.succeeded(CHANGE, now)
            self.release([row for row in confirmed if row.state is State.RELEASING and not row.extending])
        if len(confirmed) < len(rows):
            failed = [(row, failure) for row, failure in zip(rows, answers, strict=True) if failure is not None]
            given_up = self._failed.put_back(self.releases, failed, whole=not confirmed, now=now)
            for row, _ in given_up:
                ledger.released(row, refused=True)
            if given_up:
                self._failed.emit(given_up, given_up=True)
        context.emit(MessagesReleased(context.queue, len(confirmed), now - sent, refusal_of(answers)))
        context.left()

    # Its life

    async def run(self) -> None:
        """Change visibility until closed and all releases are confirmed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.extensions.run())
            await self.releases.run()
            self.extensions.abandon()  # not earlier: releases wait for the answers to them

    def close(self) -> None:
        """Send all releases at once; extensions are needed only as far as releases wait for their answers."""
        self._closing = True
        self.extensions.close()
        self.release(list(self._in_time))
        self.releases.close()

    def _extensions_needed(self) -> bool:
        return any(row.extending and row.state is State.RELEASING for row in self._context.ledger)

    def _bug(self, what: str, error: BaseException) -> None:
        self._context.emit(InternalError(self._context.queue, what, error))

    def __repr__(self) -> str:
        return f"<Extender {self.extensions!r}, {self.releases!r}>"
