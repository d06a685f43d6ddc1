"""A user's batch handler: turns a bundle into calls of the function, and what they do into outcomes.

Made when a consumer with `batch` is constructed. A run changes nothing in it, so lanes may run it from several threads
at once; nothing that a handler raises gets past it.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, get_args, get_origin

from leasekeeper.batch import Batch
from leasekeeper.envelopes.choosing import around
from leasekeeper.envelopes.opening import Blocked
from leasekeeper.envelopes.s3 import S3Record
from leasekeeper.errors import ConfigurationError, HandlerTimeout, Mistakes
from leasekeeper.lanes.batch_run import BatchPlan, BatchRun
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.lanes.envelope_notices import warn
from leasekeeper.lanes.handler import loop_is_gone
from leasekeeper.lanes.middleware import assemble
from leasekeeper.lanes.parameters import NO_LIFESPAN, Resources
from leasekeeper.lanes.signature import Signature, read_signature
from leasekeeper.lanes.unwrapping import Unwrapping
from leasekeeper.retries import retries_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.injection import Injection
    from leasekeeper.lanes.api import Say
    from leasekeeper.lanes.bundles import Bundle
    from leasekeeper.lanes.processes.blueprint import Blueprint
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome


class BatchHandler:
    """A function of a `Batch[T]` or a `list[T]`, and everything it takes to call it for a bundle.

    Attributes:
        function: the user's function, or what calls it with the bodies of a batch.
        signature: what it takes, with the type of one body.
        name: the function's qualified name.
        is_coroutine: True for an `async def`, which is awaited; False for a `def`, which runs in a thread.
        timeout: seconds that one call of an `async def` may take; None: no limit. The thread lane limits a `def`.

    Raises:
        ConfigurationError: a signature, a body type or a middleware that cannot work, or a parameter that is not among
            the `resources`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        options: Options,
        *,
        queue: str,
        resources: Resources = NO_LIFESPAN,
        injection: Injection | None = None,
    ) -> None:
        signature, bodies = _read(function, injection)
        self.name = signature.name
        self.blueprint: Blueprint | None = None
        self.is_coroutine = signature.is_coroutine
        self.timeout = options.handler_timeout
        with_batch = not bodies or bool(options.middleware) or bool(signature.injected)
        self.function = partial(_with_bodies, function) if bodies and with_batch else function
        self._injection = injection
        self.signature = signature
        self._middleware = options.middleware
        if signature.body_type is S3Record:
            raise ConfigurationError(
                f"handler {self.name}: a batch is of messages, and a message may have several S3Record: annotate the "
                "parameter with Batch[S3Event] or list[S3Event]"
            )
        if around(options.envelope, is_coroutine=self.is_coroutine):
            raise ConfigurationError(
                f"handler {self.name} with envelope={options.envelope!r}: each task has a result, so it cannot be in "
                "a batch; leave batch out"
            )
        with Mistakes() as mistakes:
            decode = mistakes.noted(
                decoder_of,
                signature.body_type,
                self.name,
                quote=options.log_bodies,
                envelope=options.envelope,
                notice=partial(warn, options.logger, queue, self.name),
            )
            self._call: Any = mistakes.noted(self._composed, resources)
        assert decode is not None
        self._plan = BatchPlan(
            name=self.name,
            queue=queue,
            decode=decode,
            open=decode.open if isinstance(decode, Unwrapping) else None,
            bodies=not with_batch,
            on_error=options.on_batch_error,
            retries=retries_of(options.retry) if options.retry is not None else None,
        )

    def _composed(self, resources: Resources) -> Callable[[Any], Any]:
        return assemble(
            self.function,
            self.signature,
            resources,
            self._injection,
            middleware=self._middleware,
            timeout=self.timeout,
        )

    def bound(self, resources: Resources) -> BatchHandler:
        """This handler with parameters from these resources; as `Handler.bound`."""
        if not self.signature.resources and not self.signature.injected:
            return self
        bound = copy.copy(self)
        bound._call = bound._composed(resources)  # noqa: SLF001 - a copy of this class
        return bound

    async def run(self, say: Say[Bundle], bundle: Bundle) -> Outcome:  # noqa: ARG002 - a bundle has its own
        """Await the handler for a bundle. Only a cancellation gets through, and the end of the loop itself."""
        run = BatchRun(self._plan, bundle)
        while (argument := await self._next_call(run)) is not None:
            try:
                result = await self._called(argument)
            except asyncio.CancelledError:
                raise
            except GeneratorExit as error:
                if loop_is_gone():
                    raise
                run.raised(error)
            except BaseException as error:
                run.raised(error)
            else:
                run.returned(result)
        return run.outcome

    async def _next_call(self, run: BatchRun) -> Any:
        while True:
            try:
                return run.next_call()
            except Blocked as blocked:
                await asyncio.to_thread(blocked.unblock)

    async def _called(self, argument: Any) -> Any:
        if self.timeout is None:
            return await self._call(argument)
        limit = asyncio.timeout(self.timeout)
        try:
            async with limit:
                return await self._call(argument)
        except TimeoutError as error:
            if limit.expired():
                raise HandlerTimeout(self.timed_out(self.timeout)) from error
            raise

    def run_blocking(self, say: Say[Bundle], bundle: Bundle) -> Outcome:  # noqa: ARG002 - as in `run`
        """Call the handler for a bundle, in this thread."""
        run = BatchRun(self._plan, bundle)
        while (argument := _next_call(run)) is not None:
            try:
                result = self._call(argument)
            except BaseException as error:
                run.raised(error)
            else:
                run.returned(result)
        return run.outcome

    def timed_out(self, timeout: float, bundle: Bundle | None = None) -> str:  # noqa: ARG002 - the protocol's
        """The sentence of a handler's time-out."""
        return (
            f"handler {self.name} ran longer than handler_timeout={timeout:g} s; the messages of its batch are "
            "retried. Raise the limit, make the batches smaller, or set a time-out on the slow call"
        )

    def __repr__(self) -> str:
        return f"<BatchHandler {self.name}, {'async def' if self.is_coroutine else 'def'}>"


def _next_call(run: BatchRun) -> Any:
    while True:
        try:
            return run.next_call()
        except Blocked as blocked:
            blocked.unblock()


def takes_batch(annotation: Any) -> bool:
    """Whether a parameter of this annotation takes a `Batch`."""
    return annotation is Batch or get_origin(annotation) is Batch


def _read(function: Callable[..., Any], injection: Injection | None) -> tuple[Signature, bool]:
    """The signature of a batch handler, with the type of one body, and whether it takes bodies alone."""
    found = read_signature(function, injection)
    annotation = found.body_type
    bodies = annotation is list or get_origin(annotation) is list
    one = "message" if found.message_first else "body"
    if found.messages or not (bodies or takes_batch(annotation) or (found.message_first and _is_bare(function))):
        raise ConfigurationError(
            f"handler {found.name} takes one {'message' if found.messages else one}, and batch= is set: annotate its "
            "parameter with Batch[T], or with list[T] for the bodies alone; or leave batch out"
        )
    body_type = str if found.message_first else (get_args(annotation) or (str,))[0]
    # To `compose`, a batch is what a message is elsewhere.
    return dataclasses.replace(found, message_first=True, body_type=body_type), bodies


def _with_bodies(function: Callable[..., Any], batch: Batch[Any], **given: Any) -> Any:
    return function(batch.bodies, **given)


def _is_bare(function: Callable[..., Any]) -> bool:
    """Whether its first parameter has no annotation: then it takes a `Batch[str]`."""
    first = next(iter(inspect.signature(function).parameters.values()))
    return first.annotation is first.empty
