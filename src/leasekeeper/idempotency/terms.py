"""The terms under which a guard works, from the arguments of an `Idempotency`, and the counters of what it did."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.idempotency.work import Work
    from leasekeeper.message import Message

OnStoreError = Literal["retry", "run"]
OnMissing = Literal["error", "reject", "run"]


@dataclass(frozen=True, slots=True)
class IdempotencyStatistics:
    """What became of the messages of an `Idempotency`, in this process."""

    claimed: int = 0
    """Runs of handlers that had the key to themselves."""
    done: int = 0
    """Messages whose work was done already: deleted without a run."""
    running: int = 0
    """Messages whose key another run had claimed: given back until that claim ends."""
    mismatched: int = 0
    """Messages with the key of other content: rejected."""
    missing: int = 0
    """Messages without a key."""
    conflicts: int = 0
    """Handlers that ended well after they had lost their claim to another run: their work was done twice."""
    store_errors: int = 0
    """Verbs that the store did not carry out."""


class Counts:
    """The counters, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, name: str) -> None:
        """Add one."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + 1

    def statistics(self) -> IdempotencyStatistics:
        """All of them."""
        with self._lock:
            return IdempotencyStatistics(**self._counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an `Idempotency` was made with, in the form that guards need; the names are those of its arguments."""

    work: Work
    key: Callable[[Message[Any]], Any]
    fingerprint: Callable[[Message[Any]], Any] | None
    keep: float
    result: bool
    on_store_error: OnStoreError
    missing: OnMissing
    scope: str | None
    prefix: str
    timeout: float
    counts: Counts = field(default_factory=Counts)
