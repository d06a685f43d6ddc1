"""A user's handler, its signature read once: what it takes, how a body becomes that, and what its return means.

Made when a consumer is constructed, so that a wrong signature is refused there. It turns a delivery into a call, and
whatever the call does into an `Outcome`; nothing a handler raises gets past it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, get_args, get_origin

from leasekeeper.errors import Closed, ConfigurationError, HandlerTimeout, UndecodableBody
from leasekeeper.lanes.api import Answer
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.message import Message
from leasekeeper.outcomes import DONE, WITHHELD, Failed, Outcome, Reject, Retry, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.options import Middleware


class Handler:
    """A function of one parameter, and all it takes to call it for a delivery.

    Attributes:
        name: the function's qualified name.
        is_coroutine: whether it is an `async def`, to be awaited, or a `def`, to be run in a thread.
        post: how what a handler says of its message while it runs reaches the engine; set before the first run.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        queue: str,
        timeout: float | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.name: str = getattr(function, "__qualname__", repr(function))
        self.is_coroutine = _is_coroutine(function, f"handler {self.name}")
        self.post: Callable[[Answer], bool] | None = None
        self._queue = queue
        self._timeout = timeout
        annotation = _parameter(function, self.name)
        self._wants_message = annotation is Message or get_origin(annotation) is Message
        body_type = (get_args(annotation) or (str,))[0] if self._wants_message else annotation
        self._decode = decoder_of(body_type, self.name)
        self._plain = not self._wants_message and not middleware
        self._call = self._chain(function, middleware)

    def _chain(self, function: Callable[..., Any], middleware: Sequence[Middleware]) -> Callable[..., Any]:
        if not middleware:
            return function
        innermost = function if self._wants_message else functools.partial(_with_body, function)
        for each in reversed(middleware):
            name = f"middleware {getattr(each, '__qualname__', each)}"
            if _is_coroutine(each, name) is not self.is_coroutine:
                kinds = ("async def", "def") if self.is_coroutine else ("def", "async def")
                raise ConfigurationError(
                    f"{name} is a `{kinds[1]}` around the `{kinds[0]}` handler {self.name}: make it a `{kinds[0]}` too"
                )
            _check_takes_two(each, name)
            innermost = functools.partial(_around, each, innermost)
        return innermost

    async def run(self, delivery: Delivery) -> Outcome:
        """Await the handler for a delivery. Only a cancellation gets through, and the end of the loop itself."""
        try:
            argument = self._decode(delivery.received) if self._plain else self._message(delivery)
            if self._timeout is None:
                result = await self._call(argument)
            else:
                result = await self._run_limited(argument, self._timeout)
        except asyncio.CancelledError:
            raise
        except GeneratorExit as error:
            if _loop_is_gone():  # not the handler raised it: this coroutine is being closed, as its loop was
                raise
            return _outcome_of_error(error)
        except BaseException as error:
            return _outcome_of_error(error)
        if result is None and self._plain:
            return DONE
        return self._outcome_of(result, argument)

    async def _run_limited(self, argument: Any, seconds: float) -> Any:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._call(argument)
        except TimeoutError as error:
            if limit.expired():
                raise HandlerTimeout(self.timed_out(seconds)) from error
            raise

    def run_blocking(self, delivery: Delivery) -> Outcome:
        """Call the handler for a delivery, in this thread."""
        try:
            argument = self._decode(delivery.received) if self._plain else self._message(delivery)
            result = self._call(argument)
        except BaseException as error:
            return _outcome_of_error(error)
        if result is None and self._plain:
            return DONE
        return self._outcome_of(result, argument)

    def timed_out(self, timeout: float) -> str:
        """The sentence of a handler's time-out."""
        return (
            f"handler {self.name} ran longer than handler_timeout={timeout:g} s; its message is retried. Raise the "
            "limit, or give the slow call inside a time-out of its own"
        )

    def _message(self, delivery: Delivery) -> Message[Any]:
        received = delivery.received
        return Message(received, self._decode(received), queue=self._queue, lease=LeaseControl(delivery, self.post))

    def _outcome_of(self, result: Any, argument: Any) -> Outcome:
        if result is not None:
            if isinstance(result, (Retry, Reject)):
                return result
            if result is Retry or result is Reject:
                return Retry() if result is Retry else Reject()
            if inspect.iscoroutine(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
                return Failed(self._not_run(result))
        if isinstance(argument, Message):
            run = argument._lease  # noqa: SLF001 - the lane made this message and its lease view itself
            if isinstance(run, LeaseControl) and run.withheld:
                return WITHHELD
        return DONE

    def _not_run(self, result: Any) -> TypeError:
        """What a result means of which nobody has run a line: acked, the message would be lost."""
        kind = type(result).__name__.replace("_", " ")
        if inspect.iscoroutine(result):
            result.close()  # it is known here that it was never awaited
        return TypeError(
            f"handler {self.name} returned a {kind}, which nobody runs, so its work was not done; make the handler an "
            "`async def` that awaits what it calls"
        )

    def __repr__(self) -> str:
        return f"<Handler {self.name}, {'async def' if self.is_coroutine else 'def'}>"


_SETTLING = threading.Lock()
"""Held while a message is settled early: two threads may want to, and the second is to be told."""


class LeaseControl:
    """A handler's view of its lease (`leasekeeper.message.LeaseView`): reads the delivery, posts what is said of it."""

    __slots__ = ("_delivery", "_post", "withheld")

    def __init__(self, delivery: Delivery, post: Callable[[Answer], bool] | None) -> None:
        self._delivery = delivery
        self._post = post
        self.withheld = False

    @property
    def lease_lost(self) -> bool:
        """Whether the lease ran out."""
        return self._delivery.lost

    @property
    def lease_capped(self) -> bool:
        """Whether the lease can be extended no more."""
        return self._delivery.capped

    @property
    def lease_deadline(self) -> float:
        """When the lease ends."""
        return self._delivery.lease.deadline

    def settle_early(self, *, retry_after: float | None) -> Settlement:
        """Ack, or retry after that many seconds, now."""
        delivery = self._delivery
        outcome = DONE if retry_after is None else Retry(retry_after)
        with _SETTLING:
            if delivery.settlement is not None or not delivery.open:
                raise Closed(
                    f"message {delivery.received.message_id} is settled already: ack() and retry() can be called once, "
                    "and not after its handler has returned unless withhold() was called"
                )
            settlement = delivery.settlement = Settlement()
        if self._post is None or not self._post(Answer(delivery, outcome, final=False)):
            delivery.settlement = None
            raise Closed(
                f"message {delivery.received.message_id}: the consumer is closed; the message comes back when its "
                "visibility timeout ends"
            )
        return settlement

    def withhold(self) -> None:
        """Keep the message when the handler returns."""
        self.withheld = True


def _outcome_of_error(error: BaseException) -> Outcome:
    if isinstance(error, (Retry, Reject)):
        return error
    if isinstance(error, UndecodableBody):
        rejected = Reject(str(error))
        rejected.__cause__ = error
        return rejected
    return Failed(error)


def _with_body(function: Callable[..., Any], message: Message[Any]) -> Any:
    return function(message.body)


def _around(middleware: Middleware, following: Callable[..., Any], message: Message[Any]) -> Any:
    return middleware(message, following)


def _is_coroutine(function: Callable[..., Any], name: str) -> bool:
    if not callable(function):
        raise ConfigurationError(f"{name} is not callable: give a function, `async def` or `def`")
    bare = function
    while isinstance(bare, functools.partial):
        bare = bare.func
    if inspect.isclass(bare):
        raise ConfigurationError(f"{name} is a class: give a function, a method, or an instance that can be called")
    for each in (bare, getattr(bare, "__call__", None)):  # noqa: B004 - an object whose __call__ is a coroutine function
        if inspect.isasyncgenfunction(each) or inspect.isgeneratorfunction(each):
            raise ConfigurationError(f"{name} is a generator: it would never run; use return instead of yield")
        if inspect.iscoroutinefunction(each):
            return True
    return False


def _check_takes_two(middleware: Middleware, name: str) -> None:
    try:
        signature = inspect.signature(middleware)
    except (TypeError, ValueError):  # some built-ins have none to be read
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ConfigurationError(
            f"{name}{signature}: must take two arguments, the message and `call_next` ({error})"
        ) from error


def _parameter(function: Callable[..., Any], name: str) -> Any:
    """The annotation of the one parameter a handler takes; without one it receives a `Message[str]`."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, AttributeError) as error:
        raise ConfigurationError(
            f"handler {name}: its annotation cannot be resolved ({error}); import the type where the handler is "
            "defined, not only under TYPE_CHECKING"
        ) from error
    except (ValueError, TypeError, SyntaxError) as error:
        raise ConfigurationError(f"handler {name}: its signature cannot be read ({error}); wrap it in a def") from error
    parameters = list(signature.parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        each for each in parameters if each.default is each.empty and each.kind in (*positional, each.KEYWORD_ONLY)
    ]
    if (
        not parameters
        or parameters[0].kind not in positional
        or needed[1:]
        or (needed and needed[0] is not parameters[0])
    ):
        raise ConfigurationError(
            f"handler {name}{signature}: must take exactly one argument, a Message[T] or the decoded body, "
            f"e.g. `async def {name.rsplit('.', 1)[-1].strip('<>')}(message: Message[dict])`"
        )
    annotation = parameters[0].annotation
    return Message[str] if annotation is inspect.Parameter.empty else annotation


def _loop_is_gone() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
