"""Several consumers in one process.

Coroutine handlers run on the application's event loop, plain functions in threads. Neither can stop a heartbeat.

cd examples
leasekeeper local --queue orders --queue thumbnails &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
leasekeeper run shop:app &
leasekeeper send orders '{"id": 1, "customer": "ann"}'
"""

import asyncio
import hashlib

import msgspec

from leasekeeper import Leasekeeper, Message, Reject, Retry

app = Leasekeeper(visibility_timeout=30)


class Order(msgspec.Struct):
    id: int
    customer: str
    paid: bool = True


@app.consumer("orders", concurrency=50)
async def ship(order: Order) -> None:
    """A parameter that is not a Message receives the decoded body."""
    if order.customer == "unknown":
        raise Reject("no such customer")  # to the dead-letter queue; it is not retried
    if not order.paid:
        raise Retry(after=60)  # again in a minute; not logged as a failure
    await asyncio.sleep(0.01)
    print(f"shipped {order.id}", flush=True)


@app.consumer("thumbnails", concurrency=4, handler_timeout=30)
def thumbnail(message: Message[bytes]) -> None:
    """A plain function runs in a thread. If it raises, the message is retried with back-off."""
    print(f"thumbnail {hashlib.sha256(message.body).hexdigest()[:12]}", flush=True)
