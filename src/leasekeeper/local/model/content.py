"""The content of a message: body and attributes, checked, measured and digested once, when it is sent.

Owned by one message. It promises the rules of AWS on characters, names, types and sizes, and the MD5s of AWS.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.local.model import fields, refusals

if TYPE_CHECKING:
    from leasekeeper.local.model.fields import Request

MOST_BYTES = 1_048_576
MOST_ATTRIBUTES = 10

# SQS accepts #x9 #xA #xD, #x20-#xD7FF, #xE000-#xFFFD and #x10000-#x10FFFF. The check is on UTF-8, where surrogates
# cannot occur. So it looks for control characters, U+FFFE and U+FFFF.
_CONTROLS = bytes(set(range(32)) - {9, 10, 13})
_NONCHARACTERS = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")

# AWS documents A-Z, a-z and 0-9, and was recorded to accept other letters too.
_NAME = re.compile(r"[\w\-]+(\.[\w\-]+)*")
_TYPE = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class Content(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A body and its attributes.

    Attributes:
        body: the text.
        body_md5: hex MD5 of its UTF-8.
        attributes: as in the JSON protocol: name -> {DataType, StringValue | BinaryValue (base64)}.
        attributes_md5: hex MD5 of all of them; empty when there are none.
        trace: the AWSTraceHeader; empty by default.
        trace_md5: the MD5 of the system attributes of the request; empty when there are none.
        size: bytes that count towards SQS's limit: body, attribute names, types and values.
    """

    body: str
    body_md5: str
    attributes: dict[str, dict[str, str]]
    attributes_md5: str
    trace: str
    trace_md5: str
    size: int


def read(request: Request, header_trace: str = "") -> Content:
    """The content of a SendMessage request or of one entry of a batch; raises `Refusal`.

    `header_trace` is the trace header of the HTTP request. The attribute of the message wins over it.
    """
    body = fields.text(request, "MessageBody")
    encoded = _encode(body)
    if encoded is None:
        raise refusals.bad_contents("The message body contains characters outside the allowed set.")
    if not encoded:
        raise refusals.missing("MessageBody")
    attributes = fields.mapping(request, "MessageAttributes")
    size = len(encoded)
    digest = ""
    if attributes:
        size += _check_attributes(attributes)
        digest = md5_of_attributes(attributes)
    system = fields.mapping(request, "MessageSystemAttributes")
    trace = _read_trace(system) if system else header_trace
    return Content(
        body=body,
        body_md5=hashlib.md5(encoded, usedforsecurity=False).hexdigest(),
        attributes=attributes,
        attributes_md5=digest,
        trace=trace,
        trace_md5=md5_of_attributes(system) if system else "",
        size=size,
    )


def body_size(request: Request) -> int:
    """The size of an entry in bytes, before it is checked; the size of a batch is the sum of these."""
    body = request.get("MessageBody")
    total = 0
    if isinstance(body, str):
        total = len(body) if body.isascii() else len(body.encode("utf-8", "replace"))
    attributes = request.get("MessageAttributes")
    if isinstance(attributes, dict):
        for name, attribute in attributes.items():
            total += len(name)
            if isinstance(attribute, dict):
                total += sum(len(value) for value in attribute.values() if isinstance(value, str))
    return total


def md5_of_attributes(attributes: dict[str, dict[str, str]]) -> str:
    """The hex MD5 of attributes: by name, big-endian lengths, 1 for text, 2 for bytes (SQS developer guide)."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        _feed(digest, name.encode())
        _feed(digest, attribute["DataType"].encode())
        if attribute["DataType"].startswith("Binary"):
            digest.update(b"\x02")
            _feed(digest, base64.b64decode(attribute["BinaryValue"]))
        else:
            digest.update(b"\x01")
            _feed(digest, attribute["StringValue"].encode())
    return digest.hexdigest()


def _feed(digest: Any, data: bytes) -> None:
    digest.update(len(data).to_bytes(4, "big"))
    digest.update(data)


def _encode(value: str) -> bytes | None:
    """The text as UTF-8; None when it has a character that SQS does not accept."""
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        return None
    if len(encoded.translate(None, _CONTROLS)) != len(encoded):
        return None
    ascii_only = len(encoded) == len(value)
    return None if not ascii_only and any(bad in encoded for bad in _NONCHARACTERS) else encoded


def _check_attributes(attributes: dict[str, Any]) -> int:
    if len(attributes) > MOST_ATTRIBUTES:
        raise refusals.bad_parameter(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MOST_ATTRIBUTES}]."
        )
    return sum(_check_attribute(name, attribute) for name, attribute in attributes.items())


def _check_attribute(name: str, attribute: Any) -> int:
    lowered = name.lower()
    if not _NAME.fullmatch(name) or len(name) > 256 or lowered.startswith(("aws.", "amazon.")):
        raise refusals.bad_parameter(f"Message attribute name '{name}' is invalid.")
    if type(attribute) is not dict:
        raise refusals.malformed(f"The message attribute '{name}' is not a structure")
    kind = fields.optional_text(attribute, "DataType") or ""
    if not _TYPE.fullmatch(kind) or len(kind) > 256 or _encode(kind) is None:
        raise refusals.bad_parameter(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    return len(name.encode()) + len(kind.encode()) + _check_value(name, kind, attribute)


def _check_value(name: str, kind: str, attribute: Request) -> int:
    member = "BinaryValue" if kind.startswith("Binary") else "StringValue"
    value = fields.optional_text(attribute, member)
    if not value:
        raise refusals.bad_parameter(
            f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."
        )
    if member == "BinaryValue":
        try:
            return len(base64.b64decode(value, validate=True))
        except ValueError as error:
            raise refusals.malformed(f"The message attribute '{name}' is not valid base64") from error
    if kind.startswith("Number") and not _NUMBER.fullmatch(value):
        raise refusals.bad_parameter(f"Can't cast the value of message (user) attribute '{name}' to a number.")
    encoded = _encode(value)
    if encoded is None:
        raise refusals.bad_parameter(f"Message (user) attribute '{name}' contains characters outside the allowed set.")
    return len(encoded)


def _read_trace(system: dict[str, Any]) -> str:
    for name, attribute in system.items():
        if name != "AWSTraceHeader":
            raise refusals.bad_parameter(f"Message system attribute name '{name}' is invalid.")
        if type(attribute) is not dict or attribute.get("DataType") != "String":
            raise refusals.bad_parameter(f"The message system attribute '{name}' must be of type String.")
        _check_value(name, "String", attribute)
    trace: str = system["AWSTraceHeader"]["StringValue"]
    return trace
