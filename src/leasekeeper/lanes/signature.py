"""A handler's signature, read once when a consumer is constructed, so that a wrong one is refused there."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message
from leasekeeper.texts import safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler is and takes."""

    name: str
    """The function's qualified name."""
    is_coroutine: bool
    """True for an `async def`, which is awaited; False for a `def`, which runs in a thread."""
    wants_message: bool
    """Whether its parameter is a `Message`, and not the decoded body."""
    body_type: Any
    """What the body is decoded to."""


def read_signature(function: Callable[..., Any]) -> Signature:
    """The signature of a handler.

    Raises:
        ConfigurationError: this cannot be a handler; the sentence says why and what to change.
    """
    name = name_of(function)
    coroutine = is_coroutine(function, f"handler {name}")
    annotation = _parameter(function, name)
    wants_message = annotation is Message or get_origin(annotation) is Message
    body_type = (get_args(annotation) or (str,))[0] if wants_message else annotation
    return Signature(name, coroutine, wants_message, body_type)


def name_of(function: Any) -> str:
    """The qualified name of a function, of what a partial calls, or of an instance's class.

    No `repr` of what can be called: that of a partial shows its arguments, which may be secrets.
    """
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    if isinstance(name, str):
        return name
    return type(function).__qualname__ if callable(function) else safe_repr(function, 80)


def is_coroutine(function: Callable[..., Any], name: str) -> bool:
    """Whether a call returns a coroutine. `name` begins the sentence of the error.

    Raises:
        ConfigurationError: it cannot be called, or is a class or a generator.
    """
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


def _parameter(function: Callable[..., Any], name: str) -> Any:
    """The annotation of the handler's one parameter; `Message[str]` without an annotation."""
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
        last = name.rsplit(".", 1)[-1]
        example = last if last.isidentifier() else "handle"  # a lambda's name is <lambda>
        raise ConfigurationError(
            f"handler {name}{signature}: must take exactly one argument, a Message[T] or the decoded body, "
            f"e.g. `async def {example}(message: Message[dict])`"
        )
    annotation = parameters[0].annotation
    return Message[str] if annotation is inspect.Parameter.empty else annotation
