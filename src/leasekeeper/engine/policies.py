"""Options as the core takes them, split by the part that decides on them.

Used by the runner when it is made; pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.backoff import Backoff
from leasekeeper.core.decisions import OutcomePolicy
from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.group_decisions import GroupPolicy
from leasekeeper.core.throttler import ThrottlePolicy

if TYPE_CHECKING:
    from leasekeeper.engine.context import SourceQueue
    from leasekeeper.options import Options


def lease_policy(options: Options) -> LeasePolicy:
    """How the ledger counts leases."""
    return LeasePolicy(
        visibility=options.visibility_timeout, extend_after=options.extend_after, remember=options.remember_finished
    )


def throttle_policy(options: Options) -> ThrottlePolicy:
    """What the throttler may decide."""
    return ThrottlePolicy(
        concurrency=options.slots,
        visibility=options.visibility_timeout,
        max_in_flight=options.max_in_flight,
        pollers=options.pollers,
        max_pollers=options.max_pollers,
        batch=options.receive_batch,
        prefetch=options.prefetch,
        together=options.batch or 1,
        wait=options.wait_time,
        longest_pause=options.longest_pause,
        enabled=options.throttle,
    )


def outcome_policy(options: Options, *, copies: bool) -> OutcomePolicy:
    """What follows from a handler's outcome; `copies` says whether there is a dead-letter queue to copy to."""
    return OutcomePolicy(
        backoff=Backoff(base=options.retry_base, maximum=options.retry_maximum),
        rejected_after=options.retry_maximum,
        copies=copies and options.on_reject == "dead-letter",
    )


def group_policy(options: Options, source: SourceQueue) -> GroupPolicy:
    """What follows from a failure on a FIFO queue."""
    return GroupPolicy(
        local_retry_limit=options.local_retry_limit,
        longest=options.retry_maximum,
        halt=options.on_exhausted == "halt",
        max_receives=source.max_receives,
    )
