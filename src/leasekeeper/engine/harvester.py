"""The harvester: gathers finished messages and deletes them in bulk, or, with batches of one, each at once.

Owned by the runner. It promises that every finished message is tried until its delete is confirmed, refused for good,
or its lease is over, and that closing it loses none (L1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action, deadline_of, receipt_of
from leasekeeper.core.states import State
from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.calls import PASSING, Pauses, by_entry, limited, nobody_listens, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import EntryFailure
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext


_ACKING = State.ACKING  # a member of an enum takes its time to be looked up
PATIENCE = 10.0
"""Seconds after which the client gives a call up by itself."""


class Harvester:
    """Deletes what is finished."""

    def __init__(self, context: QueueContext, *, size: int, linger: float) -> None:
        self._context = context
        self._pauses = Pauses(context.draw)
        self.answered: Callable[[], None] = nobody_listens
        """Called after each answer: messages may have left the ledger."""
        self.batcher: Batcher[Delivery] = Batcher(
            "acks",
            self._send,
            size=size,
            linger=linger if size > 1 else 0.0,
            clock=context.clock,
            logger=context.logger,
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
        call = context.client.delete_batch(context.queue_url, receipts)
        left = min(map(deadline_of, rows)) - sent
        if 0 < left < 2 * PATIENCE:  # a delete may be made twice: a silent one leaves time for another try (L12)
            call = limited(call, max(left / 2, 0.5))
        answers = await by_entry(call, len(rows), context.logger)
        now = context.clock()
        context.tally.delete_seconds.push(now - sent)
        asked = list(zip(rows, receipts, strict=True))
        failed = any(answers)
        pause = self._pauses.note(failed=failed)
        confirmed = [each for each, failure in zip(asked, answers, strict=True) if failure is None] if failed else asked
        self.add(ledger.deleted(confirmed, now))
        if failed:
            for (row, receipt), failure in zip(asked, answers, strict=True):
                if failure is not None:
                    self._refused(row, receipt, failure, now, pause)
        self.answered()

    def _refused(self, row: Delivery, receipt: str, failure: EntryFailure, now: float, pause: float) -> None:
        """One entry failed: try it again while its lease lasts, or give it up."""
        context, ledger = self._context, self._context.ledger
        context.tally.failed_entry(failure.code)
        again = now + within(pause, row.lease.deadline - now)
        if failure.verdict in PASSING and ledger.may_try_again(row, again):
            self.batcher.put_back(row, ready=again)
        elif ledger.delete_refused(row, receipt) is Action.DELETE:
            self.add([row])
        else:
            context.logger.warning(
                "message %s is finished, but its delete was not confirmed (%s: %s); a redelivery will be %s",
                row.received.message_id,
                failure.code,
                failure.message,
                "deleted unrun" if context.options.remember_finished else "run again",
            )

    async def run(self) -> None:
        """Delete until closed and empty."""
        await self.batcher.run()

    def close(self) -> None:
        """Delete everything that waits, at once."""
        self.batcher.close()

    def __repr__(self) -> str:
        return f"<Harvester {self.batcher!r}>"
