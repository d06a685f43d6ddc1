"""A FIFO queue: the events of each order are applied in the order of sending, different orders side by side.

An event that fails is tried again here, and the later events of its order wait. The store keeps the sequence number of
the last event that it has applied, and refuses older ones: so even a process that lost its lease cannot undo a later
event. The message group is the order's id.

cd examples
leasekeeper local --queue orders.fifo &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python fifo.py &
leasekeeper send orders.fifo '{"order": "tea", "status": "new"}' --group-id tea
leasekeeper send orders.fifo '{"order": "tea", "status": "paid"}' --group-id tea
"""

import logging
import sqlite3

import msgspec

from leasekeeper import Consumer, Message

store = sqlite3.connect(":memory:", isolation_level=None)
store.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, status TEXT, last_seq TEXT NOT NULL)")


class StatusChanged(msgspec.Struct):
    order: str
    status: str


async def apply(message: Message[StatusChanged]) -> None:
    event = message.body
    # 128 bits do not fit a column of integers: 39 digits as text compare as numbers do.
    sequence = f"{message.sequence_number:039}"
    if event.status == "paid" and message.attempt == 1:
        print(f"{event.order}: the bank does not answer, and the later events of {event.order} wait", flush=True)
        raise ConnectionError("the bank does not answer")
    store.execute("INSERT INTO orders VALUES (?, '', '') ON CONFLICT DO NOTHING", (event.order,))
    applied = store.execute(
        "UPDATE orders SET status = :status, last_seq = :seq WHERE id = :id AND last_seq < :seq",
        {"status": event.status, "seq": sequence, "id": event.order},
    )
    if applied.rowcount:
        print(f"{event.order}: {event.status} (attempt {message.attempt})", flush=True)
    else:
        print(f"{event.order}: {event.status} was applied before", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    print(Consumer("orders.fifo", apply, concurrency=50, retry_base=1.0, max_attempts=5).run())
