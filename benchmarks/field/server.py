"""A lean SQS in memory, in a process of its own: the AWS JSON protocol, as cheap as Python can speak it.

    python benchmarks/field/server.py       # prints its port

It is there to measure clients, so it costs less a message than any of them. Queues come into being when first named. It
promises real long polls, leases that lapse, and answers in the order of a connection's requests. Delays of messages,
dead-letter queues, FIFO and signatures are not its business. `steering.py` has what the harness asks of it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from email.utils import formatdate
from typing import TYPE_CHECKING, cast

import uvloop
from operations import OPERATIONS, Refusal
from queues import Queue
from steering import steer

if TYPE_CHECKING:
    from queues import Item

TICK = 0.02
"""Seconds between looks for leases that lapsed while nobody received."""


class Exchange:
    """A request whose answer is to come, in its place on its connection."""

    __slots__ = ("connection", "data")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.data: bytes | None = None

    def answer(self, body: bytes, latency: float = 0.0, status: bytes = b"200 OK") -> None:
        """Answer with this body, so many seconds from now."""
        data = b"HTTP/1.1 %b\r\n%b%d\r\n\r\n%b" % (status, self.connection.server.head, len(body), body)
        if latency:
            self.connection.server.loop.call_later(latency, self._fill, data)
        else:
            self._fill(data)

    def _fill(self, data: bytes) -> None:
        self.data = data
        self.connection.flush()


class Poll:
    """A receive that waits for messages."""

    __slots__ = ("exchange", "limit", "queue", "timer", "visibility")

    def __init__(self, exchange: Exchange, queue: Queue, limit: int, visibility: float, wait: float) -> None:
        self.exchange = exchange
        self.queue = queue
        self.limit = limit
        self.visibility = visibility
        self.timer = exchange.connection.server.loop.call_later(wait, self._end)

    def _end(self) -> None:
        self.exchange.connection.server.polls[self.queue.name].remove(self)
        self.queue.counts.empty_receives += 1
        self.exchange.answer(b"{}", self.queue.latency)


class Server:
    """All queues, the polls that wait at them, and the stocks to fill them from."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.queues: dict[str, Queue] = {}
        self.polls: dict[str, deque[Poll]] = {}
        self.stocks: dict[str, list[Item]] = {}
        self.stocking: dict[str, str] = {}
        self.connections: set[Connection] = set()
        self.endpoint = ""
        self.head = _head()

    def queue(self, url: str) -> Queue:
        """The queue with this URL or name, made when it is new."""
        name = url[url.rfind("/") + 1 :]
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(name)
            self.polls[name] = deque()
        return queue

    def park(self, exchange: Exchange, queue: Queue, limit: int, visibility: float, wait: float) -> None:
        """Let a receive wait so many seconds for messages."""
        self.polls[queue.name].append(Poll(exchange, queue, limit, visibility, wait))

    def serve(self, queue: Queue) -> None:
        """Give what is visible to the polls that wait, first come, first served."""
        polls = self.polls[queue.name]
        while polls:
            poll = polls[0]
            body = queue.receive(poll.limit, poll.visibility, time.monotonic(), int(time.time() * 1000))
            if body is None:
                return
            polls.popleft()
            poll.timer.cancel()
            poll.exchange.answer(body, queue.latency)

    async def tick(self) -> None:
        """Notice lapsed leases, for ever."""
        while True:
            self.head = _head()
            for queue in list(self.queues.values()):
                queue.expire(time.monotonic())
                if queue.visible:
                    self.serve(queue)
            await asyncio.sleep(TICK)

    async def listen(self) -> asyncio.Server:
        """Take connections, at a free port of the loopback interface."""
        listening = await self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        return listening


class Connection(asyncio.Protocol):
    """One connection: reads requests to their end, answers in their order."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._buffer = b""
        self._exchanges: deque[Exchange] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take its polls out of the waiting ones, or they would be given messages that nobody gets."""
        del exc
        self.server.connections.discard(self)
        self._exchanges.clear()
        for name, polls in self.server.polls.items():
            for poll in polls:
                if poll.exchange.connection is self:
                    poll.timer.cancel()
            self.server.polls[name] = deque(poll for poll in polls if poll.exchange.connection is not self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = buffer[:end]
            lower = head.lower()
            whole = end + 4 + int(_value(lower, lower, b"\r\ncontent-length:") or 0)
            if len(buffer) < whole:
                if b"100-continue" in lower and len(buffer) == end + 4:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                break
            body = buffer[end + 4 : whole]
            buffer = buffer[whole:]
            exchange = Exchange(self)
            self._exchanges.append(exchange)
            self._dispatch(exchange, head, lower, body)
        self._buffer = buffer

    def flush(self) -> None:
        """Send what is answered, up to the first that is not."""
        exchanges = self._exchanges
        while exchanges and (data := exchanges[0].data) is not None:
            exchanges.popleft()
            self._transport.write(data)

    def _dispatch(self, exchange: Exchange, head: bytes, lower: bytes, body: bytes) -> None:
        target = _value(head, lower, b"\r\nx-amz-target:")
        operation = OPERATIONS.get(target[target.rfind(b".") + 1 :])
        if operation is not None:
            try:
                operation(self.server, exchange, body)
            except Refusal as refusal:
                exchange.answer(refusal.body, status=b"400 Bad Request")
        elif b" /control/" in head[: head.find(b"\r\n")]:
            steer(self.server, exchange, head.split(b" ", 2)[1].decode().removeprefix("/control/"), body)
        else:
            print("unknown:", target or head[:200], flush=True)
            exchange.answer(Refusal("InvalidAction", "no such operation here").body, status=b"400 Bad Request")


def _head() -> bytes:
    """What stands in every answer between its status and its length."""
    return (
        b"x-amzn-RequestId: 5d1f4c3e-0000-5a5a-9b9b-0123456789ab\r\nContent-Type: application/x-amz-json-1.0\r\n"
        b"Date: %b\r\nContent-Length: " % formatdate(usegmt=True).encode()
    )


def _value(head: bytes, lower: bytes, name: bytes) -> bytes:
    at = lower.find(name)
    if at < 0:
        return b""
    at += len(name)
    end = lower.find(b"\r\n", at)
    return head[at : end if end >= 0 else None].strip()


async def main() -> None:
    """Serve until the process is ended."""
    server = Server()
    await server.listen()
    print(server.endpoint.rpartition(":")[2], flush=True)
    gc.disable()  # there are no cycles to speak of, and a collection over a large stock is a pause of the server
    await server.tick()


if __name__ == "__main__":
    uvloop.run(main())
