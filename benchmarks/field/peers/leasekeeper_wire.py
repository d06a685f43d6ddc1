"""Our SQS client alone, for comparison: loops that receive ten messages, handle and delete them, without the engine."""

from __future__ import annotations

import asyncio

import uvloop
from asked import ENDPOINT, LONG_POLL, QUEUE_URL, VISIBILITY, obey
from handling import handler_async

from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

LOOPS = 8


async def loop(client: SqsClient) -> None:
    while True:
        messages = await client.receive(QUEUE_URL, maximum=10, wait=LONG_POLL, visibility=VISIBILITY)
        for message in messages:
            await handler_async(message.body)
        if messages:
            await client.delete_batch(QUEUE_URL, [message.receipt for message in messages])


async def main() -> None:
    async with await SqsClient.connect(ClientSettings(endpoint_url=ENDPOINT)) as client, asyncio.TaskGroup() as group:
        for _ in range(LOOPS):
            group.create_task(loop(client))


obey(lambda: uvloop.run(main()))
