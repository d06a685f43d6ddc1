"""One app in three places: a process that polls, a function of AWS Lambda, and a test in virtual time.

In Lambda the handler is `anywhere.handler`, with ReportBatchItemFailures in the event source mapping.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
leasekeeper run anywhere:app &
leasekeeper send orders '{"id": 1}'
"""

import msgspec

from leasekeeper import Leasekeeper, Message, Reject, Retry
from leasekeeper.contrib import lambda_

app = Leasekeeper()
shipped: list[int] = []


class Order(msgspec.Struct):
    id: int
    paid: bool = True


@app.consumer("orders")
async def ship(message: Message[Order]) -> None:
    order = message.body
    if order.id < 0:
        raise Reject("no such order")
    if not order.paid and message.receive_count < 2:
        raise Retry(after=1)
    shipped.append(order.id)
    print(f"shipped {order.id}", flush=True)


handler = lambda_.handler(app)
