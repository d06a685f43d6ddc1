"""The parameters of a handler after its first: the message, what the lifespan yields, and what an injector gives.

Bound once at a start, so that a message costs no search. A parameter for which nothing can be found is refused before
the first receive.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, is_typeddict

import msgspec

from leasekeeper.errors import ConfigurationError, Mistakes
from leasekeeper.lanes.signature import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.injection import Injection
    from leasekeeper.lanes.signature import Parameter, Signature
    from leasekeeper.message import Message


class Resources:
    """What a lifespan yields, to be found by type: the value itself, or a part of it.

    The parts are the values of a mapping, the items of a tuple, and the fields of a dataclass, a `msgspec.Struct` or an
    attrs class.
    """

    def __init__(self, value: Any) -> None:
        self._value = value

    def find(self, parameter: Parameter, handler: str) -> Any:
        """The object that the parameter gets. Among several parts of its type, the one with its name.

        Raises:
            ConfigurationError: nothing is of that type, or several parts are and none has the parameter's name.
        """
        kind = _checkable(parameter.type)
        try:
            if isinstance(self._value, kind):
                return self._value
            found = {name: part for name, part in _parts(self._value).items() if isinstance(part, kind)}
        except TypeError as error:  # a protocol that cannot be checked, a NewType, ...
            raise ConfigurationError(
                f"handler {handler}: parameter {parameter}: objects cannot be compared with this type ({error}); "
                "annotate it with a class"
            ) from error
        if len(found) == 1:
            [only] = found.values()
            return only
        if parameter.name in found:
            return found[parameter.name]
        if found:
            raise ConfigurationError(
                f"handler {handler}: parameter {parameter}: the lifespan yields {len(found)} of this type, "
                f"{', '.join(found)}: give the parameter one of these names"
            )
        raise ConfigurationError(f"handler {handler}: parameter {parameter}: {self._available()}; {_ADVICE}")

    def _available(self) -> str:
        if self._value is None:
            return "the lifespan yields nothing"
        parts = ", ".join(f"{name}: {type_name(type(part))}" for name, part in _parts(self._value).items())
        return f"the lifespan yields {type_name(type(self._value))}{parts and ', with '}{parts}"


class _NoLifespan(Resources):
    def _available(self) -> str:
        return "there is no lifespan that yields it"


class _NotYet(Resources):
    def find(self, parameter: Parameter, handler: str) -> Any:  # noqa: ARG002 - the class's
        return None


NO_LIFESPAN = _NoLifespan(None)
"""The resources of a handler that runs without a lifespan: none."""
NOT_YET = _NotYet(None)
"""The resources before a start: nothing is refused, and nothing can run."""

_ADVICE = (
    "a handler takes the message or the body first, then the message (`Message`) or what the lifespan yields, by its "
    "type, or what an injector gives (`app.inject(...)`, above the handlers)"
)


def bind(
    function: Callable[..., Any], signature: Signature, resources: Resources, injection: Injection | None = None
) -> Callable[[Any], Any]:
    """The function with all parameters but the first bound.

    It takes a `Message` if `signature.wants_message`, else the decoded body.

    Raises:
        ConfigurationError: a parameter for which there is nothing.
    """
    with Mistakes() as mistakes:
        found = {
            each.name: mistakes.noted(_found, each, signature.name, resources, injection)
            for each in signature.resources
        }
    call = partial(function, **found) if found else function
    if signature.messages or (signature.injected and not signature.message_first):
        call = partial(_call_with_message, call, signature.messages, signature.message_first)
    if signature.injected and injection is not None:
        return injection.around(call, signature.injected, is_coroutine=signature.is_coroutine)
    return call


def _found(parameter: Parameter, handler: str, resources: Resources, injection: Injection | None) -> Any:
    override = () if injection is None else injection.overridden(parameter.type)
    return override[0] if override else resources.find(parameter, handler)


def _call_with_message(
    call: Callable[..., Any],
    names: tuple[str, ...],
    message_first: bool,
    message: Message[Any],
    **injected: Any,
) -> Any:
    return call(message if message_first else message.body, **dict.fromkeys(names, message), **injected)


def _checkable(annotation: Any) -> Any:
    """What `isinstance` takes for an annotation."""
    if get_origin(annotation) is Annotated:
        return _checkable(get_args(annotation)[0])
    if is_typeddict(annotation):
        return dict
    origin = get_origin(annotation)
    return annotation if origin in (None, Union, types.UnionType) else origin


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    if isinstance(value, tuple):
        names = getattr(value, "_fields", range(len(value)))
        return {str(name): part for name, part in zip(names, value, strict=True)}
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif issubclass(kind, msgspec.Struct):
        names = list(kind.__struct_fields__)
    else:
        names = [field.name for field in getattr(kind, "__attrs_attrs__", ())]
    return {name: getattr(value, name) for name in names}
