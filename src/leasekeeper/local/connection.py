"""One client's connection to the server: HTTP requests in, the answers of the broker out.

Owned by the server. It promises that the requests of one connection are answered in order, that one client cannot hold
up the others, and that a request that does not arrive completely in time ends the connection.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import msgspec

from leasekeeper.local import admin, query
from leasekeeper.local.call_log import Call, CallLog
from leasekeeper.local.faults import NoAnswer
from leasekeeper.local.http import MOST_BODY, HttpRequest, Malformed, RequestReader
from leasekeeper.local.model import Refusal, refusals
from leasekeeper.local.model.message_operations import TRACE_HEADER
from leasekeeper.local.page_streams import HEAD, PATH, PageStreams
from leasekeeper.local.s3 import S3

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from leasekeeper.local.broker import Broker
    from leasekeeper.local.hosts import AllowedHosts
    from leasekeeper.local.model.fields import Answer

log = logging.getLogger("leasekeeper.local")

MOST_CONNECTIONS = 4_096
REQUEST_TIMEOUT = 30.0
"""Seconds from the first byte of a request to its last."""

_PREFIX = b"AmazonSQS."
_MOST_AHEAD = MOST_BODY + 1_048_576
_REQUESTS_A_TURN = 64
"""Requests that one connection answers before other connections get their turn."""

_JSON = "application/x-amz-json-1.0"
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
_REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    307: "Temporary Redirect",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    416: "Range Not Satisfiable",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


@dataclass(slots=True, kw_only=True)
class Front:
    """What the connections of one server share.

    Attributes:
        broker: what answers the requests.
        hosts: refuses requests for other names, and of pages of other sites.
        require_credentials: refuse requests without an Authorization header.
        most_connections: connections at a time; one more is answered with 503 and closed.
        request_timeout: seconds from the first byte of a request to its last.
        connections: those that are open.
        log: the newest calls, for the page.
        streams: what pages that are open read.
        s3: what answers requests to S3.
    """

    broker: Broker
    hosts: AllowedHosts
    require_credentials: bool
    most_connections: int
    request_timeout: float
    connections: set[Connection] = field(default_factory=set)
    log: CallLog = field(default_factory=CallLog)
    streams: PageStreams = field(default_factory=PageStreams)
    s3: S3 = field(default_factory=S3)


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_bodiless",
        "_busy",
        "_call",
        "_close",
        "_deadline",
        "_front",
        "_paused",
        "_reader",
        "_transport",
        "_turn",
    )

    def __init__(self, front: Front) -> None:
        self._front = front
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._busy: asyncio.Task[None] | None = None
        self._call: Call | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self._close = False
        self._bodiless = False
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; asyncio calls this."""
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._front.connections.add(self)
        most = self._front.most_connections
        if len(self._front.connections) > most:
            self._give_up(503, refusals.unavailable(message=f"The server has {most} connections, which is its limit."))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface is asyncio's
        """The connection is closed; asyncio calls this."""
        self._front.connections.discard(self)
        self._transport = None
        self._stop_clock()
        if self._turn is not None:
            self._turn.cancel()
        if self._busy is not None:
            self._busy.cancel()
        self._note(0, "the client went away")

    def data_received(self, data: bytes) -> None:
        """Bytes arrived; asyncio calls this."""
        self._reader.feed(data)
        if self._reader.buffered > _MOST_AHEAD:
            self.cut()
        elif self._turn is None:
            self._proceed()

    def pause_writing(self) -> None:
        """Answer no more requests for now: the client does not read its answers. asyncio calls this."""
        self._paused = True

    def resume_writing(self) -> None:
        """Answer requests again: the client has read its answers. asyncio calls this."""
        self._paused = False
        self._proceed()

    def cut(self) -> None:
        """Reset the connection."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _ready(self) -> bool:
        return (
            self._busy is None and not self._paused and self._transport is not None and not self._transport.is_closing()
        )

    def _proceed(self) -> None:
        """Answer the requests that have arrived; after some of them, let other connections have their turn first."""
        self._turn = None
        for _ in range(_REQUESTS_A_TURN):
            if not self._ready:
                return
            try:
                request = self._reader.next()
            except Malformed as malformed:
                self._give_up(malformed.status, refusals.malformed(malformed.reason))
                return
            if request is None:
                self._await_rest()
                return
            self._stop_clock()
            self._close = request.close
            self._bodiless = request.method == b"HEAD"
            self._answer(request)
        self._turn = asyncio.get_running_loop().call_soon(self._proceed)

    def _await_rest(self) -> None:
        if self._reader.wants_continue and self._transport is not None:
            self._reader.wants_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._deadline is None and self._reader.partial:
            self._deadline = asyncio.get_running_loop().call_later(self._front.request_timeout, self._expire)

    def _expire(self) -> None:
        seconds = self._front.request_timeout
        self._give_up(408, refusals.malformed(f"The request did not arrive completely within {seconds:g} seconds."))

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self, status: int, refusal: Refusal) -> None:
        self._close = True
        self._send(status, refusal)

    def _answer(self, request: HttpRequest) -> None:
        try:
            self._front.hosts.check(request)
            if request.path.startswith(admin.ROOT):
                self._answer_page(request)
            elif request.method == b"POST" and request.target.startswith(_PREFIX):
                self._answer_call(request)
            elif S3.means(request):
                answer = self._front.s3.answer(request)
                self._write(answer.status, answer.body, answer.kind, headers=answer.headers)
            elif request.method == b"POST" and request.body.startswith(b"{"):
                self._send(400, refusals.unknown_operation("The header X-Amz-Target: AmazonSQS.OPERATION is missing."))
            else:
                request_id = _next_request_id()
                status, body = query.refuse(request, request_id)
                self._write(status, body, query.KIND, request_id=request_id)
        except Exception as error:
            self._send_error(error)

    def _answer_page(self, request: HttpRequest) -> None:
        if request.method == b"GET" and request.path.partition(b"?")[0] == PATH:
            self._busy = asyncio.get_running_loop().create_task(self._stream(request.path))
            self._front.streams.add(self._busy)
            return
        page = admin.answer(self._front.broker, self._front.log, request)
        if request.method not in (b"GET", b"HEAD"):
            self._front.streams.wake()
        self._write(page.status, page.body, page.kind, headers=page.headers)

    async def _stream(self, path: bytes) -> None:
        """Write events until the page goes away or the server closes."""
        transport, streams = self._transport, self._front.streams
        assert transport is not None
        transport.write(HEAD)
        async for event in streams.events(self._front.broker, self._front.log, path):
            transport.write(event)
            while self._paused and await streams.next_look():
                pass  # the page does not read what it has got
        transport.close()

    def _answer_call(self, request: HttpRequest) -> None:
        operation, members = self._read_call(request)
        if self._front.log.on:
            self._call = self._front.log.begin(operation, members)
        answer = self._front.broker.start(operation, members)
        if isinstance(answer, dict):
            self._send_answer(operation, answer)
        else:
            self._busy = asyncio.get_running_loop().create_task(self._answer_later(operation, answer))

    def _read_call(self, request: HttpRequest) -> tuple[str, dict[str, Any]]:
        if self._front.require_credentials and not request.signed:
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
        # Not in a `finally`: when the task is cancelled, its connection is closed already.
        self._busy = None
        self._proceed()

    def _note(self, status: int, error: str = "", answer: Answer | None = None) -> None:
        """Tell the log how the call has ended, if it asked for that."""
        if self._call is not None:
            self._front.log.end(self._call, status, error, answer)
            self._call = None

    def _send_answer(self, operation: str, answer: Answer) -> None:
        self._note(200, "", answer)
        self._write(200, b"" if operation in _VOID else _encode(answer), _JSON)

    def _send_error(self, error: Exception) -> None:
        if isinstance(error, Refusal):
            self._send(error.status, error)
        elif not isinstance(error, NoAnswer):
            log.error("the server could not answer a call; this is a defect of the server", exc_info=error)
            self._send(500, refusals.unavailable(500))
        elif error.garbage:
            self._note(200, "the fault garbage")
            self._write(200, b'{"Messages": [{"Mess\x00\xff', _JSON)
        else:
            self._note(0, "the connection was reset by a fault")
            self.cut()

    def _send(self, status: int, refusal: Refusal) -> None:
        self._note(status, refusal.code)
        body = _encode({"__type": refusal.kind, "message": refusal.message})
        query_error = f"x-amzn-query-error: {refusal.code};{'Sender' if refusal.sender else 'Receiver'}\r\n"
        self._write(status, body, _JSON, headers=query_error)

    def _write(self, status: int, body: bytes, kind: str, *, headers: str = "", request_id: str = "") -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._close:
            headers += "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nx-amzn-RequestId: {request_id or _next_request_id()}\r\n"
            f"Content-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        )
        transport.write(head.encode("latin-1", "replace") + (b"" if self._bodiless else body))
        if self._close:
            transport.close()


def _next_request_id() -> str:
    return f"00000000-0000-4000-8000-{next(_request_numbers):012x}"
