"""A user's handler: turns a delivery into a call, and whatever the call does into an `Outcome`.

Made when a consumer is constructed. A run changes nothing in it, so lanes may run it from several threads at once;
nothing that a handler raises gets past it.
"""

from __future__ import annotations

import asyncio
import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.envelopes.choosing import around
from leasekeeper.envelopes.opening import Blocked
from leasekeeper.envelopes.s3 import S3Record
from leasekeeper.errors import HandlerTimeout, Mistakes
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.lanes.envelope_notices import warn
from leasekeeper.lanes.failures import outcome_of_error, outcome_of_result
from leasekeeper.lanes.lease_control import LeaseControl
from leasekeeper.lanes.middleware import assemble
from leasekeeper.lanes.parameters import NO_LIFESPAN, Resources
from leasekeeper.lanes.records import each_record
from leasekeeper.lanes.retry_rules import with_rule
from leasekeeper.lanes.signature import read_signature
from leasekeeper.lanes.unwrapping import Unwrapping
from leasekeeper.message import Message
from leasekeeper.outcomes import DONE, WITHHELD, Outcome
from leasekeeper.retries import retries_of

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.envelopes import Envelope
    from leasekeeper.injection import Injection
    from leasekeeper.lanes.api import Say
    from leasekeeper.lanes.processes.blueprint import Blueprint
    from leasekeeper.message import Received
    from leasekeeper.options import Middleware


class Handler:
    """A user's function, and everything it takes to call it for a delivery.

    Attributes:
        function: the user's function.
        signature: what it takes.
        name: the function's qualified name.
        body_type: what the body is decoded to.
        is_coroutine: True for an `async def`, which is awaited; False for a `def`, which runs in a thread.
        timeout: seconds that an `async def` may take; None: no limit. The thread lane limits a `def`.
        blueprint: what worker processes make it of; None where it runs in this process.

    Raises:
        ConfigurationError: a signature, a body type or a middleware that cannot work, or a parameter that is not among
            the `resources`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        queue: str,
        timeout: float | None = None,
        middleware: Sequence[Middleware] = (),
        log_bodies: bool = False,
        retry: object = None,
        resources: Resources = NO_LIFESPAN,
        envelope: Envelope | None = None,
        logger: logging.Logger | None = None,
        injection: Injection | None = None,
    ) -> None:
        signature = read_signature(function, injection)
        self.name = signature.name
        self.blueprint: Blueprint | None = None
        self.body_type = signature.body_type
        self.is_coroutine = signature.is_coroutine
        self.timeout = timeout
        self._queue = queue
        self.function = function
        self._injection = injection
        self.signature = signature
        self._middleware = middleware = (*around(envelope, is_coroutine=signature.is_coroutine), *middleware)
        self._retries = retries_of(retry) if retry is not None else None
        with Mistakes() as mistakes:
            decode = mistakes.noted(
                decoder_of,
                signature.body_type,
                self.name,
                quote=log_bodies,
                envelope=envelope,
                notice=None if logger is None else partial(warn, logger, queue, self.name),
            )
            call = mistakes.noted(self._composed, resources)
        assert decode is not None
        assert call is not None
        self._decode, self._call = decode, call
        if isinstance(self._decode, Unwrapping):
            self._message = partial(self._opened, self._decode)  # type: ignore[method-assign] # the same arguments
        self._plain = not signature.wants_message and not middleware
        """Whether the call takes the decoded body alone, so that no `Message` is made."""

    def _composed(self, resources: Resources) -> Callable[[Any], Any]:
        call = assemble(
            self.function,
            self.signature,
            resources,
            self._injection,
            middleware=self._middleware,
            timeout=self.timeout,
        )
        if self.signature.body_type is S3Record:
            call = each_record(call, self.name, is_coroutine=self.is_coroutine)
        if self.timeout is not None and self.is_coroutine:  # the thread lane watches the time of `def` handlers
            return partial(self._call_limited, call, self.timeout)
        return call

    def bound(self, resources: Resources) -> Handler:
        """This handler with parameters from these resources; itself if it takes nothing of them.

        Raises:
            ConfigurationError: a parameter for which there is nothing.
        """
        if not self.signature.resources and not self.signature.injected:
            return self
        bound = copy.copy(self)
        bound._call = bound._composed(resources)  # noqa: SLF001 - a copy of this class
        return bound

    def open(self, received: Received) -> Received:
        """The message as the handler sees it: with its envelopes open, if the option `envelope` opens some.

        The handler that runs next in this task or thread does not open it again.

        Raises:
            Exception: what opening raises.
        """
        if not isinstance(self._decode, Unwrapping):
            return received
        opened = self._decode.open(received)
        self._decode.remember(received, opened)
        return opened

    async def run(self, say: Say[Delivery], delivery: Delivery) -> Outcome:
        """Await the handler for a delivery. Only a cancellation gets through, and the end of the loop itself.

        `say` takes to the engine what the handler says of its message while it runs.
        """
        try:
            argument = self._decode(delivery.received) if self._plain else self._message(say, delivery)
            result = await self._call(argument)
        except asyncio.CancelledError:
            raise
        except Blocked as blocked:  # the handler was not called yet
            await asyncio.to_thread(blocked.unblock)
            return await self.run(say, delivery)
        except GeneratorExit as error:
            if loop_is_gone():  # the handler did not raise it: its loop is closed, and now this coroutine is too
                raise
            return self._failed(error, say, delivery)
        except BaseException as error:
            return self._failed(error, say, delivery)
        if result is None and self._plain:
            return DONE
        return self._outcome_of(result, argument)

    async def _call_limited(self, call: Callable[..., Any], seconds: float, argument: Any) -> Any:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await call(argument)
        except TimeoutError as error:
            if limit.expired():
                raise HandlerTimeout(self.timed_out(seconds)) from error
            raise

    def run_blocking(self, say: Say[Delivery], delivery: Delivery) -> Outcome:
        """Call the handler for a delivery, in this thread; `say` as in `run`."""
        try:
            argument = self._decode(delivery.received) if self._plain else self._message(say, delivery)
            result = self._call(argument)
        except Blocked as blocked:
            blocked.unblock()
            return self.run_blocking(say, delivery)
        except BaseException as error:
            return self._failed(error, say, delivery)
        if result is None and self._plain:
            return DONE
        return self._outcome_of(result, argument)

    def _failed(self, error: BaseException, say: Say[Delivery], delivery: Delivery) -> Outcome:
        outcome = outcome_of_error(error)
        if self._retries is None:
            return outcome
        message = partial(self._message_of_failure, say, delivery)
        return with_rule(outcome, error, self._retries, attempt=delivery.attempt, message=message)

    def _message_of_failure(self, say: Say[Delivery], delivery: Delivery) -> Message[Any]:
        try:
            return self._message(say, delivery)
        except Exception:  # what could not be decoded or opened before
            return Message(delivery.received, None, queue=self._queue, lease=LeaseControl(say, delivery))

    def timed_out(self, timeout: float, delivery: Delivery | None = None) -> str:  # noqa: ARG002 - the protocol's
        """The sentence of a handler's time-out."""
        return (
            f"handler {self.name} ran longer than handler_timeout={timeout:g} s; its message is retried. Raise the "
            "limit, or set a time-out on the slow call"
        )

    def _message(self, say: Say[Delivery], delivery: Delivery) -> Message[Any]:
        received = delivery.received
        return Message(received, self._decode(received), queue=self._queue, lease=LeaseControl(say, delivery))

    def _opened(self, unwrapping: Unwrapping, say: Say[Delivery], delivery: Delivery) -> Message[Any]:
        opened = unwrapping.open_once(delivery.received)
        return Message(opened, unwrapping(opened), queue=self._queue, lease=LeaseControl(say, delivery))

    def _outcome_of(self, result: Any, argument: Any) -> Outcome:
        if result is not None and (outcome := outcome_of_result(result, self.name)) is not None:
            return outcome
        if type(argument) is Message and argument._lease.withheld:  # noqa: SLF001 - spares each message a call
            return WITHHELD
        return DONE

    def __repr__(self) -> str:
        return f"<Handler {self.name}, {'async def' if self.is_coroutine else 'def'}>"


def loop_is_gone() -> bool:
    """Whether no event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
