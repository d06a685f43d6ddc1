"""Traces: a span for each run of the handler, with a link to the span in which the message was sent.

The spans are printed as JSON.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
pip install opentelemetry-api opentelemetry-sdk
python tracing.py &
leasekeeper send orders tea
"""

import logging

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from leasekeeper import Consumer, Message
from leasekeeper.observe.tracing import Tracing

provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
# In production: BatchSpanProcessor with an exporter of OTLP.
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("shop")


async def ship(message: Message[str]) -> None:
    with tracer.start_as_current_span("query the stock"):  # inside the span of the message
        print(f"shipping {message.body}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    print(Consumer("orders", ship, middleware=[Tracing()]).run())
