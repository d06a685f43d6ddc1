"""The harvester: gathers finished messages and deletes them in batches, or, with batches of one, each at once.

Owned by the runner. It promises that the delete of every finished message is tried until it is confirmed, refused for
good, or the lease is over, and that closing it loses none (L1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action, Delivery, deadline_of, receipt_of
from leasekeeper.core.states import State
from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.calls import FailedEntries, call_batch, refusal_of, with_timeout
from leasekeeper.engine.health import DELETE
from leasekeeper.events import DeletesAnswered, InternalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.api import EntryFailure
    from leasekeeper.core.batch import Batching
    from leasekeeper.engine.context import QueueContext

_ACKING = State.ACKING  # the lookup of an enum's member takes time, and this is done for each message
CLIENT_TIMEOUT = 10.0
"""Seconds after which the client gives a call up by itself."""


class Harvester:
    """Deletes what is finished."""

    def __init__(
        self, context: QueueContext, *, size: int, linger: float, batch: Batching[Delivery] | None = None
    ) -> None:
        self._context = context
        self._failed = FailedEntries(context, DELETE)
        self.batcher: Batcher[Delivery] = Batcher(
            "deletes",
            self._send,
            size=size,
            linger=linger if size > 1 else 0.0,
            clock=context.clock,
            failed=lambda what, error: context.emit(InternalError(context.queue, what, error)),
            batch=batch,
        )

    def add(self, rows: Sequence[Delivery]) -> None:
        """Delete these finished messages with the next batches, before any of their leases ends (L13)."""
        if rows:
            self.batcher.add(rows, latest=min(map(deadline_of, rows)) - 1.0)

    async def _send(self, rows: list[Delivery]) -> None:
        context, ledger = self._context, self._context.ledger
        rows = [row for row in rows if row.state is _ACKING]
        if not rows:
            return
        receipts = list(map(receipt_of, rows))
        sent = context.clock()
        call = context.client.delete_batch(context.source.url, receipts)
        left = min(map(deadline_of, rows)) - sent
        if 0 < left < 2 * CLIENT_TIMEOUT:  # a delete may be repeated: one without an answer leaves time for that (L12)
            call = with_timeout(call, max(left / 2, 0.5))
        answers = await call_batch(context, call, len(rows))
        now = context.clock()
        asked = list(zip(rows, receipts, strict=True))
        code = ""
        if any(answers):
            code = refusal_of(answers)
            confirmed = [pair for pair, failure in zip(asked, answers, strict=True) if failure is None]
            self._put_back(
                [(*pair, failure) for pair, failure in zip(asked, answers, strict=True) if failure is not None],
                whole=not confirmed,
                now=now,
            )
        else:
            confirmed = asked
        if confirmed:
            self._failed.failed_calls = 0
            if context.health.problem is not None:
                context.health.succeeded(DELETE, now)
            self.add(ledger.deleted(confirmed, now))
        context.emit(DeletesAnswered(context.queue, len(confirmed), now - sent, code))
        context.left()

    def _put_back(self, failed: Sequence[tuple[Delivery, str, EntryFailure]], *, whole: bool, now: float) -> None:
        """Try failed entries again while their leases last; end the others."""
        receipts = {row: receipt for row, receipt, _ in failed}
        pairs = [(row, failure) for row, _, failure in failed]
        ended: list[tuple[Delivery, EntryFailure]] = []
        for row, failure in self._failed.put_back(self.batcher, pairs, whole=whole, now=now):
            action = self._context.ledger.delete_refused(row, receipts[row], now)
            if action is Action.NOTHING:
                ended.append((row, failure))
            else:
                self._context.act(action, [row])
        if ended:
            self._failed.emit(ended, given_up=True)

    async def run(self) -> None:
        """Delete until closed and empty."""
        await self.batcher.run()

    def close(self) -> None:
        """Delete everything that waits, at once."""
        self.batcher.close()

    def __repr__(self) -> str:
        return f"<Harvester {self.batcher!r}>"
