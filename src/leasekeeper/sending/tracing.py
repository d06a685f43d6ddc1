"""Trace headers of messages that are sent: the span in which a message was sent and its baggage, for its handlers.

Used by senders and outboxes where traces are on. It imports OpenTelemetry only then, and promises to leave a message as
it is where there is no span, or no room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from leasekeeper.message import MessageAttribute
from leasekeeper.message_context import MessageContext
from leasekeeper.sizes import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Attributes = dict[str, MessageAttribute]


class Current(NamedTuple):
    """What is current where a message is sent: the context of the span, and the baggage as W3C writes it."""

    span: Any
    baggage: str


def trace_source(wanted: bool | None) -> Callable[[], Current] | None:
    """What gives the current span and baggage; None where messages have no trace headers.

    Args:
        wanted: None: if this process traces, which it does once a `Tracing` was made.

    Raises:
        ImportError: OpenTelemetry is not installed, and headers are wanted.
    """
    if wanted is False or (wanted is None and MessageContext.span_ids is None):
        return None
    from opentelemetry.baggage import get_all
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.trace import get_current_span

    write = W3CBaggagePropagator().inject

    def current() -> Current:
        carrier: dict[str, str] = {}
        if get_all():
            write(carrier)
        return Current(get_current_span().get_span_context(), carrier.get("baggage", ""))

    return current


def with_trace(
    current: Current, attributes: Attributes, size: int, most: int, most_bytes: float
) -> tuple[Attributes, Mapping[str, str], int]:
    """The attributes with `traceparent` and `baggage`, the system attributes, and the size with them.

    W3C's headers are attributes like others, so they are left out where there is no room. `AWSTraceHeader` is a system
    attribute, which counts neither among the ten nor in the size (developer guide, message metadata).

    Args:
        current: the span and the baggage.
        attributes: of the message.
        size: of the message in bytes.
        most: attributes that it may have.
        most_bytes: bytes that it may have.
    """
    system: Mapping[str, str] = {}
    if current.span.is_valid:
        attributes, system, size = _with_span(current.span, attributes, size, most, most_bytes)
    if current.baggage and "baggage" not in attributes and len(attributes) < most:
        made = {"baggage": _text(current.baggage)}
        more = size_of("", made)
        if size + more <= most_bytes:
            attributes, size = {**attributes, **made}, size + more
    return attributes, system, size


def _with_span(
    span: Any, attributes: Attributes, size: int, most: int, most_bytes: float
) -> tuple[Attributes, Mapping[str, str], int]:
    trace, parent, sampled = f"{span.trace_id:032x}", f"{span.span_id:016x}", span.trace_flags & 1
    system = {"AWSTraceHeader": f"Root=1-{trace[:8]}-{trace[8:]};Parent={parent};Sampled={sampled}"}
    if "traceparent" in attributes:
        return attributes, system, size
    made = {"traceparent": _text(f"00-{trace}-{parent}-{sampled:02x}")}
    if span.trace_state and len(attributes) + 2 <= most and "tracestate" not in attributes:
        made["tracestate"] = _text(span.trace_state.to_header())
    more = size_of("", made)
    if len(attributes) + len(made) > most or size + more > most_bytes:
        return attributes, system, size
    return {**attributes, **made}, system, size + more


def _text(value: str) -> MessageAttribute:
    return MessageAttribute(data_type="String", string_value=value)
