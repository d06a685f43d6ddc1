"""Share a database connection and a client between handlers: opened before the first poll, closed after the last ack.

cd examples
leasekeeper local --queue orders --queue cancellations &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
leasekeeper run lifespan:app &
leasekeeper send orders '{"id": 1, "item": "tea"}'
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Self

from leasekeeper import Leasekeeper, Message


@dataclass
class Order:
    id: int
    item: str


class Mailer:
    """A client that is opened and closed, as HTTP clients and connection pools are."""

    async def __aenter__(self) -> Self:
        print("mailer open", flush=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        print("mailer closed", flush=True)

    async def send(self, text: str) -> None:
        print(f"mail: {text}", flush=True)


@dataclass
class Resources:
    db: sqlite3.Connection
    mailer: Mailer


@asynccontextmanager
async def resources(app: Leasekeeper) -> AsyncIterator[Resources]:
    with closing(sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)) as db:
        db.execute("create table orders (id integer primary key, item text)")
        async with Mailer() as mailer:
            print(f"opened for {len(app.consumers)} consumers", flush=True)
            yield Resources(db, mailer)
            [count] = db.execute("select count(*) from orders").fetchone()
            print(f"{count} orders stored", flush=True)


app = Leasekeeper(lifespan=resources)


@app.consumer("orders")
async def store(order: Order, message: Message[Order], db: sqlite3.Connection, mailer: Mailer) -> None:
    db.execute("insert or ignore into orders values (?, ?)", (order.id, order.item))
    await mailer.send(f"order {order.id} is stored (receive {message.receive_count})")


@app.consumer("cancellations")
def cancel(order_id: int, db: sqlite3.Connection) -> None:
    db.execute("delete from orders where id = ?", (order_id,))
    print(f"order {order_id} is cancelled", flush=True)
