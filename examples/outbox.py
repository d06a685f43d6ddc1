"""An order and its message in one transaction: what is rolled back is never sent. The relay runs with the app.

cd examples
leasekeeper local --queue shipped &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
DATABASE_URL=postgresql://localhost/postgres python outbox.py        # a Postgres of yours
"""

import asyncio
import os

import psycopg

from leasekeeper import Leasekeeper
from leasekeeper.outbox import Outbox

outbox = Outbox(os.environ.get("DATABASE_URL", ""), table="example_outbox")
app = Leasekeeper()
app.relay(outbox)


@app.consumer("shipped")
async def notify(order: dict[str, int]) -> None:
    print(f"order {order['id']} was shipped", flush=True)


async def ship(order: int, *, fails: bool) -> None:
    """Write the order, and with it the message about it."""
    async with await psycopg.AsyncConnection.connect(outbox.dsn) as connection:
        await connection.execute("INSERT INTO example_orders (id) VALUES (%s)", [order])
        await outbox.add(connection, "shipped", {"id": order})
        if fails:
            raise RuntimeError(f"order {order} is rolled back, and with it its message")


def prepare() -> None:
    if not outbox.dsn:
        raise SystemExit("set DATABASE_URL to a Postgres, e.g. postgresql://localhost/postgres")
    outbox.create_table()
    with psycopg.connect(outbox.dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS example_orders (id bigint)")


async def main() -> None:
    for order in range(1, 4):
        try:
            await ship(order, fails=order == 2)
        except RuntimeError as error:
            print(error, flush=True)


if __name__ == "__main__":
    prepare()
    asyncio.run(main())
    app.run()
