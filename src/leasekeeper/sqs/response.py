"""One HTTP response, read from bytes as they arrive (RFC 9112); it knows no socket and no clock.

Owned by a connection, one for each call. It promises that everything it takes in is bounded, that what no server of SQS
sends is refused at once instead of waited out, and that a body of known length is written once, where it stays.
"""

from __future__ import annotations

import re
from functools import partial

from leasekeeper.api import Response
from leasekeeper.sqs.chunks import Chunks

MAX_HEAD = 65_536
"""Bytes of a head, interim responses before it included."""
MAX_BODY = 80 * 1024 * 1024
"""Bytes of a body: ten messages of 1 MiB with each byte escaped as six in JSON, their attributes and receipts."""
MAX_DIGITS = 15
"""Digits of a Content-Length."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r\n")
_FIELDS = re.compile(rb"(?:[!#-'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r\n)*")
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding|connection):[ \t]*([^\r\n]*?)[ \t]*\r", re.IGNORECASE)
_TLS_ALERT = b"\x15\x03"
_OTHERS = rb"(?:[^CTct \t\r\n:][^\r\n\0]*+\r\n|content-type:[^\r\n\0]*+\r\n|connection:[ \t]*+keep-alive[ \t]*+\r\n)*+"
_USUAL = re.compile(
    rb"HTTP/1\.1 (?!204|304)([2-5][0-9][0-9])(?: [^\r\n]*+)?\r\n"
    + _OTHERS
    + rb"content-length:[ \t]*+([0-9]{1,15})[ \t]*+\r\n"
    + _OTHERS
    + rb"\r\n",
    re.IGNORECASE,
)
"""A head with one length and nothing else about framing, as SQS sends it. It is matched without looking back."""


def whole_response(buffer: memoryview, count: int) -> Response | None:
    """The response in the first `count` bytes, if it is all of them and has the usual head: nearly each one is.

    None says nothing: a `ResponseReader` then reads the same bytes.
    """
    usual = _USUAL.match(buffer, 0, count)
    if usual is None:
        return None
    end = usual.end()
    if count - end != int(usual[2]):
        return None
    return Response(int(usual[1]), partial(_header, bytes(buffer[:end])), bytes(buffer[end:count]))


class ResponseReader:
    """A response that is arriving.

    Args:
        tunnel: whether it answers CONNECT: such a response has no body, whatever its head says.

    Attributes:
        closing: whether the connection must be closed after it.
    """

    # Set on the class: most responses change few of them.
    _tunnel = False
    _held = b""  # the beginning of a head
    _passed = 0  # bytes of interim responses
    _head = b""
    _status = 0
    _length: int | None = None  # None: in chunks, or until the connection closes
    _chunks: Chunks | None = None
    _body: bytes | bytearray = b""
    _have = 0
    closing = False

    def __init__(self, *, tunnel: bool = False) -> None:
        if tunnel:
            self._tunnel = True

    @property
    def begun(self) -> bool:
        """Whether a byte of it has arrived."""
        return bool(self._head or self._held or self._passed)

    @property
    def direct(self) -> bool:
        """Whether to write the rest of the body into `space`: its length is known."""
        return self._length is not None

    def space(self) -> memoryview:
        """The rest of a body of known length, to write into; then `filled` says how much."""
        return memoryview(self._body)[self._have :]

    def filled(self, count: int) -> bool:
        """Note that this many bytes were written into `space`; whether the response is whole."""
        self._have += count
        return self._have == self._length

    def feed(self, data: bytes) -> bool:
        """Take in bytes; whether the response is whole.

        Raises:
            ValueError: this is not a response to our request.
        """
        if not self._head:
            rest = self._read_head(self._held + data if self._held else data)
            if rest is None:
                return False
            data = rest
        if self._length is not None:
            end = self._have + len(data)
            if end > self._length:
                raise ValueError(f"{end - self._length} bytes more than announced")
            memoryview(self._body)[self._have : end] = data
            return self.filled(len(data))
        if self._chunks is not None:
            body = self._chunks.feed(data)
            if body is None:
                return False
            self._body = body
            return True
        self._body += data  # until the connection closes
        if len(self._body) > MAX_BODY:
            raise ValueError(f"a body of more than {MAX_BODY:,} bytes")
        return False

    def ended(self) -> bool:
        """Note that the connection was closed in good order; whether that makes the response whole."""
        return bool(self._head) and self._length is None and self._chunks is None

    def response(self) -> Response:
        """The response, once it is whole."""
        return Response(self._status, partial(_header, self._head), self._body)

    def _read_head(self, data: bytes) -> bytes | None:
        """Read heads up to the final one; what follows it, or None when it is not whole yet."""
        if not self._tunnel and (usual := _USUAL.match(data)) is not None:
            self._status, self._head = int(usual[1]), usual[0]
            self._announce(_length(usual[2]))
            return data[usual.end() :]
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                _check_beginning(data)
                if self._passed + len(data) > MAX_HEAD:
                    raise ValueError(f"a head of more than {MAX_HEAD:,} bytes")
                self._held = data
                return None
            head, data = data[: end + 2], data[end + 4 :]
            if not head.startswith(b"HTTP/1.") or _STATUS.match(head) is None:
                _check_beginning(head)
                raise ValueError(f"{head[:40]!r} is no head of a response")
            status = int(head[9:12])
            if status == 101:
                raise ValueError("it switches protocols, which nothing asked for")
            if status >= 200:
                break
            self._passed += end + 4  # an interim response; the final one follows
            if self._passed > MAX_HEAD:
                raise ValueError(f"interim responses of more than {MAX_HEAD:,} bytes")
        self._status = status
        self._frame(head)
        self._head = head
        return data

    def _frame(self, head: bytes) -> None:
        """Find out where the body ends, whatever the head says."""
        if _FIELDS.fullmatch(head, head.find(b"\n") + 1) is None:
            raise ValueError(f"{head[:40]!r} is no head of a response")
        length: int | None = None
        chunked = False
        self.closing = head.startswith(b"HTTP/1.0")
        for name, value in _FRAMING.findall(head):
            match name.lower():
                case b"content-length":
                    found = _length(value)
                    if length not in {None, found}:
                        raise ValueError(f"two lengths, {length} and {found}")
                    length = found
                case b"transfer-encoding":
                    if value.lower() != b"chunked" or chunked or head.startswith(b"HTTP/1.0"):
                        raise ValueError(f"Transfer-Encoding {value[:40]!r}, which nothing asked for")
                    chunked = True
                case _:
                    self.closing = self.closing or b"close" in value.lower()
        if self._tunnel or self._status in {204, 304}:
            # Such a response has no body. When the head announces one, the server may still send it: use no more.
            self.closing = self.closing or chunked or bool(length)
            self._announce(0)
        elif chunked:
            if length is not None:
                raise ValueError("both a length and chunks, as in request smuggling")
            self._chunks = Chunks(MAX_BODY)
        elif length is not None:
            self._announce(length)
        else:
            self.closing = True  # only the connection's end says that the body is whole
            self._body = bytearray()

    def _announce(self, length: int) -> None:
        self._length, self._body = length, bytearray(length)


def _check_beginning(data: bytes) -> None:
    """Refuse what can become no head, before the rest of it arrives."""
    if data.startswith(_TLS_ALERT):
        raise ValueError("it answers in TLS: write https:// in the endpoint URL")
    line_end = data.find(b"\n")
    if not b"HTTP/1.".startswith(data[:7]) or line_end == 0 or (line_end > 0 and data[line_end - 1] != 0x0D):
        raise ValueError(repr(data[:40]))


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > MAX_DIGITS:
        raise ValueError(f"Content-Length {value[:40]!r}")
    length = int(value)
    if length > MAX_BODY:
        raise ValueError(f"a body of {length:,} bytes was announced")
    return length


def _header(head: bytes, name: str) -> str | None:
    wanted = name.lower().encode("latin-1")
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == wanted:
            return value.strip().decode("latin-1")
    return None
