"""A store in the memory of this process: for tests, and for duplicates that reach one process.

It may be used from several threads. It forgets everything at the end of the process.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leasekeeper.idempotency.api import CLAIMED, Completed, Found, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.idempotency.api import Extension

SWEEP = 1024
"""Claims after which keys that have ended are removed."""

LONGEST = 43_200.0
"""Seconds of the longest lease: a claim is forgotten only after that."""


@dataclass(slots=True)
class _Record:
    token: str
    until: float
    done: Completed | None = None


class MemoryStore:
    """Keeps idempotency keys in this process.

    Args:
        clock: seconds; that of the consumer.
    """

    inline = True

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()
        self._claims = 0

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:  # noqa: ARG002 - Store's
        """As `Store.claim`."""
        with self._lock:
            self._sweep()
            now, record = self.clock(), self._live(key)
            if record is None or (record.done is None and record.token == token):
                self._records[key] = _Record(token, now + lease)
                return CLAIMED
            return record.done or Running(record.until - now)

    async def extend(self, extensions: Sequence[Extension]) -> Sequence[bool]:
        """As `Store.extend`."""
        with self._lock:
            return [self._extend(*each) for each in extensions]

    def _extend(self, key: str, token: str, lease: float) -> bool:
        record = self._records.get(key)  # also one that has ended: its lease may have been extended meanwhile
        if record is None or record.token != token or record.done is not None:
            return False
        record.until = self.clock() + lease
        return True

    async def complete(self, key: str, token: str, fingerprint: str, result: bytes | None, keep: float) -> bool:
        """As `Store.complete`."""
        with self._lock:
            record = self._live(key)
            if record is not None and record.token != token:
                return False
            self._records[key] = _Record(token, self.clock() + keep, Completed(fingerprint, result))
            return True

    async def release(self, key: str, token: str) -> bool:
        """As `Store.release`."""
        with self._lock:
            record = self._live(key)
            if record is None or record.token != token or record.done is not None:
                return False
            del self._records[key]
            return True

    async def close(self) -> None:
        """As `Store.close`: there is nothing to close, and nothing is forgotten."""

    def _live(self, key: str) -> _Record | None:
        record = self._records.get(key)
        return record if record is not None and record.until > self.clock() else None

    def _sweep(self) -> None:
        self._claims += 1
        if self._claims % SWEEP == 0:
            now = self.clock()
            ends = {True: now, False: now - LONGEST}
            self._records = {
                key: record for key, record in self._records.items() if record.until > ends[record.done is not None]
            }

    def __reduce__(self) -> Any:
        """Refuse to be taken to another process."""
        raise TypeError("a MemoryStore keeps keys in one process: take RedisStore, PostgresStore or DynamoDbStore")

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._records)} keys>"
