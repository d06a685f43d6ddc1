"""Choosing: what the option `envelope` means, which envelope a body is, and what the handler's author should write.

Used when a consumer is constructed and when a body cannot be decoded. The shapes are exact: every field that the
service always sends, with the right type. A body of yours that has a `Type` or an `id` is not taken for an envelope.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Raw

from leasekeeper.envelopes.cloudevents import CloudEvent, open_cloudevent, read_cloudevent
from leasekeeper.envelopes.eventbridge import EventBridgeEvent, open_eventbridge, read_eventbridge
from leasekeeper.envelopes.opening import DEPTH, LARGEST, EnvelopeDecoder, NotThisEnvelope, step_in
from leasekeeper.envelopes.s3 import S3Event, open_s3
from leasekeeper.envelopes.sns import SnsNotification, open_sns, read_sns
from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from leasekeeper.envelopes.opening import OpenedMessage

EnvelopeName = Literal["sns", "eventbridge", "s3", "cloudevents", "auto"]
Envelope = EnvelopeName | EnvelopeDecoder | Sequence[EnvelopeName | EnvelopeDecoder]
"""What the option `envelope` takes."""

NAMES = {
    "sns": "an SNS notification",
    "eventbridge": "an EventBridge event",
    "s3": "an S3 event",
    "cloudevents": "a CloudEvent",
}
"""The envelopes that have a name, and what they are called in a sentence."""
ANNOTATIONS: dict[str, type] = {
    "sns": SnsNotification,
    "eventbridge": EventBridgeEvent,
    "s3": S3Event,
    "cloudevents": CloudEvent,
}
"""The types that a handler can be annotated with to get the envelope itself."""
_KINDS = {kind: name for name, kind in ANNOTATIONS.items()}


def parts_of(envelope: Envelope) -> tuple[EnvelopeDecoder | EnvelopeName, ...]:
    """The parts of the option `envelope`, the outermost first.

    Raises:
        ConfigurationError: an unknown name, something that cannot be called, or a combination that opens nothing.
    """
    if isinstance(envelope, str):
        parts: tuple[Any, ...] = tuple(name.strip() for name in envelope.split(",") if name.strip())
    elif isinstance(envelope, Sequence):
        parts = tuple(envelope)
    else:
        parts = (envelope,)
    for part in parts:
        if isinstance(part, type):
            name = _KINDS.get(part)
            remedy = f"give {name!r}, or annotate the parameter with it" if name else "give a function or an instance"
            raise ConfigurationError(f"envelope={part.__name__}: it is a class; {remedy}")
        if inspect.iscoroutinefunction(part) or inspect.iscoroutinefunction(getattr(part, "__call__", None)):  # noqa: B004
            name = getattr(part, "__qualname__", type(part).__qualname__)
            raise ConfigurationError(
                f"envelope={name}: nothing would await it, because it runs where the handler runs, before it; write "
                "`def` in place of `async def`"
            )
        if not callable(part) and part not in (*NAMES, "auto"):
            known = ", ".join(map(repr, [*NAMES, "auto"]))
            raise ConfigurationError(
                f"envelope={envelope!r}: {part!r} is none of {known}, and not a function that opens one of yours"
            )
    if "auto" in parts and len(parts) > 1:
        raise ConfigurationError(f"envelope={envelope!r}: 'auto' finds all envelopes itself; give it alone")
    if "s3" in parts[:-1]:
        raise ConfigurationError(f"envelope={envelope!r}: an S3 event holds no other envelope; name 's3' last")
    if len(parts) > DEPTH:
        raise ConfigurationError(f"envelope={envelope!r}: at most {DEPTH} envelopes are opened")
    return parts


def check_envelope(envelope: Any) -> None:
    """Refuse an option `envelope` that opens nothing, with a `ConfigurationError`."""
    if envelope is not None:
        parts_of(envelope)


def around(envelope: Envelope | None, *, is_coroutine: bool) -> tuple[Any, ...]:
    """The middleware that the decoders of an option `envelope` put around the handler, outermost first."""
    parts: tuple[Any, ...] = () if envelope is None else parts_of(envelope)
    return tuple(part.around(is_coroutine=is_coroutine) for part in parts if hasattr(part, "around"))


def decoder_named(name: str | None, *, as_text: bool) -> EnvelopeDecoder:
    """The decoder of a name; `as_text`: the handler takes the payload as text or bytes."""
    if name == "cloudevents":
        return partial(open_cloudevent, as_text=as_text)
    decoders: dict[str | None, EnvelopeDecoder] = {"sns": open_sns, "eventbridge": open_eventbridge, "s3": open_s3}
    return decoders[name]


_MISSING = Raw(b"")


class _Shape(msgspec.Struct, kw_only=True):
    """The fields by which envelopes are told apart, read in one pass and not decoded."""

    type: Raw = msgspec.field(name="Type", default=_MISSING)
    topic: Raw = msgspec.field(name="TopicArn", default=_MISSING)
    detail_type: Raw = msgspec.field(name="detail-type", default=_MISSING)
    specversion: Raw = _MISSING
    records: Raw = msgspec.field(name="Records", default=_MISSING)
    event: Raw = msgspec.field(name="Event", default=_MISSING)


class _WholeEvent(msgspec.Struct):
    """What EventBridge always sends, and `EventBridgeEvent` can do without: some local servers leave it out."""

    version: str
    account: str
    region: str
    resources: list[str]


class _Source(msgspec.Struct, rename="camel"):
    event_source: Literal["aws:s3"]
    s3: Raw


class _S3Shape(msgspec.Struct):
    records: list[_Source] = msgspec.field(name="Records")


_shape = msgspec.json.Decoder(_Shape)
_whole_event = msgspec.json.Decoder(_WholeEvent)
_s3_shape = msgspec.json.Decoder(_S3Shape)


def envelope_in(body: str | bytes) -> str | None:
    """The name of the envelope that a body is, by its exact shape; None for anything else. Never raises."""
    text = body if isinstance(body, str) else body.decode(errors="replace")
    if len(text) > LARGEST or text.lstrip()[:1] != "{":
        return None
    try:
        shape = _shape.decode(text)
        if shape.type is not _MISSING and shape.topic is not _MISSING and read_sns(text).topic_arn.startswith("arn:"):
            return "sns"
        if shape.detail_type is not _MISSING and read_eventbridge(text).detail.startswith("{"):
            _whole_event.decode(text)
            return "eventbridge"
        if shape.specversion is not _MISSING:
            read_cloudevent(text)
            return "cloudevents"
        if shape.records is not _MISSING and _s3_shape.decode(text).records:
            return "s3"
        if shape.event is not _MISSING and bytes(shape.event) == b'"s3:TestEvent"':
            return "s3"
    except (msgspec.MsgspecError, NotThisEnvelope, RecursionError):
        pass
    return None


def open_found(inside: OpenedMessage, *, as_text: bool) -> OpenedMessage:
    """Open every envelope that is found by its shape. An S3 event is not opened: it is the payload.

    Raises:
        NotThisEnvelope: there are more than `DEPTH`.
    """
    while (name := envelope_in(inside.payload)) not in {None, "s3"}:
        if len(inside.envelopes) == DEPTH:
            raise NotThisEnvelope(f"there are more than {DEPTH} envelopes around its payload")
        inside = step_in(inside, decoder_named(name, as_text=as_text))
    return inside


def names_of(envelopes: Sequence[Any]) -> tuple[str, ...]:
    """The names of opened envelopes; those of decoders of yours have none."""
    return tuple(_KINDS[type(each)] for each in envelopes if type(each) in _KINDS)


def advice(name: str, around: Sequence[str] = ()) -> str:
    """What to write to open that envelope, or to get it whole.

    Args:
        name: of the envelope.
        around: the names of those around it, which are open.
    """
    if name == "s3":
        return "annotate the parameter with S3Event or S3Record"
    option = repr((*around, name)) if around else repr(name)
    whole = ANNOTATIONS[name].__name__
    return f"give envelope={option} to get what it holds, or annotate the parameter with {whole}[...]"
