"""Trace headers: which trace a message belongs to, as its sender wrote it: W3C's `traceparent`, or `AWSTraceHeader`.

On the ground floor, and without OpenTelemetry. It promises that a message whose sender did not sample its trace is
recognised from one character of the text, before anything is parsed, and that a malformed header counts as none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from leasekeeper.message import Received

_W3C = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT = re.compile(r"[0-9a-f]{16}")
_FLAG = 54
"""Where `traceparent` has the last digit of its flags."""
_EVEN = frozenset("02468ace")
NOT_SAMPLED = "Sampled=0"
"""What an `AWSTraceHeader` contains if its trace was not sampled."""


class Trace(NamedTuple):
    """The span in which a message was sent."""

    trace_id: int
    span_id: int
    sampled: bool
    state: str = ""
    """The `tracestate` of W3C; empty without one."""


def header_of(received: Received) -> str:
    """The header that counts: the attribute `traceparent`, else `AWSTraceHeader`, else what an envelope carries.

    Empty without one.
    """
    attribute = received.attributes.get("traceparent")
    if attribute is None:
        return received.system.get("AWSTraceHeader", "")
    if "AWSTraceHeader" in received.system and received.envelopes and _from_envelope(received):
        return received.system["AWSTraceHeader"]
    return attribute.string_value or ""


def _from_envelope(received: Received) -> bool:
    """Whether the attribute `traceparent` came out of an envelope, and not from SQS."""
    text = received.attributes["traceparent"].string_value
    return any(_carries(envelope, text) for envelope in received.envelopes)


def _carries(envelope: object, text: str | None) -> bool:
    carried = getattr(envelope, "attributes", None)
    each = carried.get("traceparent") if isinstance(carried, dict) else None
    return each is not None and each.string_value == text


def is_unsampled(header: str) -> bool:
    """Whether its sender did not sample the trace. A header that leaves this open counts as sampled."""
    return header[_FLAG : _FLAG + 1] in _EVEN if header[2:3] == "-" else NOT_SAMPLED in header


def parse(received: Received) -> Trace | None:
    """The span in which a message was sent; None without a header, or with a malformed one."""
    header = header_of(received)
    if header[2:3] != "-":
        return _parse_aws(header)
    found = _W3C.fullmatch(header)
    if found is None:
        return None
    state = received.attributes.get("tracestate")
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    text = state.string_value if state is not None else None
    return Trace(trace_id, span_id, bool(flags & 1), text or "") if trace_id and span_id else None


def _parse_aws(header: str) -> Trace | None:
    """`Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, in any order, with more."""
    parts = dict(part.strip().partition("=")[::2] for part in header.split(";"))
    root, parent = _ROOT.fullmatch(parts.get("Root", "")), parts.get("Parent", "")
    if root is None or _PARENT.fullmatch(parent) is None:
        return None
    trace_id, span_id = int("".join(root.groups()), 16), int(parent, 16)
    return Trace(trace_id, span_id, parts.get("Sampled") != "0") if trace_id and span_id else None
