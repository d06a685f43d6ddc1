"""Tracing: middleware that makes an OpenTelemetry span of each run of a handler (the extra `otel`).

Owned by the user, who gives it to consumers or apps. It promises that a message whose sender did not sample its trace
costs one to two microseconds, that the span is current in the handler, and names by the semantic conventions for SQS.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Literal, Self, cast
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from leasekeeper import events
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message, lease_of
from leasekeeper.message_context import MessageContext
from leasekeeper.observe.trace_spans import (
    UnsampledContext,
    context_of,
    current_ids,
    end_timed_out,
    end_with_error,
    end_with_result,
    span_context,
)
from leasekeeper.texts import safe_str
from leasekeeper.trace_headers import NOT_SAMPLED, header_of, is_unsampled, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextvars import Token

    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from leasekeeper.batch import Batch
    from leasekeeper.channel import Channel
    from leasekeeper.trace_headers import Trace

    Unit = Message[Any] | Batch[Any]
    Sent = Sequence[tuple[Message[Any], Trace | None]]

SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
"""The semantic conventions that names and attributes follow."""
LOW_BITS = (1 << 56) - 1
"""The part of a trace id that is random, by W3C; a share of traces is chosen by it."""
NANOSECONDS = 1_000_000_000


class Tracing:
    """Middleware that traces handlers: `Consumer("orders", ship, middleware=[Tracing()])`, or for a whole app.

    One object serves any number of consumers: coroutine handlers, `def` handlers and batch handlers. Give it first, so
    that its span is around other middleware.

    Args:
        provider: where spans go; None: the global provider, which may be set later.
        style: "link": the span begins a trace, with a link to the span in which the message was sent; "parent": it goes
            on with the sender's trace. A batch begins a trace in any case, with a link for each message.
        sample: "parent": a message whose sender did not sample its trace gets no span, and the provider's sampler
            decides about all others; or the share of traces that get spans, 0 to 1, whatever the senders decided.
        receive: whether receives with messages, and failed ones, get spans too.
        settle: whether delete calls and extensions of leases get spans too.

    Attributes:
        by_sender: whether `sample` is "parent".

    Raises:
        ConfigurationError: an argument out of bounds.
    """

    def __init__(
        self,
        provider: TracerProvider | None = None,
        *,
        style: Literal["link", "parent"] = "link",
        sample: Literal["parent"] | float = "parent",
        receive: bool = False,
        settle: bool = False,
    ) -> None:
        if style not in {"link", "parent"}:
            raise ConfigurationError(f"Tracing(style={style!r}): must be 'link' or 'parent'")
        if sample != "parent":
            _check_share(sample)
        self._tracer = trace.get_tracer("leasekeeper", tracer_provider=provider, schema_url=SCHEMA)
        self._parent = style == "parent"
        self._share = None if isinstance(sample, str) else float(sample)
        self.by_sender = self._share is None
        self._receive = receive
        self._settle = settle
        self._queues: dict[str, dict[str, AttributeValue]] = {}
        self._attributes: dict[tuple[str, str], dict[str, AttributeValue]] = {}
        self._last_ids: dict[str, Callable[[], str]] = {}
        MessageContext.span_ids = current_ids

    # What consumers ask of it

    def for_handler(self, name: str, *, is_coroutine: bool, timeout: float | None) -> Callable[[Any, Any], Any]:
        """The middleware for one handler, of the handler's kind."""
        around = _Around(self, name, timeout)
        return around.coroutine if is_coroutine else around.blocking

    def subscribe_to(self, channel: Channel) -> None:
        """Learn the queue's address, and make spans of calls where that is wanted; called at each start."""
        channel.subscribe(self._opened, events.QueueOpened)
        if self._receive:
            channel.subscribe(self._received, events.MessagesReceived)
            channel.subscribe(self._receive_failed, events.ReceiveFailed)
        if self._settle:
            channel.subscribe(self._deleted, events.DeletesAnswered)
            channel.subscribe(self._extended, events.LeasesExtended)

    # Spans of handlers

    def skips(self, message: Message[Any]) -> bool:
        """Whether a message gets no span; decided before any call of OpenTelemetry."""
        received = message._received  # noqa: SLF001 - as in `_Around`
        if self._share is None:
            return is_unsampled(header_of(received))
        found = parse(received)
        drawn = random.random() if found is None else (found.trace_id & LOW_BITS) / LOW_BITS  # noqa: S311 - no secret
        return drawn >= self._share

    def begin(self, unit: Unit, handler: str, sent: Sent) -> Span:
        """Start the span of a call of the handler."""
        attributes = self._of_queue(unit.queue, "process").copy()
        attributes["code.function.name"] = handler
        first, found = sent[0]
        links: list[Link] = []
        context = Context()
        if type(unit) is not Message:  # `Batch` is an abstract sequence: `isinstance` would take a microsecond
            attributes["messaging.batch.message_count"] = len(sent)
            links = [Link(span_context(each), {"messaging.message.id": message.id}) for message, each in sent if each]
        else:
            attributes["messaging.message.id"] = first.id
            attributes["leasekeeper.attempt"] = first.attempt
            if found is not None and self._parent:
                context = context_of(trace.NonRecordingSpan(span_context(found)))
            elif found is not None:
                links = [Link(span_context(found))]
        if sent_at := first.sent_at:
            attributes["leasekeeper.wait"] = max(0.0, time.time() - sent_at)
        attributes["leasekeeper.buffer_wait"] = lease_of(first).waited
        return self._tracer.start_span(
            f"process {unit.queue}", context, kind=SpanKind.CONSUMER, attributes=attributes, links=links
        )

    # Spans of calls

    def _of_queue(self, queue: str, operation: str) -> dict[str, AttributeValue]:
        """The attributes of all spans of an operation; not to be changed."""
        found = self._attributes.get((queue, operation))
        if found is None:
            found = self._attributes[queue, operation] = {
                "messaging.system": "aws_sqs",
                "messaging.operation.name": operation,
                "messaging.operation.type": "settle" if operation in {"delete", "extend"} else operation,
                "messaging.destination.name": queue,
                **self._queues.get(queue, {}),
            }
        return found

    def _opened(self, event: events.QueueOpened) -> None:
        known: dict[str, AttributeValue] = {"aws.sqs.queue.url": event.url}
        address = urlsplit(event.url)
        if address.hostname:
            known["server.address"] = address.hostname
            if address.port:
                known["server.port"] = address.port
        self._queues[event.queue] = known
        self._attributes.clear()
        last_id = getattr(event.client, "last_request_id", None)
        if last_id is not None:
            self._last_ids[event.queue] = last_id

    def _call(
        self,
        queue: str,
        operation: str,
        seconds: float,
        count: int | None = None,
        error: tuple[str, object] | None = None,
    ) -> None:
        """A span of a call that has just ended."""
        attributes = self._of_queue(queue, operation).copy()
        if count is not None:
            attributes["messaging.batch.message_count"] = count
        last_id = self._last_ids.get(queue)
        # Events come in the step of the loop that read the answer.
        if last_id is not None and (request_id := last_id()):
            attributes["aws.request_id"] = request_id
        now = time.time_ns()
        span = self._tracer.start_span(
            f"{operation} {queue}",
            Context(),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=now - int(seconds * NANOSECONDS),
        )
        if error is not None:
            span.set_attribute("error.type", error[0])
            span.set_status(Status(StatusCode.ERROR, safe_str(error[1])))
        span.end(now)

    def _received(self, event: events.MessagesReceived) -> None:
        if event.count:
            self._call(event.queue, "receive", event.seconds, event.count)

    def _receive_failed(self, event: events.ReceiveFailed) -> None:
        self._call(event.queue, "receive", 0.0, error=(event.code, event.error))

    def _deleted(self, event: events.DeletesAnswered) -> None:
        self._settled("delete", event, event.confirmed)

    def _extended(self, event: events.LeasesExtended) -> None:
        self._settled("extend", event, event.extended)

    def _settled(self, operation: str, event: events.DeletesAnswered | events.LeasesExtended, count: int) -> None:
        error = (event.code, f"{event.operation} failed as a whole") if event.code else None
        self._call(event.queue, operation, event.seconds, count, error)


def _check_share(sample: object) -> None:
    if not isinstance(sample, int | float) or not 0 <= sample <= 1:
        raise ConfigurationError(f"Tracing(sample={sample!r}): must be 'parent', or a number from 0 to 1")


class _Around:
    """The middleware of one handler."""

    def __init__(self, tracing: Tracing, name: str, timeout: float | None) -> None:
        self._tracing = tracing
        self._skips = tracing.skips
        self._by_sender = tracing.by_sender
        self._name = name
        self._timeout = timeout

    def coroutine(self, unit: Unit, call_next: Callable[[Unit], Any]) -> Any:
        """Around a coroutine handler: what is awaited is the handler itself if there is no span."""
        if self._skipped(unit) is not None:
            return call_next(unit)  # the context is the handler's task's; the next message sets it again
        return self._awaited(unit, call_next)

    async def _awaited(self, unit: Unit, call_next: Callable[[Unit], Any]) -> Any:
        with _Run(self._tracing, unit, self._name, self._timeout, asyncio.get_running_loop().time) as run:
            run.result = await call_next(unit)
        return run.result

    def blocking(self, unit: Unit, call_next: Callable[[Unit], Any]) -> Any:
        """Around a `def` handler."""
        token = self._skipped(unit)
        if token is not None:
            try:
                return call_next(unit)
            finally:
                detach(token)
        with _Run(self._tracing, unit, self._name, self._timeout, time.monotonic) as run:
            run.result = call_next(unit)
        return run.result

    def _skipped(self, unit: Unit) -> Token[Context] | None:
        """If there is no span, make the sender's trace current for what the handler calls; None if there is a span."""
        if type(unit) is not Message:
            return attach(Context()) if all(map(self._skips, cast("Batch[Any]", unit))) else None
        received = unit._received  # noqa: SLF001 - a property would cost a tenth of what this may
        if self._by_sender:
            attribute = received.attributes.get("traceparent")
            if attribute is None:
                if NOT_SAMPLED not in received.system.get("AWSTraceHeader", ""):
                    return None
            elif not is_unsampled(header_of(received)):
                return None
        elif not self._skips(unit):
            return None
        context = UnsampledContext()
        context.received = received
        return attach(context)


class _Run:
    """One call of a handler, with its span, which ends with the block.

    Attributes:
        result: what the handler has returned.
    """

    __slots__ = ("_began", "_clock", "_span", "_started", "_timeout", "_token", "_watched", "result")
    result: Any

    def __init__(
        self, tracing: Tracing, unit: Unit, name: str, timeout: float | None, clock: Callable[[], float]
    ) -> None:
        messages: Sequence[Message[Any]] = (unit,) if type(unit) is Message else cast("Batch[Any]", unit)
        sent = [(message, parse(message._received)) for message in messages]  # noqa: SLF001 - as in `skips`
        self._timeout = timeout
        self._clock = clock
        self._started, self._began = clock(), time.time_ns()
        self._span = tracing.begin(unit, name, sent)
        self._watched = [lease_of(message).watch() for message in messages] if self._span.is_recording() else []
        self._token = attach(context_of(self._span, unit._received if type(unit) is Message else None))  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        timed_out = self._timeout is not None and self._clock() - self._started >= self._timeout
        try:
            if error is not None:
                end_with_error(self._span, error, timed_out=timed_out)
            elif timed_out:  # a thread that could not be ended; its message was retried
                end_timed_out(self._span)
            else:
                end_with_result(self._span, self.result)
        finally:
            detach(self._token)
            for watched in self._watched:
                for what, seconds in watched():
                    self._span.add_event(f"lease.{what}", timestamp=self._began + int(max(0.0, seconds) * NANOSECONDS))
            self._span.end()
