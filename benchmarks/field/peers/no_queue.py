"""No queue: the handlers of the other peers alone, as many at once as the concurrency, each called again and again.

No library for queues is in the process. So it shows how long handlers really take on this machine.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import uvloop
from asked import CONCURRENCY, MESSAGES, obey, payloads
from handling import handler_async, handler_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = os.environ["PEER_KIND"]
SIZE = 500


async def loop(texts: Iterator[str]) -> None:
    for text in texts:
        await handler_async(text)


async def loops(texts: Iterator[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(loop(texts))


def thread(texts: Iterator[str]) -> None:
    for text in texts:
        handler_sync(text)


def threads(texts: Iterator[str]) -> None:
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for ended in [pool.submit(thread, texts) for _ in range(CONCURRENCY)]:
            ended.result()


def run() -> None:
    texts = iter(list(payloads(MESSAGES, SIZE)))  # of a list, so that threads may share it
    if KIND == "async":
        uvloop.run(loops(texts))
    else:
        threads(texts)


obey(run)
