"""The settler: carries out what outcomes mean for their messages, and says how they ended.

Owned by the worker. It promises that an error while one message is settled costs no other message anything, and that
a message which cannot be settled is given back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.decisions import Decision, decide, decide_early, decide_settled
from leasekeeper.core.delivery import Action, Delivery
from leasekeeper.engine.dead_letters import failure_of
from leasekeeper.events import Conclusion, HandlersMeasured, InternalError
from leasekeeper.outcomes import Retry, Skipped, Unclaimed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.core.decisions import OutcomePolicy
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.outcomes import Failed, Outcome

RETRIED = (Action.RELEASE, Action.AGAIN)
MEASURED = 8
"""How many of the messages that ended together are measured: medians are of this many."""
OFTEN = 0.001
"""Seconds between measurements under load. On a FIFO queue few messages end together, and each would be measured."""


class Settler:
    """Settles the messages of one handler."""

    def __init__(self, context: QueueContext, throttler: Throttler, policy: OutcomePolicy, *, handler: str) -> None:
        self._context = context
        self._throttler = throttler
        self._policy = policy
        self._handler = handler
        self._measure_at = 0.0
        self._unmeasured = 0
        """Messages that have ended since the last measurement. The messages of the next one stand for them."""
        self.busy = 0.0
        """Seconds that handlers which have ended took, all together."""

    def finish(self, rows: list[Delivery]) -> Sequence[float]:
        """Have the messages of handlers that returned deleted; returns how long some of them had waited."""
        context = self._context
        try:
            context.act(Action.DELETE, context.ledger.done(rows))
            if context.clock() < self._measure_at and not context.detail.every:
                self._unmeasured += len(rows)
                return ()
            return self.measure(rows)
        except Exception as error:
            context.emit(InternalError(context.queue, f"settling {len(rows)} finished messages together", error))
            for row in rows:
                self._finish_alone(row)
            return ()

    def _finish_alone(self, row: Delivery) -> None:
        """Have one message deleted, after deleting it together with others has failed."""
        context = self._context
        try:
            context.act(Action.DELETE, context.ledger.done([row]) or [row])
        except Exception as error:
            self._give_back(row, error)

    def judge(self, row: Delivery, outcome: Unclaimed, *, waiting: int) -> Unclaimed | Failed:
        """What it means that the key of this message was not claimed: it waits here, goes back, or has failed.

        `waiting`: how many messages wait here already.
        """
        context, received = self._context, row.received
        if outcome.error is None or context.outage is None:
            return outcome
        left = (context.source.max_receives or float("inf")) - received.receive_count
        took = context.clock() - row.started
        return context.outage.judge(received, outcome, holds=left <= 0, left=left, waiting=waiting, took=took)

    def decide(self, row: Delivery, outcome: Outcome, *, final: bool, kept: bool) -> Decision:
        """What the outcome means for this message; `kept`: its handler has ended, and withheld it."""
        if isinstance(outcome, Retry) and not row.started:  # the worker's: this process is still running the message
            after = self._policy.retries.schedule.delay(row.received.receive_count, self._context.draw())
            return Decision(Action.RELEASE, after, counted="not_started")
        decision = decide(outcome, attempt=row.attempts, policy=self._policy, draw=self._context.draw())
        if not final:
            return decide_early(decision, kept=kept)
        if row.settlement is not None:
            return decide_settled(decision, outcome, row.settlement.asked)
        return decision

    def carry_out(self, row: Delivery, outcome: Outcome, decision: Decision, *, final: bool) -> Conclusion | None:
        """Have the decision carried out; returns how the message ended, None if nothing is counted for it."""
        if isinstance(outcome, Unclaimed):
            row.extra -= 1  # this was no attempt
        settled = not row.open or (final and row.settlement is not None)
        attempt = row.attempt
        try:
            self._act(row, outcome, decision)
        except Exception as error:
            self._give_back(row, error)
        if not decision.counted:
            return None
        return Conclusion(
            row.received,
            row.handler or self._handler,
            outcome,
            decision.counted,
            attempt=attempt,
            after=decision.after if decision.action in RETRIED else None,
            again=decision.action is Action.AGAIN,
            copied=decision.action is Action.COPY,
            last=row.received.receive_count >= (self._context.source.max_receives or float("inf")),
            settled=settled,
            redriven=self._context.source.max_receives is not None,
            max_attempts=self._policy.max_attempts,
        )

    def _act(self, row: Delivery, outcome: Outcome, decision: Decision) -> None:
        context, action = self._context, decision.action
        if action is Action.DELETE:
            deletes = context.ledger.done([row])
            if deletes and isinstance(outcome, Skipped):
                context.ledger.endings.skip(row)
            context.act(action, deletes)
        elif action is Action.COPY:
            reason = decision.counted or "exhausted"
            row.failure = failure_of(row, outcome, context.source, reason=reason, at=context.wall())
            context.act(context.ledger.reject(row), [row])
        elif action is Action.RELEASE:
            claimed = isinstance(outcome, Unclaimed) and outcome.error is None
            why = "claimed" if claimed else decision.counted or "other"
            context.act(context.ledger.release(row, decision.after, context.clock(), why), [row])
        elif action is Action.AGAIN:
            context.ledger.again(row, context.clock())

    def measure(self, rows: list[Delivery]) -> Sequence[float]:
        """Tell the throttler how long these took; of very many the last few are enough for a median."""
        now = self._context.clock()
        recent = [row for row in rows[-MEASURED:] if row.started]
        if recent:
            took = self._throttler.settled(
                now, in_hand=[now - row.received_at for row in recent], worked=[now - row.started for row in recent]
            )
            self.busy += took * (self._unmeasured + len(rows)) / min(len(rows), MEASURED)
            self._measure_at, self._unmeasured = now + OFTEN, 0
        if self._context.detail.every:
            self._measure_every(rows, now)
        return [row.started - row.received_at for row in recent]

    def _measure_every(self, rows: list[Delivery], now: float) -> None:
        started = [row for row in rows if row.started]
        worked = [now - row.started for row in started]
        waited = [row.started - row.received_at for row in started if row.extra <= 0]  # a further run waited by plan
        self._context.emit(HandlersMeasured(self._context.queue, worked, waited))

    def _give_back(self, row: Delivery, error: BaseException) -> None:
        """Release a message that cannot be settled: kept, it would be hidden for twelve hours."""
        context = self._context
        context.emit(InternalError(context.queue, f"settling message {row.received.message_id}", error))
        after, now = self._policy.retries.schedule.ceiling(1), context.clock()
        context.act(context.ledger.release(row, after, now), [row])
