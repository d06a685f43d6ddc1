"""The lane of payloads, put around the lane of the handlers; imported for consumers with `payloads=` only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError
from leasekeeper.lanes.routed import RoutedHandler
from leasekeeper.payload import takes_payload
from leasekeeper.payloads.lane import PayloadLane
from leasekeeper.payloads.settings import S3Payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.lanes.api import Answer, Lane
    from leasekeeper.lanes.handlers import AnyHandler


def with_payloads(
    lane: Lane[Delivery],
    context: QueueContext,
    handler: AnyHandler,
    post: Callable[[Sequence[Answer[Delivery]]], object],
    lane_closed: Callable[[], None],
) -> PayloadLane:
    """The lane that fetches payloads before this one. The ledger tells it what was deleted.

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
    made = PayloadLane(
        lane,
        payloads,
        context.options,
        queue=context.queue,
        lazy=lazy,
        post=post,
        lane_closed=lane_closed,
        clock=context.clock,
    )
    context.ledger.on_acked = made.acked
    return made


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
