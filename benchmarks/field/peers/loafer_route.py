"""olist-loafer: a route with one client for all calls, run by the library's manager.

Without that client it makes a new one for every call, which is about forty times slower. Without a translator the
handler receives the message unchanged; the library's own translator takes JSON only.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from asked import CONCURRENCY, ENDPOINT, LONG_POLL, QUEUE, VISIBILITY, obey
from handling import handler_async
from loafer.ext.aws.routes import SQSRoute
from loafer.managers import LoaferManager

RECEIVING = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": LONG_POLL, "VisibilityTimeout": VISIBILITY}


async def handle(message: dict[str, str], _metadata: Any) -> bool:
    await handler_async(message["Body"])
    return True


async def connect() -> Any:
    config = AioConfig(max_pool_connections=CONCURRENCY + 1)
    return await get_session().create_client("sqs", endpoint_url=ENDPOINT, config=config).__aenter__()


def run() -> None:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    client = loop.run_until_complete(connect())
    route = SQSRoute(QUEUE, {"client": client, "options": RECEIVING}, handler=handle, message_translator=None)
    LoaferManager([route], workers=CONCURRENCY).run()


obey(run)
