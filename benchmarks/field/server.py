"""A lean SQS in memory, in a separate process: the AWS JSON protocol, with as little CPU as Python allows.

    python benchmarks/field/server.py       # prints its port

It measures clients, so it costs less a message than any of them. A queue is created when a request first names it. The
server keeps its promises about long polls, leases that end, and answers in the order of a connection's requests. It
does not implement delays, dead-letter queues, FIFO or signatures. `steering.py` holds the requests of the harness.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from typing import cast

import uvloop
from broker import Broker, Exchange
from operations import OPERATIONS, Refusal
from steering import steer


class Connection(asyncio.Protocol):
    """One connection: reads requests to their end, answers in their order."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._buffer = b""
        self._exchanges: deque[Exchange] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._broker.connections += 1
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._broker.connections -= 1
        self._broker.abandon(set(self._exchanges))
        self._exchanges.clear()

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
            exchange = Exchange(self._broker, self.flush)
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
                operation(self._broker, exchange, body)
            except Refusal as refusal:
                exchange.answer(refusal.body, status=b"400 Bad Request")
        elif b" /control/" in head[: head.find(b"\r\n")]:
            steer(self._broker, exchange, head.split(b" ", 2)[1].decode().removeprefix("/control/"), body)
        else:
            print("unknown:", target or head[:200], flush=True)
            exchange.answer(Refusal("InvalidAction", "no such operation here").body, status=b"400 Bad Request")


def _value(head: bytes, lower: bytes, name: bytes) -> bytes:
    at = lower.find(name)
    if at < 0:
        return b""
    at += len(name)
    end = lower.find(b"\r\n", at)
    return head[at : end if end >= 0 else None].strip()


async def listen(broker: Broker) -> asyncio.Server:
    """Accept connections at a free port of the loopback interface."""
    listening = await broker.loop.create_server(lambda: Connection(broker), "127.0.0.1", 0)
    broker.endpoint = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    return listening


async def main() -> None:
    """Serve until the process ends."""
    broker = Broker()
    await listen(broker)
    print(broker.endpoint.rpartition(":")[2], flush=True)
    gc.disable()  # there are hardly any cycles, and a collection over a large stock would pause the server
    await broker.tick()


if __name__ == "__main__":
    uvloop.run(main())
