"""Options as the core takes them: what one queue's consumer is set to, split by who decides on it.

Used by the runner when it is made; pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.throttler import ThrottlePolicy

if TYPE_CHECKING:
    from leasekeeper.options import Options


def lease_policy(options: Options) -> LeasePolicy:
    """How the ledger counts leases."""
    return LeasePolicy(
        visibility=options.visibility_timeout, beat_after=options.beat_after, remember=options.remember_finished
    )


def throttle_policy(options: Options) -> ThrottlePolicy:
    """What the throttler may decide."""
    return ThrottlePolicy(
        concurrency=options.concurrency,
        visibility=options.visibility_timeout,
        max_in_flight=options.max_in_flight,
        pollers=options.pollers,
        max_pollers=options.max_pollers,
        batch=options.receive_batch,
        prefetch=options.prefetch,
        wait=options.wait_time,
        longest_pause=options.longest_pause,
        enabled=options.throttle,
    )
