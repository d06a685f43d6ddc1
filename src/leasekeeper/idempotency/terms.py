"""The terms under which a guard works, from the arguments of an `Idempotency`, and the counters of what it did."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from leasekeeper.core.idempotency_statistics import IdempotencyStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.idempotency.claiming import Work
    from leasekeeper.message import Message

OnStoreError = Literal["retry", "run"]
OnMissing = Literal["error", "reject", "run"]


class Counts:
    """The counters by queue, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, queue: str, name: str, by: int = 1) -> None:
        """Add to one of a queue."""
        with self._lock:
            counts = self._counts.setdefault(queue, {})
            counts[name] = counts.get(name, 0) + by

    def statistics(self, queue: str | None = None) -> IdempotencyStatistics:
        """Those of a queue; None: of all queues."""
        with self._lock:
            found = [self._counts.get(queue, {})] if queue is not None else list(self._counts.values())
            total: dict[str, int] = {}
            for counts in found:
                for name, count in counts.items():
                    total[name] = total.get(name, 0) + count
        return IdempotencyStatistics(**total)

    def taken(self) -> dict[str, dict[str, int]]:
        """Those of all queues by name; they count from 0 again."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an `Idempotency` was made with, in the form that guards need; the names are those of its arguments."""

    work: Work
    key: Callable[[Message[Any]], Any]
    fingerprint: Callable[[Message[Any]], Any] | None
    why_missing: str
    keep: float
    result: bool
    on_store_error: OnStoreError
    missing: OnMissing
    scope: str | None
    prefix: str
    timeout: float
    counts: Counts = field(default_factory=Counts)
