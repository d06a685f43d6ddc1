"""Several handlers on one queue: by a message attribute, by a field of the body, by its type, and one for the rest.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
leasekeeper run routing:app &
leasekeeper send orders '{"id": 1}' --attribute priority=high
leasekeeper send orders '{"type": "cancelled", "id": 2}'
"""

from dataclasses import dataclass
from typing import Any, Literal

from leasekeeper import Leasekeeper, Message
from leasekeeper.routing import attribute, field

app = Leasekeeper()


@dataclass
class Cancelled:
    type: Literal["cancelled"]  # the tag: a body with another type is not for this handler
    id: int


@app.consumer("orders", when=attribute("priority") == "high", concurrency=10)
async def rush(message: Message[dict[str, Any]]) -> None:
    print(f"rush {message.body['id']}", flush=True)


@app.consumer("orders", when=field("type").any_of("created", "changed"))
async def store(order: dict[str, Any]) -> None:
    print(f"store {order['id']}", flush=True)


@app.consumer("orders")
async def cancel(order: Cancelled) -> None:
    print(f"cancel {order.id}", flush=True)


@app.consumer("orders")
async def log(message: Message[str]) -> None:
    print(f"not known here: {message.body}", flush=True)
