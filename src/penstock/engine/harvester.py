"""The harvester: gathers finished messages and deletes them in bulk, or, with batches of one, each at once.

Owned by the runner. It promises that every finished message is tried until its delete is confirmed, refused for good,
or its lease is over, and that closing it loses none (L1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.core.delivery import Step
from penstock.core.states import State
from penstock.engine.batcher import Batcher
from penstock.engine.calls import PASSING, Pauses, by_entry, limited, nobody_listens, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.core.delivery import Delivery
    from penstock.engine.seat import Seat


PATIENCE = 10.0
"""Seconds after which the client gives a call up by itself."""


class Harvester:
    """Deletes what is finished."""

    def __init__(self, seat: Seat, *, size: int, linger: float) -> None:
        self._seat = seat
        self._pauses = Pauses(seat.draw)
        self.answered: Callable[[], None] = nobody_listens
        """Called after each answer: messages may have left the ledger."""
        self.batcher: Batcher[Delivery] = Batcher(
            "acks", self._send, size=size, linger=linger if size > 1 else 0.0, clock=seat.clock, logger=seat.logger
        )

    def add(self, row: Delivery) -> None:
        """Delete this finished message with the next batch, before its lease ends (L13)."""
        self.batcher.add(row, latest=row.lease.deadline - 1.0)

    async def _send(self, rows: list[Delivery]) -> None:
        seat, ledger = self._seat, self._seat.ledger
        rows = [row for row in rows if row.state is State.ACKING]
        if not rows:
            return
        receipts = [row.receipt for row in rows]
        sent = seat.clock()
        call = seat.client.delete_batch(seat.queue_url, receipts)
        left = min(row.lease.deadline for row in rows) - sent
        if 0 < left < 2 * PATIENCE:  # a delete may be made twice: a silent one leaves time for another try (L12)
            call = limited(call, max(left / 2, 0.5))
        answers = await by_entry(call, len(rows), seat.logger)
        now = seat.clock()
        seat.tally.delete_seconds.push(now - sent)
        pause = self._pauses.note(failed=any(answers))
        for row, receipt, failure in zip(rows, receipts, answers, strict=True):
            if failure is None:
                if ledger.deleted(row, receipt, now) is Step.DELETE:
                    self.add(row)
                continue
            seat.tally.failed_entry(failure.code)
            again = now + within(pause, row.lease.deadline - now)
            if failure.verdict in PASSING and ledger.may_try_again(row, again):
                self.batcher.put_back(row, ready=again)
            elif ledger.delete_refused(row, receipt) is Step.DELETE:
                self.add(row)
            else:
                seat.logger.warning(
                    "message %s is finished, but its delete was not confirmed (%s: %s); a redelivery will be %s",
                    row.received.message_id,
                    failure.code,
                    failure.message,
                    "deleted unrun" if seat.options.remember_finished else "run again",
                )
        self.answered()

    async def run(self) -> None:
        """Delete until closed and empty."""
        await self.batcher.run()

    def close(self) -> None:
        """Delete everything that waits, at once."""
        self.batcher.close()

    def __repr__(self) -> str:
        return f"<Harvester {self.batcher!r}>"
