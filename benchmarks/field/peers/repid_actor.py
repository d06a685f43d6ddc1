"""repid with its SQS server: an actor in its worker, which keeps messages alive and stops on SIGTERM by itself.

It sets no visibility timeout: the queue's applies until the first heartbeat, after a third of the configured one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop
from asked import CONCURRENCY, ENDPOINT, LONG_POLL, QUEUE, REGION, VISIBILITY, obey
from handling import handler_async
from repid import Repid, Router
from repid.connections.sqs import SqsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

server = SqsServer(
    endpoint_url=ENDPOINT,
    region_name=REGION,
    receive_wait_time_seconds=LONG_POLL,
    batch_size=10,
    visibility_timeout=VISIBILITY,
)
app = Repid(title="field", version="1")
app.servers.register_server("sqs", server, is_default=True)
router = Router()


@router.actor(channel=QUEUE)
async def handle(payload: str) -> None:
    await handler_async(payload)


app.include_router(router)


async def send(payloads: Iterator[str]) -> None:
    async with server.connection():
        for payload in payloads:
            await app.send_message_json(channel=QUEUE, payload={"payload": payload}, headers={"topic": "handle"})


async def work() -> None:
    async with server.connection():
        await app.run_worker(tasks_limit=CONCURRENCY)


def run() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


obey(run, lambda payloads: asyncio.run(send(payloads)))
