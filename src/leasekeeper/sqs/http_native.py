"""The transport of our own: HTTP/1.1 on asyncio, on the loop that calls it, with nothing in between.

Owned by the wire, one for polls and one for everything else. It promises what `http.Transport` promises, and that a
call that is given up closes its connection at once: a long poll that nobody waits for must not be handed messages.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from leasekeeper.api import Response
from leasekeeper.sqs.chunks import Chunks
from leasekeeper.sqs.http import IDLE_EXPIRY, KEEPALIVE, failure
from leasekeeper.sqs.proxy import Proxy
from leasekeeper.sqs.signer import host_of
from leasekeeper.sqs.tls import client_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from leasekeeper.api import TransportSettings
    from leasekeeper.errors import SqsError

MAX_HEAD = 65_536
"""Bytes that the head of an answer may have; what is longer is not SQS's."""
MAX_BODY = 256 * 1024 * 1024
"""Bytes that a body may have: ten messages of 1 MiB, each byte escaped in JSON, are a quarter of it."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)
_BODILESS = frozenset({204, 304})


class NativeTransport:
    """A connection pool to one endpoint.

    Args:
        connecting: how the endpoint is reached.

    Raises:
        ConfigurationError: the CA bundle or the proxy cannot be used.
    """

    def __init__(self, connecting: TransportSettings) -> None:
        self._url = connecting.url
        self._connect_timeout = connecting.connect_timeout
        parts = urlsplit(connecting.url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._tls = client_context(connecting) if self._secure else None
        self._proxy = Proxy(connecting.proxy) if connecting.proxy else None
        host = host_of(connecting.url)  # as it is signed
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        target = f"http://{host}{path}" if self._proxy and not self._secure else path
        fixed = {"Host": host, **connecting.headers}
        if self._proxy and not self._secure:
            fixed.update(self._proxy.authorization)
        self._head = f"POST {target} HTTP/1.1\r\n{_lines(fixed)}"
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._watchman: asyncio.TimerHandle | None = None
        self._watched = math.inf
        """When the next call is looked for that has taken too long."""
        self._closed = False

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109 - see `Transport`
        """As `Transport.post`."""
        if self._closed:
            raise failure("Closed", self._url, "close() was called")
        deadline = asyncio.get_running_loop().time() + timeout
        connection = self._idle.pop() if self._idle else await self._connect(timeout)
        head = f"{self._head}{_lines(headers)}Content-Length: {len(body)}\r\n\r\n"
        answer = connection.send(head.encode("latin-1") + body)
        connection.deadline, connection.timeout = deadline, timeout
        if deadline < self._watched:
            self._watch(deadline)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                return answer.result()  # it came in the very moment, and may hold messages: too late to give it up
            if connection.is_at(answer):
                connection.fail("Closed", "the call was given up")
            raise

    def _watch(self, at: float) -> None:
        """Look for calls that are overdue at that time: one timer for all of them, for a timer a call costs 2 us."""
        if self._watchman is not None:
            self._watchman.cancel()
        self._watched = at
        self._watchman = asyncio.get_running_loop().call_at(at, self._end_overdue)

    def _end_overdue(self) -> None:
        now = asyncio.get_running_loop().time()
        self._watchman, self._watched = None, math.inf
        for connection in [each for each in self._open if each.busy and each.deadline <= now]:
            connection.fail("ReadTimeout", f"after {connection.timeout:g} s")
        following = min((each.deadline for each in self._open if each.busy), default=math.inf)
        if following < math.inf:
            self._watch(following)

    async def _connect(self, timeout: float) -> _Connection:  # noqa: ASYNC109 - as above
        limit = min(timeout, self._connect_timeout)
        try:
            async with asyncio.timeout(limit):
                connection = await self._dial()
        except TimeoutError as error:
            raise failure("ConnectTimeout", self._url, f"after {limit:g} s") from error
        except (
            OSError,
            EOFError,
            UnicodeError,
        ) as error:  # refused, no route, no or an impossible name, a bad certificate
            raise failure("ConnectError", self._url, error) from error
        if self._closed:
            connection.fail("Closed", "close() was called")
            raise failure("Closed", self._url, "close() was called")
        self._open.add(connection)
        return connection

    async def _dial(self) -> _Connection:
        loop = asyncio.get_running_loop()
        make = partial(_Connection, self)
        if self._proxy is None:
            _, made = await loop.create_connection(make, self._host, self._port, ssl=self._tls)
            return made
        transport, connection = await loop.create_connection(make, self._proxy.host, self._proxy.port)
        if self._tls is None:
            return connection
        try:
            await self._tunnel(self._proxy, transport, connection, self._tls)
        except BaseException:  # a time-out most of all: nobody else knows of this connection yet
            connection.fail("ConnectError", "there is no tunnel")
            raise
        return connection

    async def _tunnel(
        self, proxy: Proxy, transport: asyncio.Transport, connection: _Connection, tls: ssl.SSLContext
    ) -> None:
        answer = await connection.send(proxy.tunnel(f"{self._host}:{self._port}"), tunnel=True)
        if answer.status != 200:
            raise OSError(f"the proxy {proxy.host}:{proxy.port} answered HTTP {answer.status}")
        await connection.secure(transport, tls, self._host)

    def give_back(self, connection: _Connection) -> None:
        """A connection is free again; kept for a while, the latest used first."""
        if self._closed:
            connection.fail("Closed", "close() was called")
            return
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_EXPIRY / 2, self._expire)

    def _expire(self) -> None:
        """Close what has been idle for long, before SQS does."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_EXPIRY
        for connection in [each for each in self._idle if each.idle_since <= oldest]:
            connection.fail("Closed", "idle for long")
        self._sweep = loop.call_later(IDLE_EXPIRY / 2, self._expire) if self._idle else None

    def forget(self, connection: _Connection) -> None:
        """A connection is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def close(self) -> None:
        """As `Transport.close`."""
        self._closed = True
        for timer in (self._sweep, self._watchman):
            if timer is not None:
                timer.cancel()
        for connection in list(self._open):
            connection.fail("Closed", "close() was called")
        await asyncio.sleep(0)  # the loop closes sockets in its next turn

    def failure(self, code: str, detail: object) -> SqsError:
        """The error of a call to this endpoint."""
        return failure(code, self._url, detail)


class _Connection(asyncio.Protocol):
    """One connection, one call at a time: sends a request, reads its answer, gives itself back."""

    def __init__(self, pool: NativeTransport) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._tunnel = False
        self._buffer = b""
        self._head: bytes | None = None
        self._needed: int | None = None
        self._chunks: Chunks | None = None
        self._parts: list[bytes] = []
        self._have = 0
        self.idle_since = 0.0
        self.deadline = math.inf
        """When the answer to the call it is at must be there."""
        self.timeout = math.inf
        """How many seconds the call has been given, for its error to say."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        _keep_alive(transport.get_extra_info("socket"))

    def send(self, request: bytes, *, tunnel: bool = False) -> asyncio.Future[Response]:
        """Send a request; the future of its answer. A `tunnel` is not given back to the pool."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._tunnel = tunnel
        if self._transport.is_closing():  # it was closed between the last answer and now
            self.fail("ConnectionReset", "the idle connection was closed")
        else:
            self._transport.write(request)
        return self._answer

    @property
    def busy(self) -> bool:
        """Whether it waits for an answer."""
        return self._answer is not None

    def is_at(self, answer: asyncio.Future[Response]) -> bool:
        """Whether it still waits for that answer. When it has come meanwhile, another call may be on its way here."""
        return self._answer is answer

    async def secure(self, transport: asyncio.Transport, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS through the tunnel."""
        self._transport = cast(
            "asyncio.Transport",
            await asyncio.get_running_loop().start_tls(transport, self, context, server_hostname=host),
        )

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.fail("Garbage", "bytes that nobody asked for")
            return
        if self._head is None:
            self._read_head(data)
        else:
            self._read_body(data)

    def _read_head(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                if len(data) > MAX_HEAD or not b"HTTP/1.".startswith(data[:7]):
                    self.fail("Garbage", repr(data[:40]))
                return
            head, data = data[: end + 2], data[end + 4 :]
            status = head[9:12]
            if not (head.startswith(b"HTTP/1.") and status.isdigit()):
                self.fail("Garbage", repr(head[:40]))
                return
            if not status.startswith(b"1"):  # that would be an interim answer; the real one follows
                break
        self._buffer = b""
        self._head = head
        found = _LENGTH.search(head)
        if found:
            self._needed = int(found[1])
            if self._needed > MAX_BODY:
                self.fail("Garbage", f"an answer of {self._needed:,} bytes was announced")
                return
        elif self._tunnel or int(status) in _BODILESS:
            self._needed = 0
        else:
            self._needed = None  # in chunks, or until the connection closes
            self._chunks = Chunks() if _CHUNKED.search(head) else None
        self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        if self._chunks is not None:
            try:
                body = self._chunks.feed(data)
            except ValueError as error:
                self.fail("Garbage", error)
                return
            if body is not None:
                self._finish(body)
            return
        self._parts.append(data)
        self._have += len(data)
        if self._needed is None:
            return
        if self._have == self._needed:
            self._finish(data if len(self._parts) == 1 else b"".join(self._parts))
        elif self._have > self._needed:
            self.fail("Garbage", f"{self._have - self._needed} bytes more than announced")

    def _finish(self, body: bytes, *, closed: bool = False) -> None:
        head, answer = self._head, self._answer
        assert head is not None
        assert answer is not None
        self._head, self._answer, self._needed, self._chunks, self._parts, self._have = None, None, None, None, [], 0
        if not answer.done():
            answer.set_result(Response(int(head[9:12]), partial(_header, head), body))
        if closed or self._tunnel:
            return
        if head.startswith(b"HTTP/1.0") or _CLOSE.search(head):
            self.fail("Closed", "by the server's wish")
        else:
            self.idle_since = asyncio.get_running_loop().time()
            self._pool.give_back(self)

    # Ending

    def fail(self, code: str, detail: object) -> None:
        """Close the connection at once; the call on it, if there is one, fails with that code."""
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(self._pool.failure(code, detail))
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and self._head is not None and self._needed is None and self._chunks is None:
            self._finish(b"".join(self._parts), closed=True)  # only the connection's end says that it is whole
        begun = self._head is not None or bool(self._buffer)
        self.fail("Truncated" if begun else "ConnectionReset", exc or "connection closed")


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def _header(head: bytes, name: str) -> str | None:
    wanted = name.lower().encode("latin-1")
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == wanted:
            return value.strip().decode("latin-1")
    return None


def _keep_alive(connected: Any) -> None:
    """Have TCP probe a silent connection, so that a dead peer is noticed before a call's time-out."""
    if connected is None or connected.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # macOS spells it otherwise, and does well without
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(KEEPALIVE))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, int(KEEPALIVE / 3))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
