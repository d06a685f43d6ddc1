"""HTTP/1.1 requests, read from bytes as they arrive. It covers what an API server on a loopback address needs.

Owned by one connection. It promises that reading costs time in proportion to the bytes, in whatever pieces they arrive,
and that it raises `Malformed` as soon as they cannot become a request. The connection must be closed after that.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_HEAD = 65_536
MOST_BODY = 16 * 1_048_576
MOST_CHUNKS = 65_536
"""Chunks in one body. Each costs time whatever its size, so a body of tiny chunks would hold up other clients."""

_END = b"\r\n\r\n"
_SPACE = b" \t"
_TLS_HANDSHAKE = 0x16


class Malformed(Exception):
    """The bytes are not an HTTP request that can be answered. Answer with `status`, then close the connection."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class _Head(NamedTuple):
    """A head as it arrived (`raw`) and in lower case (`lower`). Positions are the same in both."""

    raw: bytes
    lower: bytes

    def value(self, name: bytes) -> bytes:
        """The value of a header, by its name in lower case; empty by default."""
        at = self.lower.find(b"\r\n" + name + b":")
        if at < 0:
            return b""
        start = at + len(name) + 3
        end = self.raw.find(b"\r\n", start)
        return self.raw[start : end if end >= 0 else len(self.raw)].strip(_SPACE)


_NO_HEAD = _Head(b"", b"")


class HttpRequest(NamedTuple):
    """A complete request.

    Attributes:
        target: the X-Amz-Target header; empty by default, as all headers here.
        close: whether to close the connection after the answer.
        signed: whether it has an Authorization header.
        trace: the X-Amzn-Trace-Id header.
        host: the Host header.
        origin: the Origin header, by which a browser says what page a request comes from.
        if_none_match: the If-None-Match header.
        head: all headers.
    """

    method: bytes
    path: bytes
    target: bytes
    body: bytes
    close: bool
    signed: bool
    trace: bytes = b""
    host: bytes = b""
    origin: bytes = b""
    if_none_match: bytes = b""
    head: _Head = _NO_HEAD

    def header(self, name: bytes) -> bytes:
        """The value of a header, by its name in lower case; empty by default."""
        return self.head.value(name)


class RequestReader:
    """Turns bytes into requests.

    Attributes:
        wants_continue: the client waits for `100 Continue` before it sends the body. The caller sends it, then clears
            this.
    """

    __slots__ = ("_body", "_buffer", "_head", "_searched", "wants_continue")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._head: _Head | None = None
        self._body: _SizedBody | _ChunkedBody | None = None
        self.wants_continue = False

    @property
    def buffered(self) -> int:
        """The number of bytes that have arrived and are not yet part of a request."""
        return len(self._buffer)

    @property
    def partial(self) -> bool:
        """Whether the beginning of a request has arrived and its end has not."""
        return self._head is not None or bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes that arrived."""
        self._buffer += data

    def next(self) -> HttpRequest | None:
        """The next request, or None while it is incomplete; raises `Malformed`."""
        head = self._head or self._read_head()
        if head is None or self._body is None:
            return None
        body = self._body.read(self._buffer)
        if body is None:
            return None
        self._head = self._body = None
        self.wants_continue = False
        return _request(head, body)

    def _read_head(self) -> _Head | None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            del buffer[:2]
        if not buffer or buffer == b"\r":
            return None
        _check_first_byte(buffer[0])
        end = buffer.find(_END, self._searched)
        if end < 0 or end > MOST_HEAD:
            if len(buffer) > MOST_HEAD:
                raise Malformed(431, "Request Header Fields Too Large")
            self._searched = max(0, len(buffer) - 3)
            return None
        raw = bytes(buffer[:end])
        del buffer[: end + 4]
        self._searched = 0
        self._head = head = _Head(raw, raw.lower())
        if b"\r\ntransfer-encoding:" in head.lower:
            self._body = _ChunkedBody()
        else:
            self._body = _SizedBody(_content_length(head))
        self.wants_continue = not buffer and b"\r\nexpect:" in head.lower
        return head


class _SizedBody:
    """A body with a Content-Length, or none."""

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        self._size = size

    def read(self, buffer: bytearray) -> bytes | None:
        """The body, taken from the buffer, or None while it is incomplete."""
        if len(buffer) < self._size:
            return None
        body = bytes(buffer[: self._size])
        del buffer[: self._size]
        return body


class _ChunkedBody:
    """A body in chunks. What has been read once is not looked at again."""

    __slots__ = ("_body", "_chunks", "_ended", "_left")

    def __init__(self) -> None:
        self._body = bytearray()
        self._chunks = 0
        self._left = 0
        self._ended = False

    def read(self, buffer: bytearray) -> bytes | None:
        """The body, taken from the buffer piece by piece, or None while it is incomplete."""
        at = 0
        while not self._ended:
            if self._left:
                at += self._take_data(buffer, at)
                if self._left:
                    break
            line_end = buffer.find(b"\r\n", at)
            if line_end < 0:
                if len(buffer) - at > 1024:
                    raise Malformed(400, "The size of a chunk is missing")
                break
            self._start_chunk(bytes(buffer[at:line_end]))
            at = line_end + 2
        del buffer[:at]
        return bytes(self._body) if self._ended and _skip_trailers(buffer) else None

    def _take_data(self, buffer: bytearray, at: int) -> int:
        """Take as much of the current chunk as there is, and return its size. The line end after it is part of it."""
        taken = min(self._left, len(buffer) - at)
        self._body += buffer[at : at + taken]
        self._left -= taken
        if not self._left:
            if not self._body.endswith(b"\r\n"):
                raise Malformed(400, "A chunk is longer than its size says")
            del self._body[-2:]
        return taken

    def _start_chunk(self, line: bytes) -> None:
        size = _chunk_size(line)
        self._chunks += 1
        self._left = size + 2 if size else 0
        self._ended = not size
        if len(self._body) + size > MOST_BODY:
            raise Malformed(413, "Content Too Large")
        if self._chunks > MOST_CHUNKS:
            raise Malformed(413, f"The body has more than {MOST_CHUNKS} chunks: send larger ones")


def _check_first_byte(byte: int) -> None:
    """Refuse at once what cannot be HTTP. A client that starts TLS waits for an answer before it sends more."""
    if byte == _TLS_HANDSHAKE:
        raise Malformed(400, "The client started TLS, and this is a plain HTTP port: use http:// in the endpoint URL")
    if not (65 <= byte <= 90 or 97 <= byte <= 122):
        raise Malformed(400, "Bad Request")


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
        host=head.value(b"host"),
        origin=head.value(b"origin"),
        if_none_match=head.value(b"if-none-match"),
        head=head,
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


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(_SPACE)
    if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
        raise Malformed(400, "Bad Request")
    return int(digits, 16)


def _skip_trailers(buffer: bytearray) -> bool:
    """Remove the end of a body in chunks from the buffer; False while it is incomplete."""
    if buffer.startswith(b"\r\n"):
        del buffer[:2]
        return True
    end = buffer.find(_END)
    if end < 0:
        if len(buffer) > MOST_HEAD:
            raise Malformed(431, "Request Header Fields Too Large")
        return False
    del buffer[: end + 4]
    return True
