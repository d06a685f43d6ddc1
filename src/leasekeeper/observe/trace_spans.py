"""What spans are made of: contexts from trace headers, with the baggage of senders; links, and outcomes.

Used by `observe/tracing.py` alone, so OpenTelemetry is imported only where a program traces.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opentelemetry.baggage import set_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.span import TraceState

from leasekeeper.outcomes import Reject, Retry
from leasekeeper.texts import safe_str
from leasekeeper.trace_headers import parse

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from leasekeeper.message import Received
    from leasekeeper.trace_headers import Trace

[KEY] = set_span_in_context(INVALID_SPAN, Context())
"""The key of a context's span, which OpenTelemetry keeps to itself. With it a context costs a quarter."""


[BAGGAGE] = set_baggage("", "", Context())
"""The key of a context's baggage, likewise."""
_PROPAGATOR = W3CBaggagePropagator()


class UnsampledContext(Context):
    """The context of a sender's span that was not sampled: what the handler calls is not sampled either.

    Made for each such message, so it is made of nothing but the message. The header is parsed when OpenTelemetry asks
    for the span, which it does with `get`, or copies the context, to add to it.
    """

    __slots__ = ("received",)
    received: Received

    def get(self, key: str, default: Any = None) -> Any:
        """As a dict."""
        if not self:
            found = parse(self.received)
            span = NonRecordingSpan(INVALID_SPAN_CONTEXT if found is None else span_context(found))
            dict.__setitem__(self, KEY, span)
            if baggage := baggage_of(self.received):
                dict.__setitem__(self, BAGGAGE, baggage)
        return super().get(key, default)

    def copy(self) -> dict[str, Any]:
        """As a dict."""
        self.get(KEY)
        return super().copy()


def span_context(found: Trace) -> SpanContext:
    """A sender's span, as OpenTelemetry has it."""
    flags = TraceFlags(TraceFlags.SAMPLED if found.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([found.state]) if found.state else None
    return SpanContext(found.trace_id, found.span_id, is_remote=True, trace_flags=flags, trace_state=state)


def context_of(span: Span, received: Received | None = None) -> Context:
    """A context with that span and the baggage of a message, and nothing else."""
    if received is not None and (baggage := baggage_of(received)):
        return Context({KEY: span, BAGGAGE: baggage})
    return Context({KEY: span})


def baggage_of(received: Received) -> object | None:
    """The baggage that a message carries, by W3C, as OpenTelemetry keeps it in a context; None without any."""
    attribute = received.attributes.get("baggage")
    if attribute is None:
        return None
    return _PROPAGATOR.extract({"baggage": attribute.string_value or ""}, Context()).get(BAGGAGE)


def current_ids() -> dict[str, object]:
    """The ids of the current span, as logs and headers write them; empty without one."""
    current = get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    return {"trace_id": format_trace_id(current.trace_id), "span_id": format_span_id(current.span_id)}


def end_with_result(span: Span, result: Any) -> None:
    """Note what a handler returned."""
    if isinstance(result, Retry):
        span.set_attribute("leasekeeper.outcome", "retried")
    elif isinstance(result, Reject):
        _rejected(span, result)
    else:
        span.set_attribute("leasekeeper.outcome", "done")


def end_with_error(span: Span, error: BaseException, *, timed_out: bool) -> None:
    """Note what a handler raised; `Retry` is no failure, and neither is its cancellation at a stop."""
    if isinstance(error, Retry):
        span.set_attribute("leasekeeper.outcome", "retried")
    elif isinstance(error, Reject):
        _rejected(span, error)
    elif isinstance(error, asyncio.CancelledError):
        if timed_out:
            end_timed_out(span)
        else:
            span.set_attribute("leasekeeper.outcome", "ended")
    else:
        span.set_attribute("leasekeeper.outcome", "failed")
        span.record_exception(error)
        _failed(span, f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."), error)


def end_timed_out(span: Span) -> None:
    """Note that a handler ran into `handler_timeout`."""
    span.set_attribute("leasekeeper.outcome", "timed_out")
    _failed(span, "timeout", "the handler ran longer than handler_timeout")


def _rejected(span: Span, reject: Reject) -> None:
    span.set_attribute("leasekeeper.outcome", "rejected")
    _failed(span, "leasekeeper.Reject", reject.reason or "rejected")


def _failed(span: Span, kind: str, description: object) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, safe_str(description)))
