"""What handlers noted of each message: a file that clients write through shared memory, one record an index."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_RECORD = struct.Struct("<ddII")


@dataclass(frozen=True, slots=True)
class Note:
    """A message as its handlers saw it; times are seconds of the monotonic clock, zero when it did not come to it."""

    started: float
    finished: float
    starts: int
    finishes: int


def blank(path: Path, count: int) -> None:
    """Make a file with nothing noted of `count` messages."""
    path.write_bytes(bytes(_RECORD.size * count))


def read(path: Path) -> list[Note]:
    """All notes, by index."""
    return [Note(*record) for record in _RECORD.iter_unpack(path.read_bytes())]
