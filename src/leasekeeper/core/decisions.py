"""Decisions: what the outcome of a run means for its message. One table, from outcome to action.

Used by the worker, which carries the decision out. Pure: attempt, policy and a random draw come in; nothing is done,
counted or logged here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action
from leasekeeper.errors import HandlerTimeout, UndecodableBody
from leasekeeper.outcomes import Done, Ended, Failed, Freed, NotStarted, Reject, Retry, Skipped, Withheld

if TYPE_CHECKING:
    from leasekeeper.core.backoff import Backoff
    from leasekeeper.outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomePolicy:
    """What a consumer is set to do with messages that are not done.

    Attributes:
        backoff: how long a failed message stays hidden, by attempt.
        rejected_after: seconds for which a rejected message that cannot be copied stays hidden.
        copies: whether rejected messages are copied to a dead-letter queue.
        immediate: how many of a message's first attempts are followed by another one at once, under the same lease.
    """

    backoff: Backoff
    rejected_after: float
    copies: bool
    immediate: int = 0


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
        attempt: which attempt at the message this was, counted from 1.
        policy: what the consumer is set to.
        draw: a random number from 0 to below 1, for the jitter of the back-off.
    """
    match outcome:
        case Done():
            return DONE
        case Retry():
            after = policy.backoff.equal_jitter(attempt, draw) if outcome.after is None else outcome.after
            return Decision(Action.RELEASE, after, counted="retried")
        case Failed():
            # A thread that is still running keeps its slot until it ends (`Freed`).
            counted = "timed_out" if isinstance(outcome.error, HandlerTimeout) else "failed"
            if attempt <= policy.immediate and not outcome.still_running:
                return Decision(Action.AGAIN, frees=False, counted=counted)
            after = policy.backoff.equal_jitter(attempt, draw)
            return Decision(Action.RELEASE, after, not outcome.still_running, counted)
        case Reject():
            action = Action.COPY if policy.copies else Action.RELEASE
            counted = "undecodable" if isinstance(outcome.__cause__, UndecodableBody) else "rejected"
            return Decision(action, policy.rejected_after, counted=counted)
        case Skipped():
            return SKIPPED
        case Withheld():
            return WITHHELD
        case NotStarted():
            return NOT_STARTED
        case Ended():
            return ENDED
        case Freed():
            return FREED


def decide_early(decision: Decision, *, kept: bool) -> Decision:
    """What a settlement through the message means: `message.ack()`, `message.retry()`.

    Args:
        decision: what it would mean as the end of the handler.
        kept: whether the handler has ended and withheld the message. Otherwise its end is counted, and frees the slot.
    """
    return decision if kept else replace(decision, frees=False, counted="")


def decide_settled(decision: Decision, outcome: Outcome, asked: Done | Retry) -> Decision:
    """What the end of a handler means whose message was settled before, by the word `asked`: the first word wins."""
    if isinstance(outcome, Done | Retry | Reject | Withheld):
        return Decision(Action.NOTHING, counted="done" if isinstance(asked, Done) else "retried")
    return replace(decision, action=Action.NOTHING, frees=decision.frees or decision.action is Action.AGAIN)
