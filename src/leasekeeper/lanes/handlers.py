"""Which handler calls a user's function: one message at a time, or batches; or one of several functions.

Used when a consumer is constructed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from leasekeeper.envelopes.s3 import S3Record
from leasekeeper.errors import ConfigurationError
from leasekeeper.injection import with_inbox
from leasekeeper.lanes.batch_handler import BatchHandler, takes_batch
from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.parameters import NO_LIFESPAN, NOT_YET, Resources
from leasekeeper.lanes.processes.blueprint import OF_PROCESSES, Blueprint
from leasekeeper.lanes.routed import RoutedHandler, routes_of
from leasekeeper.lanes.signature import read_signature

if TYPE_CHECKING:
    from leasekeeper.injection import Injection
    from leasekeeper.lanes.signature import Signature
    from leasekeeper.options import Middleware, Options
    from leasekeeper.routing import When

AnyHandler = Handler | BatchHandler | RoutedHandler
Function = Callable[..., Any]
Functions = Function | Sequence[tuple[Function, "When | None"]]
"""A user's function, or several with the conditions for the messages that each takes."""


def make_handler(
    functions: Functions,
    options: Options,
    *,
    queue: str,
    resources: Resources = NO_LIFESPAN,
    injection: Injection | None = None,
    lifespan: Function | None = None,
) -> AnyHandler:
    """The handler that calls a function, or one of several, as the options say, with parameters from these resources.

    Args:
        functions: one, or several with conditions.
        options: of their consumer.
        queue: its name.
        resources: what the lifespan yields.
        injection: what gives other parameters.
        lifespan: what a worker process opens, with lane='processes'.

    Raises:
        ConfigurationError: a signature, a body type or a middleware that cannot work, or not with these options.
    """
    if not isinstance(functions, Sequence):
        functions = [(functions, None)]
    if options.lane == "processes":
        return _for_processes(functions, options, queue, injection, lifespan)
    (function, when), *more = functions
    if options.batch is not None:
        if more or when is not None:
            raise ConfigurationError(
                f"queue {queue}: batch= with when=, or with several handlers: a batch goes to one handler as a whole; "
                "take one handler that divides its batch, or leave batch out"
            )
        if options.idempotency is not None:
            raise ConfigurationError(
                f"queue {queue}: batch={options.batch} with idempotency: a key is of one message; leave one of them out"
            )
        _check_fifo(options, queue)
        return BatchHandler(function, options, queue=queue, resources=resources, injection=injection)
    handlers = [(_single(each, options, queue, resources, injection), its) for each, its in functions]
    if not more and when is None:
        return handlers[0][0]
    return RoutedHandler(routes_of(handlers, queue), options, queue=queue)


def _for_processes(
    functions: Sequence[tuple[Function, When | None]],
    options: Options,
    queue: str,
    injection: Injection | None,
    lifespan: Function | None,
) -> AnyHandler:
    """The handler as its worker processes make it: here it names things, and runs nothing."""
    injector = None if injection is None else injection.factory
    if injection is not None and injection.injector is not None and injector is None:
        raise ConfigurationError(
            f"queue {queue} with lane='processes' and an injector: a container cannot be taken to a worker process; "
            "give inject() a function at the top of a module that makes the injector: each worker process calls it"
        )
    blueprint = Blueprint(functions, options, queue=queue, lifespan=lifespan, injector=injector)
    unused: dict[str, Any] = dict.fromkeys(("lane", *OF_PROCESSES))
    handler = make_handler(
        functions,
        replace(options, **unused),
        queue=queue,
        resources=NOT_YET,
        injection=injection,
    )
    handler.blueprint = blueprint
    return handler


def _single(
    function: Function, options: Options, queue: str, resources: Resources, injection: Injection | None
) -> Handler:
    if options.idempotency is not None and hasattr(options.idempotency, "gives"):
        injection = with_inbox(injection, options.idempotency)
    signature = read_signature(function, injection)
    if (check_handler := getattr(options.idempotency, "check_handler", None)) is not None:
        check_handler(signature)
    if takes_batch(signature.body_type):
        raise ConfigurationError(
            f"handler {signature.name} takes a Batch, and batch is not set: set batch= to the most messages of a "
            "batch, or annotate the parameter with Message[T] or a body type"
        )
    return Handler(
        function,
        queue=queue,
        timeout=options.handler_timeout,
        middleware=_middleware(options, signature),
        log_bodies=options.log_bodies,
        retry=options.retry,
        resources=resources,
        envelope=options.envelope,
        logger=options.logger,
        injection=injection,
    )


def _middleware(options: Options, signature: Signature) -> Sequence[Middleware]:
    """The user's middleware; the guard of idempotency is outside of it, so that what it commits is committed before."""
    if options.idempotency is None:
        return options.middleware
    if signature.body_type is S3Record:
        raise ConfigurationError(
            f"handler {signature.name} with idempotency: a message may have several S3Record, and has one key: "
            "annotate the parameter with S3Event"
        )
    return (options.idempotency, *options.middleware)


def _check_fifo(options: Options, queue: str) -> None:
    """Refuse batches that no FIFO queue can fill."""
    if not queue.endswith(".fifo") or options.batch is None:
        return
    if options.batch > 10 and options.batch_groups == "one":
        raise ConfigurationError(
            f"batch={options.batch} with queue {queue}: a batch has messages of one message group, and SQS hands out "
            "no more than 10 of a group until these are deleted; lower batch to 10, or set batch_groups='several'"
        )
    if options.batch_key is not None:
        raise ConfigurationError(
            f"batch_key with queue {queue}: the batches of a FIFO queue follow its message groups; leave batch_key out"
        )
