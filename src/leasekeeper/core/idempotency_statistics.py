"""What became of messages by their idempotency keys, in numbers.

Counted where handlers run (`leasekeeper.idempotency`), and read by statistics and exporters.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyStatistics:
    """What became of messages by their idempotency keys. Each message counts once for each delivery."""

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
