"""An outbox in a real Postgres, and the local SQS with two empty queues."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg

from leasekeeper.local.objects import Objects
from leasekeeper.outbox import Outbox, Relay
from leasekeeper.payloads import S3Payloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.local import LocalSqs

WITHIN = 120.0
_tables = count(1)


class Bench:
    """An outbox, and a server with the queues `q` and `q.fifo`."""

    def __init__(self, dsn: str, sqs: LocalSqs) -> None:
        self.dsn = dsn
        self.sqs = sqs
        self.objects = Objects()
        self.outbox = Outbox(dsn, table=f"outbox_{next(_tables)}")
        self.outbox.create_table()
        for name, attributes in (("q", {}), ("q.fifo", {"FifoQueue": "true"})):
            self.call("CreateQueue", QueueName=name, Attributes=attributes)

    def keep_payloads(self, payloads: S3Payloads | None = None) -> None:
        """From now on the outbox has a place for large payloads: here, in memory."""
        payloads = payloads or S3Payloads("bucket", prefix="docs/", client=self.objects)
        self.outbox = Outbox(self.dsn, table=self.outbox.table, payloads=payloads)

    def call(self, operation: str, **request: Any) -> Any:
        """Call the server."""
        return self.sqs.call(operation, **request)

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement about the table `{t}`."""
        with psycopg.connect(self.dsn) as connection:
            cursor = connection.execute(statement.replace("{t}", self.outbox.table).encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def add(self, queue: str, *bodies: Any, **more: Any) -> None:
        """Write rows, all in one transaction."""
        with psycopg.connect(self.dsn) as connection:
            for body in bodies:
                self.outbox.add(connection, queue, body, **more)

    def relay(self, **options: Any) -> Relay:
        """A relay, not started."""
        return Relay(
            self.outbox, **{"endpoint_url": self.sqs.endpoint_url, "region": "eu-west-1", "poll": 0.05, **options}
        )

    def bodies(self, queue: str = "q", prefix: str = "") -> list[str]:
        """What the queue has, in its order, of the bodies with that prefix."""
        asked: list[str] = []

        def look() -> None:
            found = [each.content.body for each in self.sqs.broker.account.queues[queue].contents()]
            asked.extend(body for body in found if body.startswith(prefix))

        self.sqs.on_loop(look)
        return asked

    def until(self, done: Callable[[], object]) -> None:
        """Wait for what other threads do."""
        deadline = time.monotonic() + WITHIN
        while not done():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    def relay_process(self, *arguments: str) -> subprocess.Popen[bytes]:
        """`leasekeeper outbox relay` in a process."""
        command = [sys.executable, "-m", "leasekeeper", "outbox", "relay", "--table", self.outbox.table]
        address = ["--dsn", self.dsn, "--endpoint-url", self.sqs.endpoint_url, "--region", "eu-west-1"]
        return subprocess.Popen([*command, *address, *arguments], stderr=subprocess.DEVNULL)

    @property
    def empty(self) -> bool:
        """Whether no row is left."""
        return not self.execute("SELECT id FROM {t} LIMIT 1")
