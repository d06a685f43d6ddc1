"""HTTP/1.1 requests, read from bytes as they come; just enough of it for an API server on a loopback address.

Owned by one connection. It promises a whole request or nothing yet, at the cost of one search for the end of the head,
and `Malformed` for what cannot be read, after which the connection is of no more use.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_HEAD = 65_536
MOST_BODY = 16 * 1_048_576

_END = b"\r\n\r\n"
_SPACE = b" \t"


class Malformed(Exception):
    """What came is no HTTP request that can be answered; `status` is what to say before closing."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class HttpRequest(NamedTuple):
    """A whole request.

    Attributes:
        target: the X-Amz-Target header; empty without one.
        close: whether the connection is to be closed after the answer.
        signed: whether it has an Authorization header.
        trace: the X-Amzn-Trace-Id header; empty by default.
    """

    method: bytes
    path: bytes
    target: bytes
    body: bytes
    close: bool
    signed: bool
    trace: bytes = b""


class _Head(NamedTuple):
    """A head with its names in lower case (`lower`) and as it came (`raw`); positions are the same in both."""

    raw: bytes
    lower: bytes

    def value(self, name: bytes) -> bytes:
        """The value of a header, by its name in lower case; empty without one."""
        at = self.lower.find(b"\r\n" + name + b":")
        if at < 0:
            return b""
        start = at + len(name) + 3
        end = self.raw.find(b"\r\n", start)
        return self.raw[start : end if end >= 0 else len(self.raw)].strip(_SPACE)


class RequestReader:
    """Turns bytes into requests.

    Attributes:
        wants_continue: the client waits for `100 Continue` before it sends the body; whoever sends it clears this.
    """

    __slots__ = ("_buffer", "_continued", "wants_continue")

    def __init__(self) -> None:
        self._buffer = b""
        self._continued = False
        self.wants_continue = False

    @property
    def buffered(self) -> int:
        """Bytes that came and were not yet read as requests."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take in bytes."""
        self._buffer = self._buffer + data if self._buffer else data

    def next(self) -> HttpRequest | None:
        """The next request, None when it is not complete; raises `Malformed`."""
        buffer = self._buffer
        end = buffer.find(_END)
        if end < 0 or end > MOST_HEAD:
            if len(buffer) > MOST_HEAD:
                raise Malformed(431, "Request Header Fields Too Large")
            return None
        raw = buffer[:end]
        head = _Head(raw, raw.lower())
        start = end + 4
        if b"\r\ntransfer-encoding:" in head.lower:
            found = _read_chunks(buffer, start)
        else:
            stop = start + _content_length(head)
            found = (buffer[start:stop], stop) if stop <= len(buffer) else None
        if found is None:
            if not self._continued and b"\r\nexpect:" in head.lower:
                self.wants_continue = self._continued = True
            return None
        body, stop = found
        self._buffer = buffer[stop:]
        self._continued = False
        return _request(head, body)


def _request(head: _Head, body: bytes) -> HttpRequest:
    line = head.raw.partition(b"\r\n")[0].split(b" ")
    if len(line) != 3 or not line[2].startswith(b"HTTP/1."):
        raise Malformed(400, "Bad Request")
    connection = head.value(b"connection").lower()
    return HttpRequest(
        method=line[0],
        path=line[1],
        target=head.value(b"x-amz-target"),
        body=body,
        close=connection == b"close" or (line[2] == b"HTTP/1.0" and connection != b"keep-alive"),
        signed=b"\r\nauthorization:" in head.lower,
        trace=head.value(b"x-amzn-trace-id"),
    )


def _content_length(head: _Head) -> int:
    value = head.value(b"content-length")
    if not value:
        return 0
    if not value.isdigit() or len(value) > 12:
        raise Malformed(400, "Bad Request")
    if int(value) > MOST_BODY:
        raise Malformed(413, "Content Too Large")
    return int(value)


def _read_chunks(buffer: bytes, at: int) -> tuple[bytes, int] | None:
    """The body in chunks from `at`, and where it ends; None when it does not yet."""
    body: list[bytes] = []
    total = 0
    while True:
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            if len(buffer) - at > 1024:
                raise Malformed(400, "Bad Request")
            return None
        size = _chunk_size(buffer[at:line_end])
        total += size
        if total > MOST_BODY:
            raise Malformed(413, "Content Too Large")
        at = line_end + 2
        if size == 0:
            return _skip_trailers(b"".join(body), buffer, at)
        if len(buffer) < at + size + 2:
            return None
        body.append(buffer[at : at + size])
        at += size + 2


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(_SPACE)
    if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
        raise Malformed(400, "Bad Request")
    return int(digits, 16)


def _skip_trailers(body: bytes, buffer: bytes, at: int) -> tuple[bytes, int] | None:
    if buffer.startswith(b"\r\n", at):
        return body, at + 2
    end = buffer.find(_END, at)
    if end < 0 and len(buffer) - at > MOST_HEAD:
        raise Malformed(431, "Request Header Fields Too Large")
    return (body, end + 4) if end >= 0 else None
