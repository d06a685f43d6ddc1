"""SQS over HTTP: the AWS JSON 1.0 protocol on one `asyncio.Protocol`, in front of a broker.

Owned by whoever opens it, on one event loop. It promises to answer every request with what AWS would say, or AWS's way
of refusing it, to survive whatever is sent to it, and to listen on loopback only unless told otherwise.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import msgspec

from leasekeeper.errors import ConfigurationError
from leasekeeper.local import admin
from leasekeeper.local.broker import Answer, Broker, Severed
from leasekeeper.local.http import MOST_BODY, HttpRequest, Malformed, RequestReader
from leasekeeper.local.model import Refusal, refusals
from leasekeeper.local.model.message_operations import TRACE_HEADER

if TYPE_CHECKING:
    from collections.abc import Awaitable

log = logging.getLogger("leasekeeper.local")

_PREFIX = b"AmazonSQS."
_MOST_AHEAD = MOST_BODY + 1_048_576

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_request_numbers = count(1)

_VOID = frozenset(
    {
        "AddPermission",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "DeleteQueue",
        "PurgeQueue",
        "RemovePermission",
        "SetQueueAttributes",
        "TagQueue",
        "UntagQueue",
    }
)
_SENDS = frozenset({"SendMessage", "SendMessageBatch"})
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}


def check_host(host: str, *, anywhere: bool) -> None:
    """Refuse to listen where others than this machine can reach it, unless that is what is wanted."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not anywhere:
        raise ConfigurationError(
            f"host={host!r} can be reached from other machines, and this server lets in whoever calls: "
            "use 127.0.0.1, or say that you mean it (anywhere=True, --anywhere)"
        )


class LocalServer:
    """A server in front of a broker.

    Args:
        broker: what it serves.
        host: where to listen; loopback, unless `anywhere`.
        port: 0 takes a free one.
        anywhere: listen on an address that other machines can reach.
        require_credentials: refuse requests without an Authorization header; signatures are never checked.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        anywhere: bool = False,
        require_credentials: bool = False,
    ) -> None:
        check_host(host, anywhere=anywhere)
        self.broker = broker
        self.host = host
        self.port = port
        self.require_credentials = require_credentials
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def endpoint_url(self) -> str:
        """Where clients call: `http://host:port`."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def open(self) -> None:
        """Listen; from here on `port` is the real one and queue URLs carry it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self.broker.account.base_url = self.endpoint_url

    async def close(self) -> None:
        """Stop listening and cut every connection; may be called twice."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.cut()
            await self._server.wait_closed()
            self._server = None
        await self.broker.close()

    def __repr__(self) -> str:
        return f"<LocalServer {self.endpoint_url}, {len(self.connections)} connections>"


class _Connection(asyncio.Protocol):
    """One client's connection; its requests are answered one after the other."""

    __slots__ = ("_busy", "_close", "_reader", "_server", "_transport")

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._busy: asyncio.Task[None] | None = None
        self._close = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface is asyncio's
        self._server.connections.discard(self)
        self._transport = None
        if self._busy is not None:
            self._busy.cancel()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._reader.buffered > _MOST_AHEAD:
            self.cut()
        else:
            self._proceed()

    def cut(self) -> None:
        """Reset the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _proceed(self) -> None:
        while self._busy is None and self._transport is not None and not self._transport.is_closing():
            try:
                request = self._reader.next()
            except Malformed as malformed:
                self._close = True
                self._send(malformed.status, refusals.malformed(malformed.reason))
                return
            if request is None:
                if self._reader.wants_continue:
                    self._reader.wants_continue = False
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._close = request.close
            self._answer(request)

    def _answer(self, request: HttpRequest) -> None:
        try:
            if request.path.startswith(admin.ROOT):
                status, body = admin.answer(self._server.broker, request.method, request.path, request.body)
                self._write(status, body, "application/json")
                return
            operation, members = self._read_call(request)
            answer = self._server.broker.start(operation, members)
            if isinstance(answer, dict):
                self._send_answer(operation, answer)
                return
        except Exception as error:
            self._send_error(error)
        else:
            self._busy = asyncio.get_running_loop().create_task(self._answer_later(operation, answer))

    def _read_call(self, request: HttpRequest) -> tuple[str, dict[str, Any]]:
        if request.method != b"POST" or not request.target.startswith(_PREFIX):
            raise refusals.unknown_operation("Give the operation in X-Amz-Target: AmazonSQS.<operation>, by POST.")
        if self._server.require_credentials and not request.signed:
            raise refusals.access_denied("Access to the resource is denied: the request has no credentials.")
        operation = request.target[len(_PREFIX) :].decode("latin-1")
        try:
            members = _decode(request.body) if request.body else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refusals.malformed(str(error)) from error
        if request.trace and operation in _SENDS:
            members[TRACE_HEADER] = request.trace.decode("latin-1")
        return operation, members

    async def _answer_later(self, operation: str, answer: Awaitable[Answer]) -> None:
        try:
            self._send_answer(operation, await answer)
        except Exception as error:
            self._send_error(error)
        # Not in a `finally`: a task that was cancelled belongs to a connection that is no more.
        self._busy = None
        self._proceed()

    def _send_answer(self, operation: str, answer: Answer) -> None:
        self._write(200, b"" if operation in _VOID else _encode(answer), "application/x-amz-json-1.0")

    def _send_error(self, error: Exception) -> None:
        if isinstance(error, Refusal):
            self._send(error.status, error)
        elif not isinstance(error, Severed):
            log.error("a call could not be answered, which is a defect of this server", exc_info=error)
            self._send(500, refusals.unavailable(500))
        elif error.garbage:
            self._write(200, b'{"Messages": [{"Mess\x00\xff', "application/x-amz-json-1.0")
        else:
            self.cut()

    def _send(self, status: int, refusal: Refusal) -> None:
        body = _encode({"__type": refusal.kind, "message": refusal.message})
        query_error = f"x-amzn-query-error: {refusal.code};{'Sender' if refusal.sender else 'Receiver'}\r\n"
        self._write(status, body, "application/x-amz-json-1.0", query_error)

    def _write(self, status: int, body: bytes, kind: str, headers: str = "") -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._close:
            headers += "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\n"
            f"x-amzn-RequestId: 00000000-0000-4000-8000-{next(_request_numbers):012x}\r\n"
            f"Content-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        )
        transport.write(head.encode("latin-1", "replace") + body)
        if self._close:
            transport.close()
