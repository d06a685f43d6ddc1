"""Payloads in S3: what a consumer with `payloads=` has more, and the one place that imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.engine.policies import makes_copies
from leasekeeper.errors import ConfigurationError
from leasekeeper.lanes.routed import RoutedHandler
from leasekeeper.payload import takes_payload
from leasekeeper.payloads.finished_objects import FinishedObjects
from leasekeeper.payloads.lane import PayloadLane
from leasekeeper.payloads.settings import S3Payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.lanes.api import Answer, Lane
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.options import Options


def finished_objects(queue: str, options: Options, clock: Callable[[], float]) -> FinishedObjects:
    """What the ledger tells which messages were deleted."""
    return FinishedObjects(queue, options.visibility_timeout, clock)


def with_payloads(
    lane: Lane[Delivery],
    context: QueueContext,
    handler: AnyHandler,
    finished: FinishedObjects,
    *,
    post: Callable[[Sequence[Answer[Delivery]]], object],
    lane_closed: Callable[[], None],
) -> PayloadLane:
    """The lane that fetches payloads before this one.

    Raises:
        ConfigurationError: some handlers of the queue read payloads in pieces, and others do not.
    """
    payloads = context.options.payloads
    lazy = _reads_pieces(handler, context.queue)
    if lazy and context.options.lane == "processes":
        raise ConfigurationError(
            f"queue {context.queue}: Message[Payload] with lane='processes': payloads are fetched before they go to a "
            "worker process; annotate the parameter with Message[bytes]"
        )
    assert isinstance(payloads, S3Payloads)
    return PayloadLane(
        lane,
        payloads,
        context.options,
        lazy=lazy,
        finished=finished,
        post=post,
        lane_closed=lane_closed,
        clock=context.clock,
        copies=makes_copies(context.options, context.source),
    )


def _reads_pieces(handler: AnyHandler, queue: str) -> bool:
    if not isinstance(handler, RoutedHandler):
        return takes_payload(handler.signature.body_type)
    lazy = {takes_payload(route.handler.body_type) for route in handler.routes}
    if len(lazy) > 1:
        raise ConfigurationError(
            f"queue {queue}: some of its handlers take a Payload and others do not: conditions see the payload of each "
            "message, or of none; annotate all handlers with Message[Payload], or none"
        )
    return lazy.pop()
