"""Chunks: the body of an answer whose length was not said beforehand (RFC 9112, section 7.1).

Owned by a connection, one an answer. It promises to look at each byte once, however the bytes are cut on their way, and
to refuse what are no chunks.
"""

from __future__ import annotations

import re

MAX_LINE = 8_192
"""Bytes that a chunk's size with its extensions, or a trailer, may have."""
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_LINE_END = b"\r\n"


class Chunks:
    """A body on its way."""

    __slots__ = ("_ending", "_held", "_left", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held = b""  # the beginning of a line
        self._left = 0  # bytes until the next line with a size, the line end behind the chunk among them
        self._ending = False  # the last chunk has come; trailers follow, up to an empty line

    def feed(self, data: bytes) -> bytes | None:
        """Take in what has come; the body when it is whole, None before.

        Raises:
            ValueError: these are no chunks, or more came than chunks.
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
                return b"".join(self._parts)
        self._held = data[at:]
        if len(self._held) > MAX_LINE:
            raise ValueError(f"a line without end: {self._held[:40]!r}")
        return None

    def _begin(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise ValueError(f"{line[:40]!r} is no chunk's size")
        if length := int(size[1], 16):
            self._left = length + len(_LINE_END)
        else:
            self._ending = True

    def _skip(self, data: bytes, at: int) -> int:
        """Take up what there is of a chunk, or of the line end behind it; how many bytes that were."""
        inside = self._left - len(_LINE_END)
        if inside > 0:
            part = data[at : at + inside]
            self._parts.append(part)
            self._left -= len(part)
            return len(part)
        if data[at] != _LINE_END[-self._left]:
            raise ValueError("a chunk is longer than it said")
        self._left -= 1
        return 1
