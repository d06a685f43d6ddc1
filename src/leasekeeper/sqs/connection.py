"""One connection of the native transport: it sends one request at a time and reads the response.

Owned by its transport's pool. It promises that each call ends exactly once, with a response or an `SqsError`, and that
the connection is given back to the pool only when nothing of either message is left on it.
"""

from __future__ import annotations

import asyncio
import math
import socket
from typing import TYPE_CHECKING, Any, Protocol, cast

from leasekeeper.sqs.http import KEEPALIVE, LONGEST_ANSWER, silence_of
from leasekeeper.sqs.response import ResponseReader, whole_response

if TYPE_CHECKING:
    import ssl

    from leasekeeper.api import Response
    from leasekeeper.errors import SqsError

READ = 65_536
"""Bytes read at once, but for bodies of known length: these are read straight into their place."""


class Pool(Protocol):
    """What a connection asks of the transport that owns it."""

    def give_back(self, connection: Connection) -> None:
        """The connection is free for the next call."""
        ...

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        ...

    def failure(self, code: str, detail: object) -> SqsError:
        """The error of a call that ends without a response."""
        ...


class Connection(asyncio.BufferedProtocol):
    """A connection to the endpoint or to its proxy.

    Args:
        pool: the transport that owns it.

    Attributes:
        deadline: when the next byte of the response must have arrived, by the loop's clock.
        begin_by: when the first byte must have arrived.
        timeout: seconds that the call was given.
        idle_since: when its last call ended.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._reader: ResponseReader | None = None  # None: nothing has arrived, or all of it in one piece
        self._tunnel = False
        self._buffer = memoryview(bytearray(READ))
        self._direct = False  # whether the rest of a body is read into its place
        self._clock = asyncio.get_running_loop().time
        self.deadline = self.begin_by = self.timeout = math.inf
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop when the connection is open, and again when it is secure."""
        self._transport = cast("asyncio.Transport", transport)
        _keep_alive(transport.get_extra_info("socket"))

    def send(self, request: bytes, *, tunnel: bool = False) -> asyncio.Future[Response]:
        """Send a request; the future of its response. A connection with a `tunnel` is not given back to the pool."""
        assert self._transport is not None
        answer = self._answer = asyncio.get_running_loop().create_future()
        if tunnel:
            self._tunnel, self._reader = True, ResponseReader(tunnel=True)
        if self._transport.is_closing():  # it was closed between the last response and now
            self.fail("ConnectionReset", "the idle connection was closed")
        else:
            self._transport.write(request)
        return answer

    @property
    def busy(self) -> bool:
        """Whether it waits for a response."""
        return self._answer is not None

    def waits_for(self, answer: asyncio.Future[Response]) -> bool:
        """Whether it still waits for that response. If that one has arrived, another call may be using it already."""
        return self._answer is answer

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._transport = cast(
            "asyncio.Transport", await loop.start_tls(self._transport, self, context, server_hostname=host)
        )

    # Reading

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's guess
        """Where the loop writes what arrives next: a body of known length straight into its place."""
        return self._reader.space() if self._direct and self._reader else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop when that many bytes have arrived."""
        if self._answer is None:
            self.fail("Garbage", "bytes that nothing asked for")
            return
        reader = self._reader
        if reader is None:
            if (response := whole_response(self._buffer, nbytes)) is not None:
                self._finish(response)
                return
            reader = self._reader = ResponseReader()
        try:
            whole = reader.filled(nbytes) if self._direct else reader.feed(bytes(self._buffer[:nbytes]))
        except ValueError as error:
            self.fail("Garbage", error)
            return
        if whole:
            self._finish(reader.response(), closing=reader.closing)
        else:
            self._direct = reader.direct
            self._extend_deadline()

    def _extend_deadline(self) -> None:
        """Bytes have arrived, so the next ones get their time: silence ends a call, and a slow network does not."""
        later = min(self._clock() + silence_of(self.timeout), self.begin_by + LONGEST_ANSWER)
        self.deadline = max(self.deadline, later)

    def _finish(self, response: Response, *, closing: bool = False) -> None:
        answer, self._answer = self._answer, None
        assert answer is not None
        assert self._transport is not None
        if not answer.done():
            answer.set_result(response)
        self._reader, self._direct = None, False
        if self._tunnel:
            self._tunnel = False
        elif closing or self._transport.get_write_buffer_size():  # answered before the request was sent to its end
            self.fail("Closed", "the server closes the connection after this response")
        else:
            self.idle_since = self._clock()
            self._pool.give_back(self)

    # Ending

    def overdue(self) -> None:
        """End a call with a deadline that has passed."""
        if self._reader is not None and self._reader.begun:
            self.fail(
                "ReadTimeout",
                f"its answer stopped arriving: silent for {silence_of(self.timeout):g} s, or longer than a minute",
            )
        else:
            self.fail("ReadTimeout", f"after {self.timeout:g} s")

    def fail(self, code: str, detail: object) -> None:
        """Close the connection at once; a call on it fails with that code."""
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(self._pool.failure(code, detail))
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> None:
        """Called by the loop when the server sends no more; the connection is closed then."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the connection is closed."""
        reader = self._reader
        if self._answer is not None and exc is None and reader is not None and reader.ended():
            self._finish(reader.response(), closing=True)
        begun = reader is not None and reader.begun
        self.fail("Truncated" if begun else "ConnectionReset", exc or "connection closed")


def _keep_alive(connected: Any) -> None:
    """Let TCP probe a silent connection, so that a dead peer is noticed before a call's time-out."""
    if connected is None or connected.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # macOS has another name for it, and does well without
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(KEEPALIVE))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, int(KEEPALIVE / 3))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
