"""The streams of the page: the state as server-sent events, at once after a change by the page and once a second.

Owned by the server, written by its connections. They have the form of the live page's stream. All of them end with
`bye` before the server closes its connections.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from leasekeeper.admin.streaming import stream
from leasekeeper.local import page_content

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from leasekeeper.local.broker import Broker
    from leasekeeper.local.call_log import CallLog

PATH = b"/_leasekeeper/stream"
EVERY = 1.0
"""Seconds between two looks."""
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
)


class PageStreams:
    """What the streams of one server share.

    Attributes:
        closed: whether they end.
    """

    def __init__(self) -> None:
        self.closed = False
        self._moved = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    def add(self, task: asyncio.Task[None]) -> None:
        """Wait for this task, which writes a stream, when the server closes."""
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    def events(self, broker: Broker, log: CallLog, path: bytes) -> AsyncIterator[bytes]:
        """The events of one stream; `?queue=NAME` adds the messages of a queue."""
        query = parse_qs(path.partition(b"?")[2].decode("latin-1"))
        queue = query.get("queue", [""])[0]
        return stream(self, lambda: page_content.state(broker, log, queue), lasts=math.inf)

    async def next_look(self) -> bool:
        """Wait for a second, or for a change; False when the server closes."""
        if not self.closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._moved.wait()
        return not self.closed

    def wake(self) -> None:
        """Look now: the page has changed something."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def close(self) -> None:
        """End all streams, and wait until they have said so."""
        self.closed = True
        self.wake()
        if self._open:
            await asyncio.wait(self._open, timeout=EVERY)
