"""How long the keeper takes to settle what a dead process held, and which part of that is the server's own work.

`python benchmarks/keeper/settle.py [RUNS] [HELD]` prints, for each run, the seconds until everything is visible and the
seconds of CPU of keeper and server; then the distribution. The server is the local one, in another process, and nothing
else asks it anything meanwhile. On a busy machine only the CPU says something.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from leasekeeper.core.delivery import Lease
from leasekeeper.keeper.entries import Entries, KeptDelivery
from leasekeeper.keeper.layout import WAITING, Credentials, Settings
from leasekeeper.keeper.table import Table
from leasekeeper.keeper.threads import Threads
from leasekeeper.keeper.watched_process import WatchedProcess
from leasekeeper.local import LocalSqs
from leasekeeper.message import Received

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

VISIBILITY = 900


def _serve(connection: Connection, held: int) -> None:
    """A queue whose messages are all in flight; tells their receipts, then its CPU, then how many are visible."""
    sqs = LocalSqs()
    url = sqs.broker.account.call("CreateQueue", {"QueueName": "orders"}, 0.0)["QueueUrl"]
    for number in range(held):
        sqs.broker.account.call("SendMessage", {"QueueUrl": url, "MessageBody": str(number)}, 0.0)
    sqs.start()

    def call(operation: str, **request: Any) -> Any:
        return sqs.call(operation, QueueUrl=url, **request)

    receives = []
    for _ in range(held // 10):
        messages = call("ReceiveMessage", MaxNumberOfMessages=10, VisibilityTimeout=VISIBILITY)["Messages"]
        receives.append([(message["MessageId"], message["ReceiptHandle"]) for message in messages])
    connection.send((sqs.endpoint_url, url, receives))
    before = time.process_time()
    connection.recv()
    used = time.process_time() - before
    visible = call("GetQueueAttributes", AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessages"]
    connection.send((used, int(visible)))
    sqs.stop()


def _run(held: int) -> tuple[float, float, float]:
    """Seconds until all is settled, and of CPU: the keeper's and the server's."""
    connection, other = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(other, held))
    server.start()
    endpoint, url, receives = connection.recv()
    table = Table.make(held, Settings(endpoint, "us-east-1", url, "orders"), keep_for=300)
    table.write_credentials(Credentials("key", "secret", None))
    entries, now = Entries(table), time.monotonic()
    lease = Lease(VISIBILITY, now, now + VISIBILITY / 2, now + VISIBILITY)
    for receive in receives:
        batch = [Received(message_id=name, receipt=receipt) for name, receipt in receive]
        entries.enter([KeptDelivery(each, lease, now, now) for each in batch], batch, WAITING)
    threads = Threads()
    threads.start()
    watched = WatchedProcess(0, threads, threads, say=lambda _: None)
    watched.add(os.dup(table.descriptor))
    began, cpu = time.monotonic(), time.process_time()
    watched.settle()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    connection.send(None)
    servers, visible = connection.recv()
    server.join()
    watched.close()
    threads.close()
    table.close()
    if visible != held:
        raise RuntimeError(f"{visible:,} of {held:,} messages are visible")
    return took, cpu, servers


def main(runs: int = 20, held: int = 10_000) -> None:
    """Measure, and print."""
    found = []
    for number in range(runs):
        found.append(_run(held))
        print(f"run {number + 1}: {found[-1][0]:.2f} s; CPU: keeper {found[-1][1]:.2f} s, server {found[-1][2]:.2f} s")
    for place, name in enumerate(("seconds", "CPU of the keeper", "CPU of the server")):
        values = sorted(each[place] for each in found)
        print(f"{name}: {values[0]:.2f} to {values[-1]:.2f}, median {values[len(values) // 2]:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
