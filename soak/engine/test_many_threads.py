"""Threads that compute, far more than there are processors: the engine keeps every lease all the same.

`LEASEKEEPER_HOGS=100x45x30` runs 100 threads for 45 seconds each, with leases of 30 seconds.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Consumer
from leasekeeper.api import Credentials, Outgoing
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS, SECONDS, VISIBILITY = map(int, os.environ.get("LEASEKEEPER_HOGS", "32x15x5").split("x"))


@pytest.fixture
def endpoint() -> Iterator[str]:
    """The address of a server in another process, so that it has an interpreter's lock for itself."""
    command = [sys.executable, "-m", "leasekeeper", "local", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().partition(" at ")[2].partition(". ")[0]
        process.terminate()


async def _send(settings: ClientSettings) -> None:
    async with await SqsClient.connect(settings) as client:
        url = await client.create_queue("orders")
        for number in range(THREADS):
            await client.send(url, Outgoing(body=str(number)))


def test_no_lease_is_lost_while_every_thread_computes(endpoint: str) -> None:
    """L9: no message is received twice, and every delete is confirmed within the lease."""
    credentials = Credentials(access_key="key", secret_key="secret")
    settings = ClientSettings(endpoint_url=endpoint, region="eu-west-1", credentials=credentials)
    asyncio.run(_send(settings))
    runs, together, ended = Counter[str](), threading.Barrier(THREADS), threading.Semaphore(0)

    def compute(body: str) -> None:
        runs[body] += 1
        together.wait(60)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            sum(range(1_000))
        ended.release()

    consumer = Consumer(
        "orders",
        compute,
        endpoint_url=endpoint,
        region="eu-west-1",
        credentials=credentials,
        concurrency=THREADS,
        threads=THREADS,
        visibility_timeout=VISIBILITY,
    )
    consumer.start()
    for _ in range(THREADS):
        assert ended.acquire(timeout=10 * SECONDS)
    found = consumer.statistics()
    report = consumer.stop().result()
    assert found is not None
    late = f"the engine's loop was up to {found.longest_lag:.2f} s late"
    assert (report.received, report.acked, report.lost) == (THREADS, THREADS, 0), late
    assert set(runs.values()) == {1}
