"""Decoding: how a message's body becomes what a handler's annotation says.

Text, bytes, anything msgspec decodes from JSON (dict, list, dataclasses, TypedDicts, attrs classes, Structs, unions of
them) and pydantic models. A decoder is made once for each handler; what it cannot decode is an `UndecodableBody`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import msgspec.inspect

from leasekeeper.errors import ConfigurationError, UndecodableBody

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.message import Received

SHOWN = 80
"""Characters of a body that an error quotes."""
_JSON = (dict, list, str, int, float, bool, type(None))
"""What JSON's values become by themselves."""


def decoder_of(body_type: Any, handler: str) -> Callable[[Received], Any]:
    """The decoder for an annotation.

    Raises:
        ConfigurationError: nothing known decodes JSON to that type.
    """
    if body_type is str:
        return attrgetter("body")
    if body_type is bytes:
        return _bytes
    try:
        decode = _pydantic(body_type) if _has_pydantic(body_type) else _msgspec(body_type)
    except Exception as error:  # either library raises kinds of its own
        raise ConfigurationError(
            f"handler {handler}: a body cannot be decoded to {_name(body_type)} ({error}); annotate the parameter with "
            "str, bytes, dict, a dataclass, a msgspec.Struct, a pydantic model, or Message[...] of one of these"
        ) from error
    return _checked(decode, _name(body_type))


def _bytes(received: Received) -> bytes:
    return received.body.encode()


def _checked(decode: Callable[[str], Any], wanted: str) -> Callable[[Received], Any]:
    def checked(received: Received) -> Any:
        try:
            return decode(received.body)
        except Exception as error:
            body = received.body
            shown = body if len(body) <= SHOWN else f"{body[:SHOWN]}..."
            raise UndecodableBody(f"its body {shown!r} ({len(body)} characters) is not {wanted}: {error}") from error

    return checked


def _msgspec(body_type: Any) -> Callable[[str], Any]:
    foreign = _foreign(msgspec.inspect.type_info(body_type), set())
    if foreign is None:
        return msgspec.json.Decoder(body_type).decode
    if _has_pydantic(foreign):  # a model inside of a dataclass, say
        return _pydantic(body_type)
    raise TypeError(f"nothing in JSON becomes a {_name(foreign)}")


def _foreign(info: Any, seen: set[int]) -> type | None:
    """A class that a body must have a value of and JSON has none of: msgspec takes it, and then refuses every body."""
    if id(info) in seen:  # types may contain themselves
        return None
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        return None if any(issubclass(each, info.cls) for each in _JSON) else info.cls
    inside = [getattr(info, name, None) for name in ("item_type", "key_type", "value_type", "type")]
    inside += [*getattr(info, "item_types", ()), *getattr(info, "types", ())]
    inside += [each.type for each in getattr(info, "fields", ()) if each.required]
    return next((found for each in inside if each is not None and (found := _foreign(each, seen))), None)


def _has_pydantic(body_type: Any) -> bool:
    """Whether the type, or anything in its brackets, is pydantic's; told without importing pydantic."""
    return hasattr(body_type, "__pydantic_validator__") or any(_has_pydantic(each) for each in get_args(body_type))


def _pydantic(body_type: Any) -> Callable[[str], Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(body_type).validate_json


def _name(body_type: Any) -> str:
    return str(body_type) if get_args(body_type) else getattr(body_type, "__qualname__", str(body_type))
