"""Load events into a database, up to 100 in one transaction.

A batch is complete with 100 messages, or when its oldest has waited half a second. An event that the table refuses
takes its whole transaction along. `on_batch_error="halves"` then tries the halves at once, under the same leases, until
that event is alone: it is retried, and all others are stored and deleted.

cd examples
leasekeeper local --queue events &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python batches.py &
leasekeeper send events '{"customer": "ann", "amount": 5}'
"""

import logging
import sqlite3
from dataclasses import dataclass

from leasekeeper import Batch, Consumer

database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("CREATE TABLE event (customer TEXT, amount INTEGER CHECK (amount > 0))")


@dataclass
class Event:
    customer: str
    amount: int


def load(batch: Batch[Event]) -> None:
    unknown = [message for message in batch if message.body.customer == "unknown"]
    for message in unknown:
        batch.reject(message, "no such customer")
    rows = [(message.body.customer, message.body.amount) for message in batch if message not in unknown]
    with database:  # one transaction: all rows, or none
        database.executemany("INSERT INTO event VALUES (?, ?)", rows)
    print(f"stored {len(rows)} of {len(batch)}, complete by {batch.trigger}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    # `concurrency` counts batches: one thread, and one batch at a time.
    print(Consumer("events", load, batch=100, batch_wait=0.5, concurrency=1, on_batch_error="halves").run())
