"""What a failure means on a FIFO queue: the message is tried again here, under its own lease, before its group goes on.

Used by the settler of a FIFO queue, after `core.decisions`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action

if TYPE_CHECKING:
    from leasekeeper.core.decisions import Decision

STOPPING = ("", "not_started", "ended")
"""Counters of messages that are given back for another reason than a failure."""
FOR_GOOD = ("rejected", "undecodable", "exhausted")
"""Counters of messages that a group cannot get past, unless they are copied to a dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """What a consumer of a FIFO queue is set to do with a message that is not done.

    Attributes:
        local_retry_limit: seconds of the longest back-off that a message without followers waits for here.
        longest: seconds between tries of a message that its group cannot get past.
        halt: whether a message that used up its attempts stays the first of its group, instead of being copied.
        max_receives: the queue's `maxReceiveCount`; None without a redrive policy.
    """

    local_retry_limit: float
    longest: float
    halt: bool
    max_receives: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where a message stands when its handler has ended.

    Attributes:
        followers: whether messages of its group wait behind it.
        receives: its receive count.
        lifetime: seconds until the end of its twelve hours.
        stopping: whether nothing of its group is started any more.
    """

    followers: bool
    receives: int
    lifetime: float
    stopping: bool


def decide_in_group(decision: Decision, policy: GroupPolicy, situation: Situation) -> Decision:
    """What a decision for any queue becomes on a FIFO queue.

    A message that is given back takes its followers along, and each of their receives counts: as many failures later
    SQS would move all of them to the dead-letter queue (L26). So it is given back only at a stop, near the end of its
    twelve hours, or after a long back-off if nothing waits behind it.
    """
    action, counted = decision.action, decision.counted
    if action is Action.COPY and counted == "exhausted" and policy.halt:
        action = Action.RELEASE
        decision = replace(decision, action=action, after=policy.longest)
    if action not in (Action.RELEASE, Action.AGAIN) or counted in STOPPING:
        return decision
    after = decision.after
    if situation.stopping or situation.lifetime <= after:
        return replace(decision, action=Action.RELEASE, frees=decision.frees or action is Action.AGAIN)
    halts = counted in FOR_GOOD
    last = policy.max_receives is not None and situation.receives >= policy.max_receives
    if after > policy.local_retry_limit and not halts and not situation.followers and not last:
        return decision
    return replace(decision, action=Action.AGAIN, frees=False)
