"""A consumer with idempotency that tests start as a process, kill and start again.

    python once.py KIND PLACE ENDPOINT FOLDER SHARE [SECONDS]

Its handler notes each start and each effect in files of the folder, and kills its process in a SHARE of its runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psycopg  # noqa: TC002 - a handler's annotation is read at run time

from leasekeeper import Consumer
from leasekeeper.api import Credentials
from leasekeeper.idempotency import DynamoDbStore, Idempotency, PostgresInbox, PostgresStore, RedisStore
from leasekeeper.running import run

KIND, PLACE, ENDPOINT, FOLDER, SHARE = sys.argv[1:6]
SECONDS = float(sys.argv[6]) if len(sys.argv) > 6 else 0.005
KEYS = Credentials(access_key="k", secret_key="s")


def note(name: str, body: dict[str, Any]) -> None:
    """Append a line: whole lines, whichever process writes."""
    with Path(FOLDER, name).open("a") as file:
        file.write(f"{body['id']} {os.getpid()} {time.time():.3f}\n")


async def work(body: dict[str, Any]) -> None:
    """The work outside of a database: a line in a file."""
    note("started", body)
    crash = random.random()
    if crash < float(SHARE) / 2:
        os.kill(os.getpid(), signal.SIGKILL)
    note("effects", body)
    await asyncio.sleep(SECONDS)
    if crash < float(SHARE):
        os.kill(os.getpid(), signal.SIGKILL)


async def work_in_transaction(body: dict[str, Any], tx: psycopg.AsyncConnection) -> None:
    """The work in the transaction of an inbox: a row."""
    note("started", body)
    await tx.execute("INSERT INTO effects VALUES (%s, %s)", [body["id"], os.getpid()])
    await asyncio.sleep(SECONDS)
    if random.random() < float(SHARE):
        os.kill(os.getpid(), signal.SIGKILL)


def idempotency() -> Any:
    """The option of that kind."""
    if KIND == "inbox":
        return PostgresInbox(PLACE, key="id")
    stores: dict[str, Any] = {
        "redis": lambda: RedisStore.from_url(PLACE),
        "postgres": lambda: PostgresStore(PLACE),
        "dynamodb": lambda: DynamoDbStore("keys", region="eu-west-1", endpoint_url=PLACE, credentials=KEYS),
    }
    return Idempotency(stores[KIND](), key="id", timeout=2.0)


if __name__ == "__main__":
    once = idempotency()
    consumer = Consumer(
        "orders",
        work_in_transaction if KIND == "inbox" else work,
        idempotency=once,
        endpoint_url=ENDPOINT,
        region="us-east-1",
        visibility_timeout=5,
        concurrency=10,
        wait_time=1,
        wait_for_endpoint=60,
    )
    run(consumer)
    counts = once.statistics()
    with Path(FOLDER, "counts").open("a") as file:
        names = ("claimed", "done", "running", "conflicts", "store_errors")
        file.write(json.dumps({name: getattr(counts, name) for name in names}) + "\n")
