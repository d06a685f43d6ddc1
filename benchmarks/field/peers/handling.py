"""The handlers of all peers written in Python, chosen once by the settings.

`handler_async` and `handler_sync` take a payload. Without notes and work they are empty functions, so that only the
library is measured.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from asked import HANDLER, NOTES, SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_RECORD = struct.Struct("<ddII")


class Notes:
    """A file of when each payload was handled: first start, latest finish, starts and finishes at 24 bytes a payload.

    The harness makes it, of zeros, and reads it. The file keeps everything even if this process is killed. It is safe
    for threads. Times are seconds of the monotonic clock.
    """

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._records = mmap.mmap(file.fileno(), 0)
        self._lock = threading.Lock()

    def start(self, payload: str) -> int:
        """Note a start; return the place of the payload's record, for `finish`."""
        at = int(payload[:7]) * _RECORD.size
        with self._lock:
            first, latest, starts, finishes = _RECORD.unpack_from(self._records, at)
            _RECORD.pack_into(self._records, at, first or time.monotonic(), latest, starts + 1, finishes)
        return at

    def finish(self, at: int) -> None:
        with self._lock:
            first, _, starts, finishes = _RECORD.unpack_from(self._records, at)
            _RECORD.pack_into(self._records, at, first, time.monotonic(), starts, finishes + 1)


def _burn() -> None:
    end = time.thread_time() + SECONDS
    while time.thread_time() < end:
        pass


async def _nothing_async(_: str) -> None:
    pass


async def _wait_async(_: str) -> None:
    await asyncio.sleep(SECONDS)


async def _burn_async(_: str) -> None:
    _burn()


def _nothing_sync(_: str) -> None:
    pass


def _wait_sync(_: str) -> None:
    time.sleep(SECONDS)


def _burn_sync(_: str) -> None:
    _burn()


def _noted_async(work: Callable[[str], Awaitable[None]], notes: Notes) -> Callable[[str], Awaitable[None]]:
    async def handle(payload: str) -> None:
        at = notes.start(payload)
        await work(payload)
        notes.finish(at)

    return handle


def _noted_sync(work: Callable[[str], None], notes: Notes) -> Callable[[str], None]:
    def handle(payload: str) -> None:
        at = notes.start(payload)
        work(payload)
        notes.finish(at)

    return handle


handler_async: Callable[[str], Awaitable[None]]
handler_sync: Callable[[str], None]
handler_async = {"noop": _nothing_async, "wait": _wait_async, "burn": _burn_async}[HANDLER]
handler_sync = {"noop": _nothing_sync, "wait": _wait_sync, "burn": _burn_sync}[HANDLER]
if NOTES:
    _notes = Notes(NOTES)
    handler_async, handler_sync = _noted_async(handler_async, _notes), _noted_sync(handler_sync, _notes)
