"""Options as the core takes them, split by the part that decides on them.

Used by the parts of a runner, most of them when they are made. Pure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from leasekeeper.core.decisions import OutcomePolicy
from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.group_decisions import GroupPolicy
from leasekeeper.core.throttle_policy import ThrottlePolicy
from leasekeeper.retries import Retries, retries_of
from leasekeeper.schedules import Exponential

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
        prefetch=options.prefetch if options.share is None else 0,
        together=options.batch or 1,
        wait=options.wait_time,
        longest_pause=options.longest_pause,
        enabled=options.throttle,
    )


def makes_copies(options: Options, source: SourceQueue) -> bool:
    """Whether rejected messages are copied to a dead-letter queue."""
    return source.dead_letter_url is not None and options.on_reject == "dead-letter"


def outcome_policy(options: Options, *, copies: bool, max_receives: int | None = None) -> OutcomePolicy:
    """What follows from a handler's outcome.

    Args:
        options: the consumer's.
        copies: whether there is a dead-letter queue to copy to.
        max_receives: the queue's `maxReceiveCount` if it limits the attempts here: on a FIFO queue, where messages are
            tried again under one delivery, SQS does not count them.
    """
    return OutcomePolicy(
        retries=retries(options),
        copies=copies and options.on_reject == "dead-letter",
        max_attempts=min(options.max_attempts or math.inf, max_receives or math.inf),
    )


def group_policy(options: Options, source: SourceQueue) -> GroupPolicy:
    """What follows from a failure on a FIFO queue."""
    return GroupPolicy(
        local_retry_limit=options.local_retry_limit,
        longest=retries(options).schedule.longest,
        halt=options.on_exhausted == "halt",
        max_receives=source.max_receives,
    )


COUNTED = 33
"""The receive count from which on the back-off after a crash does not grow."""


def crash_back_offs(options: Options) -> list[float]:
    """Seconds that a message waits if its process dies while it runs, by its receive count: of 1, 2 and so on.

    At least a second, whatever the retries say: a message that kills its process would kill one process after another.
    """
    schedule = retries(options).schedule
    return [max(1.0, schedule.ceiling(receive_count)) for receive_count in range(1, COUNTED + 1)]


def retries(options: Options) -> Retries:
    """How failed messages are retried. `retry_base` and `retry_maximum` describe the back-off unless `retry` does."""
    if options.retry is not None:
        return retries_of(options.retry)
    # A base below a second asks for less than the usual second at least.
    floor = min(1.0, options.retry_base)
    return Retries(Exponential(options.retry_base, maximum=options.retry_maximum, floor=floor))
