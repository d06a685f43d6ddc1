"""Chunks: the body of a response without a length in its head (RFC 9112, section 7.1).

Owned by a response, one for each. It promises to read each byte once, wherever the network cuts the data, to refuse
data that is not in chunks, and to hold no more than its limit.
"""

from __future__ import annotations

import re

MAX_LINE = 8_192
"""Bytes of a chunk's size with its extensions, and of all trailers."""
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_LINE_END = b"\r\n"


class Chunks:
    """A body that is arriving.

    Args:
        limit: the most bytes that the body may have.
    """

    __slots__ = ("_body", "_ending", "_held", "_left", "_limit", "_trailers")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body = bytearray()
        self._trailers = 0  # bytes of them
        self._held = b""  # the beginning of a line
        self._left = 0  # bytes until the next line with a size, the line end behind the chunk among them
        self._ending = False  # the last chunk has come; trailers follow, up to an empty line

    def feed(self, data: bytes) -> bytearray | None:
        """Take in bytes; the body when it is whole, None before.

        Raises:
            ValueError: these are no chunks, there are bytes after the last one, or they are too many.
        """
        data = self._held + data if self._held else data
        at, end = 0, len(data)
        while at < end:
            if self._left:
                at += self._skip(data, at)
                continue
            found = data.find(_LINE_END, at)
            if found < 0:
                break
            line, at = data[at:found], found + 2
            if not self._ending:
                self._begin(line)
            elif not line:
                if at < end:
                    raise ValueError(f"{end - at} bytes after the last chunk")
                return self._body
            else:
                self._trailers += len(line)
                if self._trailers > MAX_LINE:
                    raise ValueError(f"trailers of more than {MAX_LINE:,} bytes")
        self._held = data[at:]
        if len(self._held) > MAX_LINE:
            raise ValueError(f"a line without end: {self._held[:40]!r}")
        return None

    def _begin(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise ValueError(f"{line[:40]!r} is no chunk's size")
        if length := int(size[1], 16):
            if len(self._body) + length > self._limit:
                raise ValueError(f"a body of more than {self._limit:,} bytes")
            self._left = length + len(_LINE_END)
        else:
            self._ending = True

    def _skip(self, data: bytes, at: int) -> int:
        """Take in what there is of a chunk, or of the line end behind it; the number of bytes taken in."""
        inside = self._left - len(_LINE_END)
        if inside > 0:
            part = data[at : at + inside]
            self._body += part
            self._left -= len(part)
            return len(part)
        if data[at] != _LINE_END[-self._left]:
            raise ValueError("a chunk is longer than it said")
        self._left -= 1
        return 1
