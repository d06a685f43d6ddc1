"""The settler of a FIFO queue: what a handler says of its message early counts when the handler has ended.

Deleted earlier, the last message that is held would unlock its group, and another process would run the next one beside
this handler.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from leasekeeper.core.decisions import Decision, decide, decide_early
from leasekeeper.core.delivery import Action
from leasekeeper.core.group import GroupedDelivery
from leasekeeper.core.group_decisions import FOR_GOOD, GroupPolicy, Situation, decide_in_group
from leasekeeper.engine.settler import Settler
from leasekeeper.outcomes import Retry, Unclaimed

if TYPE_CHECKING:
    from leasekeeper.core.decisions import OutcomePolicy
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.groups import Groups
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.outcomes import Failed, Outcome


class GroupSettler(Settler):
    """Settles the messages of one handler of a FIFO queue."""

    def __init__(
        self,
        context: QueueContext,
        throttler: Throttler,
        policy: OutcomePolicy,
        *,
        handler: str,
        groups: Groups,
        group_policy: GroupPolicy,
    ) -> None:
        super().__init__(context, throttler, policy, handler=handler)
        self._groups = groups
        self._group_policy = group_policy

    def judge(self, row: Delivery, outcome: Unclaimed, *, waiting: int) -> Unclaimed | Failed:  # noqa: ARG002
        """As for any queue, but it waits here as long as it can: given back, it would take its followers along."""
        if not isinstance(row, GroupedDelivery):
            raise TypeError(f"{row!r} is not of a FIFO queue")
        outage = self._context.outage
        if outcome.error is None or outage is None:
            judged: Unclaimed | Failed = replace(outcome, waits=True)
        else:
            judged = outage.judge(row.received, outcome, holds=True)
        situation = self._situation(row)
        if isinstance(judged, Unclaimed) and (situation.stopping or situation.lifetime <= judged.after):
            row.going_back = True
            return replace(outcome, after=0.0)
        return judged

    def decide(self, row: Delivery, outcome: Outcome, *, final: bool, kept: bool) -> Decision:
        """What the outcome means for this message, and for its group."""
        if not isinstance(row, GroupedDelivery):
            raise TypeError(f"{row!r} is not of a FIFO queue")
        if row.going_back and not row.started:
            after = outcome.after if isinstance(outcome, Retry) else None
            return Decision(Action.RELEASE, after or 0.0, counted="not_started")
        if final:
            row.ended = True
            if row.settlement is not None:
                row.settlement.deferred = False
                outcome = row.settlement.asked
        decision = decide(outcome, attempt=row.attempts, policy=self._policy, draw=self._context.draw())
        if final or kept:
            decision = decide_in_group(decision, self._group_policy, self._situation(row))
        if decision.action is Action.AGAIN and decision.counted in FOR_GOOD:
            row.halts, row.reason = True, decision.counted
        return decision if final else decide_early(decision, kept=kept)

    def _situation(self, row: GroupedDelivery) -> Situation:
        groups = self._groups
        return Situation(
            followers=row.has_followers,
            receives=row.received.receive_count,
            lifetime=self._context.ledger.leases.lifetime_left(row, self._context.clock()),
            stopping=row.going_back or (groups.stopping and not groups.on_last_delivery(row.group)),
        )
