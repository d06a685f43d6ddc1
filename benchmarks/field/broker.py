"""The state of the lean SQS: its queues, the polls that wait at them, and the stocks to fill them from.

Owned by `server.py`; `operations.py` and `steering.py` work on it. It promises real long polls, served in the order of
their arrival.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from email.utils import formatdate
from typing import TYPE_CHECKING

from groups import FifoQueue
from queues import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from queues import Item

TICK = 0.02
"""Seconds between two checks for leases that have ended while no client received."""


class Exchange:
    """A request that waits for its answer.

    Args:
        broker: the state it belongs to.
        flush: sends the connection's answers, as far as they are there in the order of its requests.
    """

    __slots__ = ("broker", "data", "flush")

    def __init__(self, broker: Broker, flush: Callable[[], None]) -> None:
        self.broker = broker
        self.flush = flush
        self.data: bytes | None = None

    def answer(self, body: bytes, latency: float = 0.0, status: bytes = b"200 OK") -> None:
        """Answer with this body after `latency` seconds."""
        data = b"HTTP/1.1 %b\r\n%b%d\r\n\r\n%b" % (status, self.broker.head, len(body), body)
        if latency:
            self.broker.loop.call_later(latency, self._fill, data)
        else:
            self._fill(data)

    def _fill(self, data: bytes) -> None:
        self.data = data
        self.flush()


class Poll:
    """A receive that waits for messages."""

    __slots__ = ("exchange", "limit", "queue", "timer", "visibility")

    def __init__(self, exchange: Exchange, queue: Queue, limit: int, visibility: float, wait: float) -> None:
        self.exchange = exchange
        self.queue = queue
        self.limit = limit
        self.visibility = visibility
        self.timer = exchange.broker.loop.call_later(wait, self._end)

    def _end(self) -> None:
        self.exchange.broker.polls[self.queue.name].remove(self)
        self.queue.counts.empty_receives += 1
        self.exchange.answer(b"{}", self.queue.latency)


class Broker:
    """All queues, the polls that wait at them, and the stocks to fill them from."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.queues: dict[str, Queue] = {}
        self.polls: dict[str, deque[Poll]] = {}
        self.stocks: dict[str, list[Item]] = {}
        self.stocking: dict[str, str] = {}
        self.connections = 0
        self.endpoint = ""
        self.head = _head()

    def queue(self, url: str) -> Queue:
        """The queue with this URL or name, made when it is new."""
        name = url[url.rfind("/") + 1 :]
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = FifoQueue(name) if name.endswith(".fifo") else Queue(name)
            self.polls[name] = deque()
        return queue

    def park(self, exchange: Exchange, queue: Queue, limit: int, visibility: float, wait: float) -> None:
        """Let a receive wait up to `wait` seconds for messages."""
        self.polls[queue.name].append(Poll(exchange, queue, limit, visibility, wait))

    def serve(self, queue: Queue) -> None:
        """Give visible messages to the polls that wait, in the order of their arrival."""
        polls = self.polls[queue.name]
        while polls:
            poll = polls[0]
            body = queue.receive(poll.limit, poll.visibility, time.monotonic(), int(time.time() * 1000))
            if body is None:
                return
            polls.popleft()
            poll.timer.cancel()
            poll.exchange.answer(body, queue.latency)

    def abandon(self, exchanges: set[Exchange]) -> None:
        """Drop the polls of a closed connection; otherwise they would take messages that no client gets."""
        for name, polls in self.polls.items():
            for poll in polls:
                if poll.exchange in exchanges:
                    poll.timer.cancel()
            self.polls[name] = deque(poll for poll in polls if poll.exchange not in exchanges)

    async def tick(self) -> None:
        """Notice leases that have ended, without end."""
        while True:
            self.head = _head()
            for queue in list(self.queues.values()):
                queue.expire(time.monotonic())
                if queue.visible:
                    self.serve(queue)
            await asyncio.sleep(TICK)


def _head() -> bytes:
    """The part of every answer between its status and its length."""
    return (
        b"x-amzn-RequestId: 5d1f4c3e-0000-5a5a-9b9b-0123456789ab\r\nContent-Type: application/x-amz-json-1.0\r\n"
        b"Date: %b\r\nContent-Length: " % formatdate(usegmt=True).encode()
    )
