"""Which handler calls a user's function: one message at a time, or batches.

Used when a consumer is constructed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError
from leasekeeper.lanes.batch_handler import BatchHandler, takes_batch
from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.parameters import NO_LIFESPAN, Resources
from leasekeeper.lanes.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.options import Options

AnyHandler = Handler | BatchHandler


def make_handler(
    function: Callable[..., Any], options: Options, *, queue: str, resources: Resources = NO_LIFESPAN
) -> AnyHandler:
    """The handler that calls `function` as the options say, with parameters from these resources.

    Raises:
        ConfigurationError: a signature, a body type or a middleware that cannot work, or not with these options.
    """
    if options.batch is not None:
        return BatchHandler(function, options, queue=queue, resources=resources)
    signature = read_signature(function)
    if takes_batch(signature.body_type):
        raise ConfigurationError(
            f"handler {signature.name} takes a Batch, and batch is not set: set batch= to the most messages of a "
            "batch, or annotate the parameter with Message[T] or a body type"
        )
    return Handler(
        function,
        queue=queue,
        timeout=options.handler_timeout,
        middleware=options.middleware,
        log_bodies=options.log_bodies,
        retry=options.retry,
        resources=resources,
        envelope=options.envelope,
        logger=options.logger,
    )
