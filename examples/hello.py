"""The smallest service: a handler, a queue, and `run()` until SIGTERM or Ctrl-C.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python hello.py &
leasekeeper send orders '{"id": 1, "items": ["tea"]}'
"""

import logging
from dataclasses import dataclass

from leasekeeper import Consumer, Message


@dataclass
class Order:
    id: int
    items: list[str]


async def ship(message: Message[Order]) -> None:
    order = message.body
    print(f"order {order.id}: {', '.join(order.items)} (receive {message.receive_count})", flush=True)


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("leasekeeper").setLevel(logging.INFO)
    print(Consumer("orders", ship, concurrency=50).run())
