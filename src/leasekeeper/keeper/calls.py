"""The keeper's own client of SQS: calls that block, over sockets of the standard library, signed by our signer.

Owned by one thread of the keeper. It knows no credential provider and no botocore: the engine tells it in the table
what to sign with. It promises that a call ends after about five seconds, and that only one which met a connection that
the server had closed meanwhile is made again.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from leasekeeper.sqs.chunks import Chunks
from leasekeeper.sqs.http import failure
from leasekeeper.sqs.proxy import Proxy
from leasekeeper.sqs.signer import FIXED_HEADERS, Signer
from leasekeeper.sqs.urls import host_of, port_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper import api
    from leasekeeper.keeper.layout import Credentials, Settings

TIMEOUT = 5.0
"""Seconds that a call may take: the engine waits that long before it gives a message back. A call that was given up may
still take effect, and undo a back-off: with 2 s that happened on a busy machine."""
LOST = frozenset(("ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue", "InvalidIdFormat"))
"""Codes of entries, without their prefix, that no other try will change."""
LASTING = (b"QueueDoesNotExist", b"NonExistentQueue", b"AccessDenied")
"""Codes of calls that will be refused again."""
LONGEST_ANSWER = 32 * 1024 * 1024
"""Bytes of an answer: a repeated receive brings messages."""


class Refused(Exception):
    """SQS answered a call with an error, or did not answer.

    Attributes:
        lasting: whether another try will be refused too: there is no such queue, or it is not allowed.
    """

    lasting = False


def is_lost(code: str) -> bool:
    """Whether an entry's code says that its receipt is not valid any more."""
    return code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.").removesuffix("Exception") in LOST


class Answer(NamedTuple):
    """An HTTP response, read to its end."""

    status: int
    head: bytes
    body: bytes = b""

    def header(self, name: bytes) -> bytes:
        """The value of a header, which is named in lower case; empty without one."""
        at = self.head.lower().find(b"\r\n%b:" % name)
        return b"" if at < 0 else self.head[at + len(name) + 3 :].partition(b"\r\n")[0].strip()


class Calls(Protocol):
    """What the keeper asks of SQS. A batch has one code for each entry in its answer; an empty one confirms it."""

    def change_visibility(self, entries: Sequence[tuple[str, int]]) -> list[str]:
        """Set when up to ten messages (receipt, seconds from now) become visible."""
        ...

    def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten messages."""
        ...

    def receive_again(self, attempt_id: str, *, maximum: int, visibility: int) -> list[str]:
        """Repeat a receive of a FIFO queue; the receipts of its messages."""
        ...


class SqsCalls:
    """Calls one queue.

    Args:
        settings: where to.
        context: certificates; None for plain HTTP.
    """

    def __init__(self, settings: Settings, context: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._context = context
        self._signer = Signer(settings.endpoint, settings.region, session_token=settings.session_token)
        self._queue_url = json.dumps(settings.queue_url)
        self._socket: socket.socket | None = None
        self.credentials: Credentials | None = None
        parts, host = urlsplit(settings.endpoint), host_of(settings.endpoint)
        self._host = parts.hostname or ""
        self._place = self._host, port_of(settings.endpoint)
        self._proxy = None if settings.proxy is None else Proxy(settings.proxy)
        target, lines = parts.path or "/", [f"Host: {host}"]
        if self._proxy is not None:
            self._place = self._proxy.host, self._proxy.port
            if context is None:  # the proxy passes plain HTTP on, by its whole URL
                target = settings.endpoint
                lines += [f"{name}: {value}" for name, value in self._proxy.authorization.items()]
        lines += [f"{name}: {value}" for name, value in FIXED_HEADERS.items()]
        self._head = "\r\n".join([f"POST {target} HTTP/1.1", *lines, ""]).encode("latin-1")

    def change_visibility(self, entries: Sequence[tuple[str, int]]) -> list[str]:
        """Set when up to ten messages (receipt, seconds from now) become visible."""
        changes = [
            f'{_entry(number, receipt)},"VisibilityTimeout":{seconds:d}}}'
            for number, (receipt, seconds) in enumerate(entries)
        ]
        return self._batch("ChangeMessageVisibilityBatch", changes)

    def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten messages."""
        entries = [f"{_entry(number, receipt)}}}" for number, receipt in enumerate(receipts)]
        return self._batch("DeleteMessageBatch", entries)

    def receive_again(self, attempt_id: str, *, maximum: int, visibility: int) -> list[str]:
        """Repeat a receive of a FIFO queue; the receipts of its messages."""
        answer = self._call(
            "ReceiveMessage",
            f'"MaxNumberOfMessages":{maximum:d},"VisibilityTimeout":{visibility:d},"WaitTimeSeconds":0,'
            f'"ReceiveRequestAttemptId":{json.dumps(attempt_id)}',
        )
        return [str(message["ReceiptHandle"]) for message in answer.get("Messages") or ()]

    def _batch(self, operation: str, entries: list[str]) -> list[str]:
        """Make a call with these entries, whose ids are their numbers; one code for each."""
        answer = self._call(operation, f'"Entries":[{",".join(entries)}]')
        codes = {str(entry.get("Id")): "" for entry in answer.get("Successful") or ()}
        codes.update({str(entry.get("Id")): str(entry.get("Code") or "Failed") for entry in answer.get("Failed") or ()})
        return [codes.get(str(number), "Unconfirmed") for number in range(len(entries))]

    def _call(self, operation: str, members: str) -> dict[str, Any]:
        """Make a call, and once more with the server's clock if that is why it was refused.

        Raises:
            Refused: it failed.
        """
        body = f'{{"QueueUrl":{self._queue_url},{members}}}'.encode()
        answer = self._post(operation, body)
        if answer.status in {400, 401, 403} and self._signer.adjust_clock(answer.header(b"date").decode("latin-1")):
            answer = self._post(operation, body)
        if answer.status != 200:
            refused = Refused(f"{operation}: HTTP {answer.status} {answer.body[:300].decode(errors='replace')}")
            refused.lasting = any(code in answer.body for code in LASTING)
            raise refused
        try:
            found = json.loads(answer.body or b"{}")
        except ValueError as error:
            raise Refused(f"{operation}: the answer is not JSON") from error
        return found if isinstance(found, dict) else {}

    def _post(self, operation: str, body: bytes) -> Answer:
        if self.credentials is None:
            raise Refused(f"{operation}: the consumer has not told its credentials yet")
        signed = self._signer.sign(cast("api.Credentials", self.credentials), operation, body)
        lines = [f"{name}: {value}\r\n" for name, value in signed.items()]
        request = b"%bContent-Length: %d\r\n%b\r\n%b" % (self._head, len(body), "".join(lines).encode(), body)
        until = time.monotonic() + TIMEOUT
        again = self._socket is not None
        while True:
            try:
                return self._exchange(request, until)
            except (OSError, ValueError) as error:
                self.close()
                # Race: a server closes idle connections, sometimes at the moment in which a call uses one.
                if not again or isinstance(error, TimeoutError):
                    raise Refused(f"{operation}: {self._said(error)}") from error
                again = False

    def _said(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLError):
            return failure("ConnectError", self._settings.endpoint, error).message
        return repr(error)

    def _exchange(self, request: bytes, until: float) -> Answer:
        connection = self._socket
        if connection is None:
            connection = self._socket = self._connect(until)
        connection.settimeout(max(0.001, until - time.monotonic()))
        connection.sendall(request)
        answer, keep = _read(connection, until)
        if not keep:
            self.close()
        return answer

    def _connect(self, until: float) -> socket.socket:
        connection = socket.create_connection(self._place, max(0.001, until - time.monotonic()))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._proxy is not None and self._context is not None:
                connection.sendall(self._proxy.tunnel(f"{self._host}:{port_of(self._settings.endpoint)}"))
                answer, _ = _read(connection, until, has_body=False)
                self._proxy.check(answer.status)
            if self._context is not None:
                return self._context.wrap_socket(connection, server_hostname=self._host)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.close()


def _entry(number: int, receipt: str) -> str:
    """The beginning of an entry in JSON: by hand, because `json.dumps` takes half of the time of a call for ten."""
    return f'{{"Id":"{number}","ReceiptHandle":{json.dumps(receipt)}'


def _read(connection: socket.socket, until: float, *, has_body: bool = True) -> tuple[Answer, bool]:
    """Read one response, and say whether the connection may be used again.

    Raises:
        OSError: it did not arrive in time, or not at all.
        ValueError: this is no HTTP response.
    """
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(connection, until, len(data))
    head, body = data[: end + 2], data[end + 4 :]
    if not head.startswith(b"HTTP/1."):
        raise ValueError(f"{head[:40]!r} is no head of a response")
    answer = Answer(int(head[9:12]), head)
    if not has_body:
        return answer, True
    keep = b"close" not in answer.header(b"connection").lower()
    if b"chunked" in answer.header(b"transfer-encoding").lower():
        chunks = Chunks(LONGEST_ANSWER)
        while (whole := chunks.feed(body)) is None:
            body = _receive(connection, until, 0)
        return answer._replace(body=bytes(whole)), keep
    length = int(answer.header(b"content-length") or 0)
    while len(body) < length:
        body += _receive(connection, until, len(body))
    return answer._replace(body=body), keep


def _receive(connection: socket.socket, until: float, held: int) -> bytes:
    connection.settimeout(max(0.001, until - time.monotonic()))
    data = connection.recv(65_536)
    if not data:
        raise ConnectionResetError("the connection was closed before the answer")
    if held > LONGEST_ANSWER:
        raise ValueError(f"an answer of more than {LONGEST_ANSWER:,} bytes")
    return data


def context_for(settings: Settings) -> ssl.SSLContext | None:
    """The certificates for calls with these settings, as the engine's own calls have them (`sqs.tls`)."""
    if not settings.endpoint.startswith("https://"):
        return None
    context = ssl.create_default_context(cafile=settings.ca_bundle)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
