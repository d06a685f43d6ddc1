"""The notes of handlers on each message: a file that clients write through shared memory, one record for each index."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_RECORD = struct.Struct("<ddII")


@dataclass(frozen=True, slots=True)
class Note:
    """A message as its handlers saw it; times are seconds of the monotonic clock, zero if it did not happen."""

    started: float
    finished: float
    starts: int
    finishes: int


def blank(path: Path, count: int) -> None:
    """Make an empty file for `count` messages."""
    path.write_bytes(bytes(_RECORD.size * count))


def read(path: Path) -> list[Note]:
    """All notes, by index."""
    return [Note(*record) for record in _RECORD.iter_unpack(path.read_bytes())]
