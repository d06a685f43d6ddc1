"""CloudEvents in structured mode: one JSON object in the body, with the attributes of the event around its data.

SQS has no binding of CloudEvents; this is the JSON format of specification 1.0.2, which AWS's messaging framework for
.NET sends too. Binary mode, with attributes as message attributes, is not read: SQS has room for ten.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from datetime import datetime  # noqa: TC003 - msgspec reads annotations when it builds decoders
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import Raw

from leasekeeper.envelopes.opening import NotThisEnvelope, Opened
from leasekeeper.message import MessageAttribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.message import Received

T = TypeVar("T")
VERSIONS = ("1.0", "0.3")
"""Versions of the specification that are read; their JSON is the same but for binary data."""
TRACE = ("traceparent", "tracestate")
"""The extensions of distributed tracing, which become message attributes."""


class CloudEvent(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A CloudEvent.

    Attributes:
        id: unique for this source.
        source: who sent it, a URI reference.
        type: what happened, e.g. `com.example.order.placed`.
        data: its data, decoded to `T`.
        subject: what of the source it is about.
        time: when it happened.
        datacontenttype: the media type of the data; None means JSON.
        dataschema: a URI of the schema of the data.
        specversion: of the specification.
        extensions: all other attributes, by name, e.g. `traceparent` or `partitionkey`.
    """

    id: str
    source: str
    type: str
    data: T
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    specversion: str = "1.0"
    extensions: dict[str, str | int | bool] = {}

    @property
    def attributes(self) -> Mapping[str, MessageAttribute]:
        """`traceparent` and `tracestate`, if it has them, as message attributes of SQS."""
        return {
            name: MessageAttribute(data_type="String", string_value=str(self.extensions[name]))
            for name in TRACE
            if name in self.extensions
        }

    def encode(self) -> str:
        """The event as JSON, to send as a body. Data that is `bytes` is written as base64.

        Raises:
            TypeError: the data cannot be encoded as JSON.
        """
        shown: dict[str, Any] = {**self.extensions}
        for name in ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"):
            if getattr(self, name) is not None:
                shown[name] = getattr(self, name)
        if isinstance(self.data, bytes):
            shown["data_base64"] = b64encode(self.data).decode()
        else:
            shown["data"] = self.data
        return msgspec.json.encode(shown, enc_hook=_of_pydantic).decode()


def _of_pydantic(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"data with a {type(value).__qualname__} cannot be encoded as JSON: give its text, or a dict")
    return dump(mode="json", by_alias=True)


_MISSING = Raw(b"")


class _Known(msgspec.Struct, kw_only=True):
    """The attributes that have a type; `data` stays as it is."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: Raw = _MISSING
    data_base64: str | None = None


_known = msgspec.json.Decoder(_Known)
_members = msgspec.json.Decoder(dict[str, Raw])
_extension = msgspec.json.Decoder(str | int | bool | None)
_text = msgspec.json.Decoder(str)


def read_cloudevent(body: str, *, as_text: bool = False) -> CloudEvent[str | bytes]:
    """The CloudEvent in a body; its data is text (JSON, unless its media type is another), or bytes if it is binary.

    Args:
        body: JSON.
        as_text: whether the data is wanted as text: a JSON string is then given without its quotes.

    Raises:
        NotThisEnvelope: there is none.
    """
    try:
        known = _known.decode(body)
        if known.specversion not in VERSIONS:
            raise NotThisEnvelope(f"its specversion is not one of {', '.join(VERSIONS)}")
        extensions = {
            name: value
            for name, raw in _members.decode(body).items()
            if name not in _Known.__struct_fields__ and (value := _extension.decode(raw)) is not None
        }
        data = _data_of(known, as_text=as_text)
    except (msgspec.MsgspecError, RecursionError, binascii.Error) as error:
        raise NotThisEnvelope(str(error)) from error
    return CloudEvent(
        id=known.id,
        source=known.source,
        type=known.type,
        data=data,
        subject=known.subject,
        time=known.time,
        datacontenttype=known.datacontenttype,
        dataschema=known.dataschema,
        specversion=known.specversion,
        extensions=extensions,
    )


def open_cloudevent(received: Received, *, as_text: bool = False) -> Opened:
    """Open a CloudEvent: the payload is its data."""
    event = read_cloudevent(received.body, as_text=as_text)
    return Opened(event.data, event, event.attributes)


def _data_of(known: _Known, *, as_text: bool) -> str | bytes:
    if known.data_base64 is not None:
        return b64decode(known.data_base64, validate=True)
    if known.data is _MISSING:
        return "" if as_text else "null"
    data = bytes(known.data)
    if data[:1] == b'"' and (as_text or not _is_json(known.datacontenttype)):
        return _text.decode(data)
    return data.decode()


def _is_json(media_type: str | None) -> bool:
    """As the specification has it: no media type means JSON, and so does any subtype of JSON."""
    if media_type is None:
        return True
    subtype = media_type.partition(";")[0].strip().lower().rpartition("/")[2]
    return subtype == "json" or subtype.endswith("+json")
