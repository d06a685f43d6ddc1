"""Leasekeeper with handlers that never end for the first PEER_HELD messages, and do nothing for the others."""

from __future__ import annotations

import asyncio
import os

from asked import CONCURRENCY, ENDPOINT, QUEUE, VISIBILITY, obey

from leasekeeper import Consumer

HELD = int(os.environ["PEER_HELD"])


async def handle(payload: str) -> None:
    if int(payload[:7]) < HELD:
        await asyncio.get_running_loop().create_future()


def run() -> None:
    Consumer(
        QUEUE, handle, endpoint_url=ENDPOINT, concurrency=CONCURRENCY, visibility_timeout=VISIBILITY, drain_timeout=0.0
    ).run()


obey(run)
