"""Decisions: what the outcome of a run means for its message. One table, from outcome to action.

Used by the worker, which carries the decision out. Pure: attempt, policy and a random draw come in; nothing is done,
counted or logged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action
from leasekeeper.errors import HandlerTimeout, UndecodableBody
from leasekeeper.outcomes import Done, Ended, Failed, Freed, NotStarted, Reject, Retry, Withheld

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
    """

    backoff: Backoff
    rejected_after: float
    copies: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an outcome.

    Attributes:
        action: what happens to the message.
        after: seconds until it is visible again, for RELEASE (and for COPY, if the copy cannot be made).
        frees: whether the message's slot is free now.
        counted: the counter of `WorkStatistics` that goes up; empty for none.
    """

    action: Action
    after: float = 0.0
    frees: bool = True
    counted: str = ""


DONE = Decision(Action.DELETE, counted="done")
EARLY_ACK = Decision(Action.DELETE, frees=False)
"""`message.ack()` while the handler runs on: the end of the handler is counted, and frees the slot, later."""
WITHHELD = Decision(Action.KEEP, frees=False)
FREED = Decision(Action.NOTHING)
"""A thread that was given up has ended after all: its message was settled long ago."""
NOT_STARTED = Decision(Action.RELEASE, counted="not_started")
ENDED = Decision(Action.RELEASE, counted="ended")


def decide(outcome: Outcome, *, final: bool, attempt: int, policy: OutcomePolicy, draw: float) -> Decision:
    """What `outcome` means.

    Args:
        outcome: what the lane answered, or what the handler said through its message.
        final: whether the handler has ended; False for what it says of its message while it runs on.
        attempt: which receive of the message this is, counted from 1.
        policy: what the consumer is set to.
        draw: a random number from 0 to below 1, for the jitter of the back-off.
    """
    match outcome:
        case Done():
            return DONE if final else EARLY_ACK
        case Retry():
            after = policy.backoff.equal_jitter(attempt, draw) if outcome.after is None else outcome.after
            return Decision(Action.RELEASE, after, final, "retried")
        case Failed():
            after = policy.backoff.equal_jitter(attempt, draw)
            # A thread that is still running keeps its slot until it ends (`Freed`).
            counted = "timed_out" if isinstance(outcome.error, HandlerTimeout) else "failed"
            return Decision(Action.RELEASE, after, final and not outcome.still_running, counted)
        case Reject():
            action = Action.COPY if policy.copies else Action.RELEASE
            counted = "undecodable" if isinstance(outcome.__cause__, UndecodableBody) else "rejected"
            return Decision(action, policy.rejected_after, final, counted)
        case Withheld():
            return WITHHELD
        case NotStarted():
            return NOT_STARTED
        case Ended():
            return ENDED
        case Freed():
            return FREED
