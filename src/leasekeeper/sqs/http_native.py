"""Leasekeeper's own transport: HTTP/1.1 on asyncio, on the loop that calls it.

Owned by the wire, one for receives and one for everything else. It promises what `leasekeeper.api.Transport` promises,
and that a call that is given up closes its connection at once: SQS must not hand messages to an abandoned long poll.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from leasekeeper.sqs.connection import Connection
from leasekeeper.sqs.dialing import Dialer, NameNotResolved
from leasekeeper.sqs.http import IDLE_EXPIRY, allowance, failure
from leasekeeper.sqs.proxy import Proxy
from leasekeeper.sqs.tls import client_context
from leasekeeper.sqs.urls import host_of, port_of

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping

    from leasekeeper.api import Response, TransportSettings
    from leasekeeper.errors import SqsError


class NativeTransport:
    """A connection pool to one endpoint.

    Args:
        settings: how to reach the endpoint.

    Raises:
        ConfigurationError: the CA bundle or the proxy cannot be used.
    """

    def __init__(self, settings: TransportSettings) -> None:
        self._url = settings.url
        self._connect_timeout = settings.connect_timeout
        parts = urlsplit(settings.url)
        self._host = parts.hostname or ""
        self._port = port_of(settings.url)
        self._tls = client_context(settings) if parts.scheme == "https" else None
        self._proxy = Proxy(settings.proxy) if settings.proxy else None
        self._dialer = Dialer(self._proxy.host, self._proxy.port) if self._proxy else Dialer(self._host, self._port)
        host = host_of(settings.url)  # as it is signed
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        self._origin = f"http://{host}" if self._proxy and not self._tls else ""
        fixed = {"Host": host, **settings.headers}
        if self._proxy and not self._tls:
            fixed.update(self._proxy.authorization)
        self._fixed = _lines(fixed)
        self._head = self.start("POST", path)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._overdue_at = math.inf
        """When the transport next looks for overdue calls."""
        self._closed = False

    def start(self, method: str, target: str) -> str:
        """The start of another request than a POST to the endpoint's path; `target` is quoted."""
        return f"{method} {self._origin}{target} HTTP/1.1\r\n{self._fixed}"

    async def post(
        self,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - see `Transport`
        start: str = "",
    ) -> Response:
        """As `Transport.post`; `start` begins another request. Such a request must not be a HEAD."""
        if self._closed:
            raise failure("Closed", self._url, "close() was called")
        now = asyncio.get_running_loop().time()
        connection = self._idle.pop() if self._idle else await self._connect(timeout)
        head = f"{start or self._head}{_lines(headers)}Content-Length: {len(body)}\r\n\r\n"
        answer = connection.send(head.encode("latin-1") + body)
        deadline = now + allowance(timeout, body)
        connection.deadline, connection.begin_by, connection.timeout = deadline, deadline, timeout
        if deadline < self._overdue_at:
            self._look_at(deadline)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                return answer.result()  # it arrived at the same moment and may hold messages: too late to give it up
            if connection.waits_for(answer):
                connection.fail("Closed", "the call was given up")
            raise

    def _look_at(self, at: float) -> None:
        """Look for overdue calls at that time: one timer for all of them, because a timer for each call costs 2 us."""
        if self._overdue is not None:
            self._overdue.cancel()
        self._overdue_at = at
        self._overdue = asyncio.get_running_loop().call_at(at, self._end_overdue)

    def _end_overdue(self) -> None:
        now = asyncio.get_running_loop().time()
        self._overdue, self._overdue_at = None, math.inf
        for connection in [each for each in self._open if each.busy and each.deadline <= now]:
            connection.overdue()
        following = min((each.deadline for each in self._open if each.busy), default=math.inf)
        if following < math.inf:
            self._look_at(following)

    async def _connect(self, timeout: float) -> Connection:  # noqa: ASYNC109 - as above
        limit = min(timeout, self._connect_timeout)
        stage = ""
        try:
            async with asyncio.timeout(limit):
                sock = await self._dialer.connect()
                stage = "TLS" if self._tls else ""
                connection = await self._speak(sock)
        except TimeoutError as error:
            raise self._too_late(limit, stage) from error
        except NameNotResolved as error:
            raise self.failure("NameNotResolved", error) from error
        except (OSError, EOFError) as error:  # refused, no route, a bad certificate
            raise self.failure("ConnectError", str(error) or type(error).__name__) from error
        except RuntimeError as error:  # the loop or the interpreter is shutting down
            raise self.failure("Closed", error) from error
        if self._closed:
            connection.fail("Closed", "close() was called")
            raise failure("Closed", self._url, "close() was called")
        self._open.add(connection)
        return connection

    def _too_late(self, limit: float, stage: str) -> SqsError:
        if self._dialer.resolving:
            return self.failure("NameNotResolved", f"no answer from the resolver in {limit:g} s")
        where = " in the TLS handshake: does this port speak plain http://?" if stage and not self._proxy else ""
        return self.failure("ConnectTimeout", f"after {limit:g} s{where}")

    async def _speak(self, sock: socket.socket) -> Connection:
        """Make a connection of a socket, with TLS and a tunnel where they are needed. The loop closes the socket."""
        loop = asyncio.get_running_loop()
        if self._tls is not None and self._proxy is None:
            _, secure = await loop.create_connection(
                lambda: Connection(self), sock=sock, ssl=self._tls, server_hostname=self._host
            )
            return secure
        _, connection = await loop.create_connection(lambda: Connection(self), sock=sock)
        if self._tls is not None and self._proxy is not None:
            await self._tunnel(connection, self._proxy, self._tls)
        return connection

    async def _tunnel(self, connection: Connection, proxy: Proxy, tls: ssl.SSLContext) -> None:
        try:
            answer = await connection.send(proxy.tunnel(f"{self._host}:{self._port}"), tunnel=True)
            proxy.check(answer.status)
            await connection.secure(tls, self._host)
        except BaseException:  # a time-out most of all: the pool does not know this connection yet
            connection.fail("ConnectError", "there is no tunnel")
            raise

    def give_back(self, connection: Connection) -> None:
        """Keep a connection that is free again for a while; the latest used is taken first."""
        if self._closed:
            connection.fail("Closed", "close() was called")
            return
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_EXPIRY / 2, self._expire)

    def _expire(self) -> None:
        """Close connections that have been idle for long, before SQS closes them."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_EXPIRY
        for connection in [each for each in self._idle if each.idle_since <= oldest]:
            connection.fail("Closed", "idle for long")
        self._sweep = loop.call_later(IDLE_EXPIRY / 2, self._expire) if self._idle else None

    def forget(self, connection: Connection) -> None:
        """Note that a connection is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def close(self) -> None:
        """As `Transport.close`."""
        self._closed = True
        for timer in (self._sweep, self._overdue):
            if timer is not None:
                timer.cancel()
        for connection in list(self._open):
            connection.fail("Closed", "close() was called")
        await asyncio.sleep(0)  # the loop closes sockets in its next turn

    def failure(self, code: str, detail: object) -> SqsError:
        """The error of a call to this endpoint."""
        return failure(code, self._url, detail)


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
