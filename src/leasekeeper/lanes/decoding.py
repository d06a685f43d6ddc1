"""Decoding: how a message's body becomes what a handler's annotation says.

Text, bytes, anything msgspec decodes from JSON (dict, list, dataclasses, TypedDicts, attrs classes, Structs, unions of
them), pydantic models, and the envelopes of `leasekeeper.envelopes` around any of these. A decoder is made once for
each handler; what it cannot decode is an `UndecodableBody`, with a bounded text that is made where the handler runs.
"""

from __future__ import annotations

import re
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, get_args, get_origin

import msgspec
import msgspec.inspect

from leasekeeper.envelopes.choosing import ANNOTATIONS, NAMES, advice, envelope_in, names_of
from leasekeeper.envelopes.opening import NothingToHandle
from leasekeeper.envelopes.s3 import S3Event, read_s3
from leasekeeper.errors import ConfigurationError, UndecodableBody
from leasekeeper.lanes.envelope_notices import noticing
from leasekeeper.lanes.unwrapping import Unwrapping, has_envelope, takes_records, whole
from leasekeeper.payload import Payload, payload_of
from leasekeeper.texts import bounded, safe_repr, safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.envelopes.choosing import Envelope
    from leasekeeper.envelopes.opening import OpenedMessage
    from leasekeeper.lanes.unwrapping import Decode
    from leasekeeper.message import Received

SHOWN = 80
"""Characters of a body, or of one value in it, that an error quotes when bodies may be logged."""
EXPLAINED = 600
"""Characters that say why a body cannot be decoded."""
MANY = 100
"""Errors of one validation above which an error gives only their number. pydantic makes the texts of all or of none;
for the half a million that a body of 1 MB can hold they take 90 MB and seconds."""
FIRST = 5
"""Errors of one validation that are shown."""
_VALUE = re.compile(r"^(Invalid (?:enum )?value) .*?( - at `[^`]*`)?$", re.DOTALL)
"""The two of msgspec's sentences that quote a value."""
_JSON = (dict, list, str, int, float, bool, type(None))
"""What JSON's values become by themselves."""


def decoder_of(
    body_type: Any,
    handler: str,
    *,
    quote: bool = False,
    envelope: Envelope | None = None,
    notice: Callable[[str], None] | None = None,
) -> Callable[[Received], Any]:
    """The decoder for an annotation; an `Unwrapping` if it opens envelopes.

    Args:
        body_type: what a body becomes.
        handler: the handler's name, for the error.
        quote: whether an `UndecodableBody` may quote the body and values in it, which may be personal data.
        envelope: the envelopes to open; None opens none, and looks whether the handler takes one for its payload.
        notice: told once, in words, if it does.

    Raises:
        ConfigurationError: nothing known decodes JSON to that type, or it cannot take what the envelopes hold.
    """
    if envelope or takes_records(body_type):
        decode = _records if takes_records(body_type) else _held(body_type, handler)
        opened = _checked_opened(decode, _Wanted(body_type, quote=quote))
        return Unwrapping(envelope or (), body_type, opened, handler, partial(_explain, quote=quote))
    if body_type is str:
        return attrgetter("body")
    if body_type is bytes:
        return _bytes
    if body_type is Payload:
        return _payload
    return _checked(_json(body_type, handler), _Wanted(body_type, quote=quote), notice if envelope is None else None)


def _bytes(received: Received) -> bytes:
    return received.body.encode()


def _payload(received: Received) -> Payload:
    return payload_of(received.body)


def _json(body_type: Any, handler: str) -> Callable[[str | bytes], Any]:
    """The decoder of JSON to a type."""
    if (envelope := whole(body_type, partial(_held, handler=handler))) is not None:
        return partial(_whole, envelope)
    if any(map(has_envelope, get_args(body_type))):
        raise ConfigurationError(
            f"handler {handler}: {_name(body_type)} has an envelope inside of another type: annotate the envelope "
            "alone; or give envelope='auto' for bodies of several kinds, and annotate what they hold"
        )
    try:
        return _pydantic(body_type) if _has_pydantic(body_type) else _msgspec(body_type)
    except Exception as error:  # both libraries have their own types of errors
        raise ConfigurationError(
            f"handler {handler}: a body cannot be decoded to {_name(body_type)} ({error}); annotate the parameter with "
            "str, bytes, dict, a dataclass, a msgspec.Struct, a pydantic model, or Message[...] of one of these"
        ) from error


def _whole(decode: Decode, body: str | bytes) -> Any:
    return decode(body, ())


def _held(body_type: Any, handler: str) -> Decode:
    """The decoder of what an envelope holds."""
    if body_type is str:
        return lambda payload, _: payload if isinstance(payload, str) else payload.decode()
    if body_type is bytes:
        return lambda payload, _: payload if isinstance(payload, bytes) else payload.encode()
    if body_type is S3Event:
        return read_s3
    if body_type is Payload:
        return lambda payload, _: payload_of(payload)
    if takes_records(body_type):
        raise ConfigurationError(
            f"handler {handler}: {_name(body_type)} inside of another annotation: put S3Event there; or name the "
            "envelopes around it in the option envelope, and annotate the parameter with S3Record alone"
        )
    decode = _json(body_type, handler)
    return lambda payload, _: decode(payload)


def _records(payload: Any, _: Sequence[Any]) -> Any:
    return payload  # the step that opens S3 events has made them


def _checked(
    bare: Callable[[str], Any], wanted: _Wanted, notice: Callable[[str], None] | None
) -> Callable[[Received], Any]:
    decode = bare

    def looked() -> None:
        nonlocal decode
        decode = bare

    if notice is not None:
        decode = noticing(bare, wanted.type, notice, looked)

    def checked(received: Received) -> Any:
        body = received.body
        try:
            return decode(body)
        except NothingToHandle:
            raise
        except Exception as error:
            why = _explain(error, quote=wanted.quote)
        # Outside of the `except`, so that the decoder's error, which may be large, is not kept as the context of ours.
        raise UndecodableBody(wanted.refusal("its body", body, why))

    return checked


def _checked_opened(decode: Decode, wanted: _Wanted) -> Callable[[OpenedMessage], Any]:
    def checked(opened: OpenedMessage) -> Any:
        payload, envelopes = opened.payload, opened.envelopes
        try:
            return decode(payload, envelopes)
        except NothingToHandle:
            raise
        except Exception as error:
            why = _explain(error, quote=wanted.quote)
        around = names_of(envelopes)
        what = f"the payload of {NAMES[around[-1]]}" if around else "its payload" if envelopes else "its body"
        raise UndecodableBody(wanted.refusal(what, payload, why, around))

    return checked


class _Wanted:
    """What a body should become, and the sentence for one that does not."""

    def __init__(self, body_type: Any, *, quote: bool) -> None:
        self.type = body_type
        self.quote = quote

    def refusal(self, what: str, body: str | bytes, why: str, around: Sequence[str] = ()) -> str:
        """Why a body cannot be decoded. It names the remedy if the body is an envelope that was not expected."""
        text = body if isinstance(body, str) else body.decode(errors="replace")
        shown = f" {text if len(text) <= SHOWN else f'{text[:SHOWN]}...'!r}" if self.quote else ""
        found = envelope_in(text)
        surprise = found is not None and (get_origin(self.type) or self.type) is not ANNOTATIONS[found]
        remedy = f"; it is {NAMES[found]}: {advice(found, around)}" if found and surprise else ""
        return f"{what}{shown} ({len(body)} characters) is not {_name(self.type)}: {why}{remedy}"


def error_count(error: BaseException) -> int:
    """How many errors of pydantic's one error stands for; 1 for any other error. Does not make their texts."""
    return error.error_count() if _is_pydantic(error) else 1  # type: ignore[attr-defined]


def _is_pydantic(error: BaseException) -> bool:
    return type(error).__module__ == "pydantic_core._pydantic_core" and hasattr(type(error), "error_count")


def _explain(error: Exception, *, quote: bool) -> str:
    """Why a body could not be decoded, in at most about `EXPLAINED` characters."""
    if _is_pydantic(error):
        try:
            return bounded(_explain_pydantic(error, quote=quote), EXPLAINED)
        except Exception:  # validators are code of others, and so are the texts of their errors
            return type(error).__qualname__
    text = safe_str(error, EXPLAINED)
    return text if quote else _VALUE.sub(r"\1\2", text)


def _explain_pydantic(error: Any, *, quote: bool) -> str:
    count = error_count(error)
    head = f"{count} validation error{'s' * (count != 1)} for {error.title}"
    if count > MANY:
        return head
    found = error.errors(include_url=False, include_context=False, include_input=quote)[:FIRST]
    return f"{head}: " + "; ".join(map(_explain_one, found)) + (f"; {count - FIRST} more" if count > FIRST else "")


def _explain_one(found: dict[str, Any]) -> str:
    """One of pydantic's errors: where, what was wrong, and the value if it may be quoted."""
    where = bounded(".".join(bounded(str(each), SHOWN) for each in found["loc"][:FIRST]), SHOWN)
    value = f" ({safe_repr(found['input'], SHOWN)})" if "input" in found else ""
    return (
        f"{where}: {bounded(found['msg'], 2 * SHOWN)}{value}" if where else f"{bounded(found['msg'], 2 * SHOWN)}{value}"
    )


def _msgspec(body_type: Any) -> Callable[[str | bytes], Any]:
    foreign = _foreign(msgspec.inspect.type_info(body_type), set())
    if foreign is None:
        return msgspec.json.Decoder(body_type).decode
    if _has_pydantic(foreign):  # a model inside of a dataclass, say
        return _pydantic(body_type)
    raise TypeError(f"nothing in JSON becomes a {_name(foreign)}")


def _foreign(info: Any, seen: set[int]) -> type | None:
    """A class that a body needs and that nothing in JSON becomes: msgspec accepts it, and then refuses every body."""
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
    """Whether the type, or anything in its brackets, is pydantic's; found out without importing pydantic."""
    return hasattr(body_type, "__pydantic_validator__") or any(_has_pydantic(each) for each in get_args(body_type))


def _pydantic(body_type: Any) -> Callable[[str | bytes], Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(body_type).validate_json


def _name(body_type: Any) -> str:
    return str(body_type) if get_args(body_type) else getattr(body_type, "__qualname__", str(body_type))
