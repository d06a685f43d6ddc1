"""Decisions: what the outcome of a run means for its message. One table, from outcome to action.

Used by the settler, which carries the decision out. Pure: attempt, policy and a random draw come in; nothing is done,
counted or logged here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action
from leasekeeper.errors import HandlerTimeout, UndecodableBody
from leasekeeper.outcomes import Done, Ended, Failed, Freed, NotStarted, Reject, Retry, Skipped, Unclaimed, Withheld
from leasekeeper.schedules import Schedule

if TYPE_CHECKING:
    from leasekeeper.outcomes import Outcome
    from leasekeeper.retries import Retries


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomePolicy:
    """What a consumer is set to do with messages that are not done.

    Attributes:
        retries: how long a failed message stays hidden, by attempt and error.
        copies: whether messages that are not tried again are copied to a dead-letter queue.
        max_attempts: the attempt after which a message is not tried again.
    """

    retries: Retries
    copies: bool
    max_attempts: float = math.inf

    @property
    def longest(self) -> float:
        """Seconds for which a message stays hidden that should be copied and cannot be."""
        return self.retries.schedule.longest


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an outcome.

    Attributes:
        action: what happens to the message.
        after: seconds until it is visible again, for RELEASE (and for COPY, if the copy cannot be made); for AGAIN,
            until it runs again.
        frees: whether the message's slot is free now.
        counted: the counter of `WorkStatistics` that goes up; empty for none.
    """

    action: Action
    after: float = 0.0
    frees: bool = True
    counted: str = ""


DONE = Decision(Action.DELETE, counted="done")
SKIPPED = Decision(Action.DELETE, counted="skipped")
WITHHELD = Decision(Action.KEEP, frees=False)
FREED = Decision(Action.NOTHING)
"""A thread that was given up has ended after all: its message was settled long ago."""
NOT_STARTED = Decision(Action.RELEASE, counted="not_started")
ENDED = Decision(Action.RELEASE, counted="ended")


def decide(outcome: Outcome, *, attempt: int, policy: OutcomePolicy, draw: float) -> Decision:
    """What `outcome` means for a message whose handler has ended, and which was not settled before that.

    Args:
        outcome: what the lane answered.
        attempt: which attempt at the message this was, counted from 1; 0: a run that does not count as one.
        policy: what the consumer is set to.
        draw: a random number from 0 to below 1, for the jitter of the back-off.
    """
    match outcome:
        case Done():
            return DONE
        case Retry() if attempt >= policy.max_attempts:
            return _given_up(policy, "exhausted")
        case Retry():
            after = _default(attempt, policy, draw) if outcome.after is None else outcome.after
            return Decision(Action.RELEASE, after, counted="retried")
        case Failed():
            decision = _after_failure(outcome, attempt, policy, draw)
            # A thread that is still running keeps its slot until it ends (`Freed`).
            return replace(decision, frees=False) if outcome.still_running else decision
        case Reject():
            undecodable = isinstance(outcome.__cause__, UndecodableBody)
            return _given_up(policy, "undecodable" if undecodable else "rejected")
        case Skipped():
            return SKIPPED
        case Withheld():
            return WITHHELD
        case NotStarted():
            return NOT_STARTED
        case Unclaimed():
            if outcome.waits:
                return Decision(Action.AGAIN, outcome.after, frees=False)
            return replace(NOT_STARTED, after=outcome.after)
        case Ended():
            return ENDED
        case Freed():
            return FREED


def _after_failure(outcome: Failed, attempt: int, policy: OutcomePolicy, draw: float) -> Decision:
    rule: object = outcome.rule
    if rule is None:  # lanes also report failures that no handler raised: a time-out, a closed loop
        rule = policy.retries.rule_for(type(outcome.error))
    counted = "timed_out" if isinstance(outcome.error, HandlerTimeout) else "failed"
    if isinstance(rule, Reject):
        return _given_up(policy, "undecodable" if isinstance(outcome.error, UndecodableBody) else "rejected")
    if attempt >= policy.max_attempts:
        return _given_up(policy, "exhausted")
    attempt = max(1, attempt)
    if isinstance(rule, Retry):
        after = _default(attempt, policy, draw) if rule.after is None else rule.after
        return Decision(Action.RELEASE, after, counted="retried")
    if isinstance(rule, Schedule):
        return Decision(Action.RELEASE, rule.delay(attempt, draw), counted=counted)
    if isinstance(rule, int | float):
        return Decision(Action.RELEASE, max(1, math.ceil(rule)), counted=counted)
    if attempt <= policy.retries.immediate and not outcome.still_running:
        return Decision(Action.AGAIN, frees=False, counted=counted)
    return Decision(Action.RELEASE, _default(attempt, policy, draw), counted=counted)


def _default(attempt: int, policy: OutcomePolicy, draw: float) -> float:
    """The default back-off. Its first delay follows the last immediate try."""
    return policy.retries.schedule.delay(max(1, attempt - policy.retries.immediate), draw)


def _given_up(policy: OutcomePolicy, counted: str) -> Decision:
    """Copy it; without a queue to copy to it is hidden for long, and never deleted."""
    return Decision(Action.COPY if policy.copies else Action.RELEASE, policy.longest, counted=counted)


def decide_early(decision: Decision, *, kept: bool) -> Decision:
    """What a settlement through the message means: `message.ack()`, `message.retry()`.

    Args:
        decision: what it would mean as the end of the handler.
        kept: whether the handler has ended and withheld the message. Otherwise its end is counted, and frees the slot.
    """
    if kept:
        return decision
    return replace(decision, frees=False, counted="exhausted" if decision.counted == "exhausted" else "")


def decide_settled(decision: Decision, outcome: Outcome, asked: Done | Retry) -> Decision:
    """What the end of a handler means if its message was settled before, by `asked`: the first settlement wins."""
    if isinstance(outcome, Done | Retry | Reject | Withheld):
        return Decision(Action.NOTHING, counted="done" if isinstance(asked, Done) else "retried")
    return replace(decision, action=Action.NOTHING, frees=decision.frees or decision.action is Action.AGAIN)
