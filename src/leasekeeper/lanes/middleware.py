"""Middleware: a user's functions around the handler, composed once when the consumer is constructed.

A middleware takes the message and `call_next`, and is of the same kind as the handler: `async def` or `def`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError, Mistakes
from leasekeeper.lanes.parameters import bind
from leasekeeper.lanes.signature import is_coroutine, name_of
from leasekeeper.options import MiddlewareMaker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.injection import Injection
    from leasekeeper.lanes.parameters import Resources
    from leasekeeper.lanes.signature import Signature
    from leasekeeper.message import Message
    from leasekeeper.options import Middleware


def assemble(
    function: Callable[..., Any],
    signature: Signature,
    resources: Resources,
    injection: Injection | None,
    *,
    middleware: Sequence[Middleware],
    timeout: float | None,
) -> Callable[[Any], Any]:
    """A function with its parameters bound and its middleware around it: `bind`, then `compose`.

    Raises:
        ConfigurationError: all that either of them refuses.
    """
    with Mistakes() as mistakes:
        bound = mistakes.noted(bind, function, signature, resources, injection)
        made = mistakes.noted(compose, bound or function, signature, middleware, timeout=timeout)
    assert made is not None
    return made


def compose(
    function: Callable[..., Any],
    signature: Signature,
    middleware: Sequence[Middleware],
    *,
    timeout: float | None = None,
) -> Callable[..., Any]:
    """A bound handler with its middleware around it, the first outermost. With middleware the result takes a `Message`.

    `timeout` is the handler's time limit in seconds, for middleware that is made for the handler.

    Raises:
        ConfigurationError: a middleware is of another kind than the handler, or does not take two arguments.
    """
    if not middleware:
        return function
    composed = function if signature.wants_message else functools.partial(_with_body, function)
    with Mistakes() as mistakes:
        for each in middleware:
            if not isinstance(each, MiddlewareMaker):
                mistakes.noted(_check_kind, each, signature)
                mistakes.noted(_check_arguments, each)
    for each in reversed(middleware):
        made: Any = each
        if isinstance(each, MiddlewareMaker):
            made = each.for_handler(signature.name, is_coroutine=signature.is_coroutine, timeout=timeout)
        composed = functools.partial(_call_around, made, composed)
    return composed


def check_middleware(middleware: Sequence[Middleware]) -> None:
    """Refuse functions that no handler can have around it.

    Raises:
        ConfigurationError: one is a class or a generator, or does not take two arguments.
    """
    with Mistakes() as mistakes:
        for each in middleware:
            if not isinstance(each, MiddlewareMaker):
                mistakes.noted(is_coroutine, each, f"middleware {name_of(each)}")
                mistakes.noted(_check_arguments, each)


def _with_body(function: Callable[..., Any], message: Message[Any]) -> Any:
    return function(message.body)


def _call_around(middleware: Callable[..., Any], call_next: Callable[..., Any], message: Message[Any]) -> Any:
    return middleware(message, call_next)


def _check_kind(middleware: Callable[..., Any], handler: Signature) -> None:
    name = f"middleware {name_of(middleware)}"
    if is_coroutine(middleware, name) is not handler.is_coroutine:
        wanted, found = ("async def", "def") if handler.is_coroutine else ("def", "async def")
        raise ConfigurationError(
            f"{name} is a `{found}` around the `{wanted}` handler {handler.name}: make it a `{wanted}` too"
        )


def _check_arguments(middleware: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(middleware)
    except (TypeError, ValueError):  # some built-ins have no readable signature
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ConfigurationError(
            f"middleware {name_of(middleware)}{signature}: must take two arguments, the message and `call_next` "
            f"({error})"
        ) from error
