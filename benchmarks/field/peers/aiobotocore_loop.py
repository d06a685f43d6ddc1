"""aiobotocore by hand, as a good engineer writes it in an hour: pollers, tasks behind a semaphore, batched deletes.

It has no heartbeat and no stop: messages that it holds when it ends come back after their visibility timeout.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from asked import CONCURRENCY, ENDPOINT, LONG_POLL, QUEUE_URL, VISIBILITY, obey
from handling import handler_async

if TYPE_CHECKING:
    from collections.abc import Callable

POLLERS = 10
DELETERS = 10
GATHERING = 0.01
"""Seconds a delete waits for its batch of ten to fill."""


class Loop:
    """The parts of the loop, and what goes between them: room for handlers, and receipts to delete."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._room = asyncio.Semaphore(CONCURRENCY)
        self._receipts: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(POLLERS):
                group.create_task(self._poll(group))
            for _ in range(DELETERS):
                group.create_task(self._delete())

    async def _poll(self, group: asyncio.TaskGroup) -> None:
        while True:
            answer = await self._client.receive_message(
                QueueUrl=QUEUE_URL, MaxNumberOfMessages=10, WaitTimeSeconds=LONG_POLL, VisibilityTimeout=VISIBILITY
            )
            for message in answer.get("Messages", []):
                await self._room.acquire()
                group.create_task(self._handle(message))

    async def _handle(self, message: dict[str, str]) -> None:
        try:
            await handler_async(message["Body"])
            self._receipts.put_nowait(message["ReceiptHandle"])
        finally:
            self._room.release()

    async def _delete(self) -> None:
        while True:
            batch = [await self._receipts.get()]
            if self._receipts.qsize() < 9:
                await asyncio.sleep(GATHERING)
            while len(batch) < 10 and not self._receipts.empty():
                batch.append(self._receipts.get_nowait())
            entries = [{"Id": str(i), "ReceiptHandle": receipt} for i, receipt in enumerate(batch)]
            await self._client.delete_message_batch(QueueUrl=QUEUE_URL, Entries=entries)


async def main() -> None:
    config = AioConfig(max_pool_connections=POLLERS + DELETERS)
    async with get_session().create_client("sqs", endpoint_url=ENDPOINT, config=config) as client:
        await Loop(client).run()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if os.environ.get("PEER_LOOP") != "uvloop":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


def run() -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


obey(run)
