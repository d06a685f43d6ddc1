"""What limits a consumer beyond its concurrency: the gate that its options ask for.

Used once by each runner, when it is made: a consumer without such options has no gate, and pays nothing for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from leasekeeper.core.gate import Gate
from leasekeeper.core.line import FairLine, Line
from leasekeeper.core.rate import TokenBucket
from leasekeeper.engine.capacity import Capacity
from leasekeeper.engine.fair_capacity import FairCapacity
from leasekeeper.engine.limited_capacity import LimitedCapacity
from leasekeeper.engine.shared_capacity import SharedCapacity, join
from leasekeeper.lanes.gated import GatedLane

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.lanes.api import Answer, Lane
    from leasekeeper.lanes.mailbox import Mailbox
    from leasekeeper.options import Options


def gate_for(options: Options, *, coroutines: bool, wake: Callable[[], None]) -> Gate | None:
    """The gate of a consumer with these options; None if its lane may start whatever is here.

    Args:
        options: the consumer's.
        coroutines: whether its handler is a coroutine function; threads may be fewer than `concurrency`.
        wake: called when its share may have slots for its polls or its messages.

    Raises:
        ConfigurationError: its share has consumers on another loop.
    """
    fair = options.fair or options.group_concurrency is not None
    if options.rate is None and options.share is None and not fair:
        return None
    bucket = member = None
    if options.rate is not None:
        bucket = TokenBucket(options.rate, options.burst or max(1, math.ceil(options.rate)))
    if options.share is not None:
        member = join(options.share, options, wake=wake)
    return Gate(
        most_at_once(options, coroutines=coroutines),
        FairLine(options.group_concurrency) if fair else Line(),
        bucket,
        member,
        tells_starts=options.batch is None and options.payloads is None,
    )


def most_at_once(options: Options, *, coroutines: bool) -> int:
    """How many messages may be at work at once: threads may be fewer than `concurrency`."""
    in_threads = not coroutines and options.lane != "processes"
    calls = min(options.concurrency, options.thread_count) if in_threads else options.concurrency
    return calls * options.slots // options.concurrency


def capacity_for(
    options: Options, throttler: Throttler, in_flight: Sized, gate: Gate | None, clock: Callable[[], float]
) -> Capacity:
    """The capacity of the consumer of a standard queue with this gate."""
    if gate is None:
        return Capacity(options, throttler, in_flight)
    if gate.member is not None:
        return SharedCapacity(options, throttler, in_flight, gate=gate, clock=clock, member=gate.member)
    kind = FairCapacity if isinstance(gate.line, FairLine) else LimitedCapacity
    return kind(options, throttler, in_flight, gate, clock)


def gated(
    lane: Lane[Delivery],
    gate: Gate | None,
    answers: Mailbox[Answer[Delivery]],
    *,
    lane_closed: Callable[[], None],
    clock: Callable[[], float],
) -> GatedLane | None:
    """The lane behind the gate, if there is one."""
    return None if gate is None else GatedLane(lane, gate, post=answers.post, lane_closed=lane_closed, clock=clock)
