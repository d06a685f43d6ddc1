"""What a trace costs: microseconds a message, with a handler called as a lane calls it.

python benchmarks/tracing.py

It calls the handler of a consumer for messages that are there already, in one thread, and takes the shortest of many
short rounds, which is what the code costs when nothing else is on the processor. The difference to the same handler
with an empty middleware is what `Tracing` costs. Spans go to OpenTelemetry's SDK with a processor that drops them, so
that no exporter is measured.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

from leasekeeper.core.delivery import Delivery, Lease
from leasekeeper.lanes.handler import Handler
from leasekeeper.message import Message, MessageAttribute, Received
from leasekeeper.observe.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace.sampling import Sampler

MESSAGES = 100
ROUNDS = 1_000
W3C = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
AWS = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def deliveries(traceparent: str = "", aws: str = "") -> list[Delivery]:
    lease = Lease(30.0, 0.0, 15.0, 30.0)
    attribute = MessageAttribute(data_type="String", string_value=traceparent)
    system = {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"}
    received = Received(
        message_id="f1d8a6e0-0f5b-4a57-9f1a-1a4b8f7f9f1b",
        receipt="r" * 350,
        body="tea",
        system={**system, "AWSTraceHeader": aws} if aws else system,
        attributes={"traceparent": attribute} if traceparent else {},
    )
    return [Delivery(received, lease, 0.0, 0.0, started=0.1) for _ in range(MESSAGES)]


async def ship(body: str) -> None:
    pass


def ship_in_a_thread(body: str) -> None:
    pass


async def nothing(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
    return await call_next(message)


def nothing_in_a_thread(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
    return call_next(message)


def microseconds(function: Callable[..., Any], middleware: Sequence[Any], messages: list[Delivery]) -> float:
    """Time of one message."""
    handler = Handler(function, queue="orders", middleware=middleware)
    rounds = []

    async def run() -> None:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for each in messages:
                await handler.run(lambda _: True, each)
            rounds.append(time.perf_counter() - began)

    if handler.is_coroutine:
        asyncio.run(run())
    else:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for each in messages:
                handler.run_blocking(lambda _: True, each)
            rounds.append(time.perf_counter() - began)
    return min(rounds) / len(messages) * 1e6


def tracing(sampler: Sampler = ALWAYS_ON, **settings: Any) -> list[Any]:
    provider = TracerProvider(sampler=ParentBased(sampler))
    provider.add_span_processor(SpanProcessor())
    return [Tracing(provider, **settings)]


def main() -> None:
    unsampled = W3C[:-1] + "0"
    cases = [
        ("not sampled by the sender, traceparent", deliveries(unsampled), tracing()),
        ("not sampled by the sender, AWSTraceHeader", deliveries(aws=AWS.replace("led=1", "led=0")), tracing()),
        ("no header, not sampled by the provider", deliveries(), tracing(ALWAYS_OFF)),
        ("sampled, a link", deliveries(W3C), tracing()),
        ("sampled, as parent", deliveries(W3C), tracing(style="parent")),
        ("sampled, AWSTraceHeader", deliveries(aws=AWS), tracing()),
    ]
    for function, empty in ((ship, nothing), (ship_in_a_thread, nothing_in_a_thread)):
        bare = microseconds(function, [], deliveries())
        base = microseconds(function, [empty], deliveries())
        print(f"{function.__name__}: {bare:.2f} us without middleware, {base:.2f} us with an empty one")
        for name, messages, middleware in cases:
            total = microseconds(function, middleware, messages)
            print(f"  {name}: {total - bare:+.2f} us ({total - base:+.2f} us above an empty middleware)")


if __name__ == "__main__":
    main()
