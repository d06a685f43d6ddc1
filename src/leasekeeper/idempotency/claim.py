"""A claim: the key that one run of a handler holds in a store, for as long as the lease of its message lasts.

Made by the guard around a handler, and looked after by the work on the store (`claiming.py`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leasekeeper.message import Message

SHORTEST_LEASE = 0.001
"""Seconds of the shortest claim: the lease of its message may be as good as over."""


class Claim:
    """The claim of one run of a handler, which lives as long as the lease of its message."""

    __slots__ = ("again", "fingerprint", "key", "message", "token", "until")

    def __init__(self, key: str, fingerprint: str, message: Message[Any]) -> None:
        self.key = key
        self.fingerprint = fingerprint
        self.message = message
        self.token = os.urandom(16).hex()
        self.again = False
        """Whether the claim of a run before was not answered."""
        self.until = 0.0
        """The deadline of the lease that the store was last told."""

    def left(self, now: float) -> float:
        """Seconds until the lease ends; notes that the store is told this."""
        self.until = self.message.lease_deadline
        return max(SHORTEST_LEASE, self.until - now)
