"""A handler's signature, read once when a consumer is constructed, so that a wrong one is refused there."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

from leasekeeper.errors import ConfigurationError, Mistakes
from leasekeeper.message import Message
from leasekeeper.texts import safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.injection import Injection


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function: its name, and the type in its annotation."""

    name: str
    type: Any

    def __str__(self) -> str:
        return f"{self.name}: {type_name(self.type)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler is and takes."""

    name: str
    """The function's qualified name."""
    is_coroutine: bool
    """True for an `async def`, which is awaited; False for a `def`, which runs in a thread."""
    message_first: bool
    """Whether its first parameter is a `Message`, and not the decoded body."""
    body_type: Any
    """What the body is decoded to."""
    messages: tuple[str, ...] = ()
    """Further parameters that get the `Message`."""
    resources: tuple[Parameter, ...] = ()
    """Further parameters that get what the lifespan yields."""
    injected: tuple[inspect.Parameter, ...] = ()
    """Further parameters that the injector gives."""

    @property
    def wants_message(self) -> bool:
        """Whether a call needs a `Message`, and not the decoded body alone."""
        return self.message_first or bool(self.messages) or bool(self.injected)


def read_signature(function: Callable[..., Any], injection: Injection | None = None) -> Signature:
    """The signature of a handler, with parameters that the injection gives.

    Raises:
        ConfigurationError: this cannot be a handler; the sentence says why and what to change.
    """
    name = name_of(function)
    coroutine = is_coroutine(function, f"handler {name}")
    (first, *further), injected = _parameters(function, name, injection)
    message_first, body_type = _is_message(first.type), first.type
    if message_first:
        body_type = (get_args(first.type) or (str,))[0]
    for each in further:
        if _is_message(each.type) and get_args(each.type) not in ((), (body_type,)):
            raise ConfigurationError(
                f"handler {name}: parameter {each} is a message with another body than its first, {first}: annotate it "
                "with Message alone"
            )
    return Signature(
        name,
        coroutine,
        message_first,
        body_type,
        messages=tuple(each.name for each in further if _is_message(each.type)),
        resources=tuple(each for each in further if not _is_message(each.type)),
        injected=tuple(injected),
    )


def _is_message(annotation: Any) -> bool:
    return annotation is Message or get_origin(annotation) is Message


def type_name(kind: Any) -> str:
    """A type as a sentence shows it."""
    return str(kind) if get_args(kind) else getattr(kind, "__qualname__", str(kind))


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


def _parameters(
    function: Callable[..., Any], name: str, injection: Injection | None
) -> tuple[list[Parameter], list[inspect.Parameter]]:
    """The parameters that a handler is called with: the first and all others without a default; and those injected.

    The first is a `Message[str]` if it has no annotation.
    """
    signature = _read(function, name)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in positional:
        last = name.rsplit(".", 1)[-1]
        example = last if last.isidentifier() else "handle"  # a lambda's name is <lambda>
        raise ConfigurationError(
            f"handler {name}{signature}: its first argument must be the message or the decoded body, e.g. "
            f"`async def {example}(message: Message[dict])`"
        )
    first, *others = parameters
    kinds = (*positional, inspect.Parameter.KEYWORD_ONLY)
    named = [each for each in others if each.kind in kinds]
    injected = [
        each for each in named if injection is not None and not _is_message(each.annotation) and injection.gives(each)
    ]
    further = [each for each in named if each.default is each.empty and each not in injected]
    with Mistakes() as mistakes:
        mistakes.add(
            f"handler {name}{signature}: parameter {each.name} needs a type, or a default: it gets the message if "
            "it is annotated with Message, else what the lifespan yields of that type"
            for each in further
            if each.annotation in (each.empty, Any, object)
        )
        mistakes.add(
            f"handler {name}{signature}: parameter {each.name} is given by its name: put the `/` before it"
            for each in (*further, *injected)
            if each.kind is each.POSITIONAL_ONLY
        )
    annotation = Message[str] if first.annotation is first.empty else first.annotation
    return [Parameter(first.name, annotation), *(Parameter(each.name, each.annotation) for each in further)], injected


def _read(function: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except (NameError, AttributeError) as error:
        raise ConfigurationError(
            f"handler {name}: its annotation cannot be resolved ({error}); import the type where the handler is "
            "defined, not only under TYPE_CHECKING"
        ) from error
    except (ValueError, TypeError, SyntaxError) as error:
        raise ConfigurationError(f"handler {name}: its signature cannot be read ({error}); wrap it in a def") from error
