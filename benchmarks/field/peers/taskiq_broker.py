"""taskiq with taskiq-aio-sqs: its command line runs one worker process, with ten messages a receive and heartbeats.

Messages are acknowledged when their result is saved, as by default. A receive waits one second at most. Its wait option
only sets how many receives make a poll, which a stop does not interrupt, so it keeps its default.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asked import CONCURRENCY, ENDPOINT, QUEUE, REGION, VISIBILITY, become, obey
from handling import handler_async
from taskiq_aio_sqs import SQSBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

broker = SQSBroker(
    QUEUE,
    endpoint_url=ENDPOINT,
    region_name=REGION,
    max_number_of_messages=10,
    visibility_timeout=VISIBILITY,
    enable_heartbeat=True,
)


@broker.task(task_name="handle")
async def handle(payload: str) -> None:
    await handler_async(payload)


async def send(payloads: Iterator[str]) -> None:
    await broker.startup()
    for payload in payloads:
        await handle.kiq(payload)
    await broker.shutdown()


def run() -> None:
    worker = ["--workers", "1", "--max-async-tasks", str(CONCURRENCY), "--log-level", "WARNING"]
    become("taskiq", "worker", "taskiq_broker:broker", *worker)


if __name__ == "__main__":
    obey(run, lambda payloads: asyncio.run(send(payloads)))
