"""Posts that could not be sent, kept until a `flush` or the close of a sender names them.

Owned by the sender's loop. It promises that each is counted, and that the first of them are kept with their errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.errors import Unsent

if TYPE_CHECKING:
    from leasekeeper.api import Outgoing

KEPT = 1_000
"""Failed posts that are kept; more are counted."""


class FailedPosts:
    """Those since the last time that they were taken."""

    def __init__(self) -> None:
        self._kept: list[tuple[Outgoing, Exception]] = []
        self._more = 0

    def note(self, outgoing: Outgoing, error: Exception) -> None:
        """This one could not be sent."""
        if len(self._kept) < KEPT:
            self._kept.append((outgoing, error))
        else:
            self._more += 1

    def take(self, queue: str) -> Unsent | None:
        """All of them as one error; None if there are none."""
        failures, self._kept = self._kept, []
        more, self._more = self._more, 0
        if not failures:
            return None
        count = len(failures) + more
        messages = "1 message was" if count == 1 else f"{count:,} messages were"
        return Unsent(f"{messages} not sent to {queue}; the first: {failures[0][1]}", failures)
