"""The share: handlers that several consumers have together. Made by users, given to consumers as `share=`.

It holds only its size. What is taken of it is kept by the engine of the consumers that run.
"""

from __future__ import annotations

from typing import Any

from leasekeeper.errors import ConfigurationError

MOST = 120_000


class Share:
    """Handlers that several consumers share: at most `concurrency` of them run at once, of all consumers together.

    Each consumer gets it as `share=`, with a `weight` and a `priority`. A lower `priority` goes first: while its queue
    has a backlog, those of higher numbers are not polled. Consumers of one priority that have a backlog get handlers in
    the ratio of their weights. An empty queue keeps none from the others.

    The consumers must belong to one app, because an app runs them on one event loop.

    Args:
        concurrency: handlers that run at the same time, 1 to 120,000.

    Raises:
        ConfigurationError: the number is out of bounds.
    """

    __slots__ = ("__weakref__", "coming", "concurrency", "slots")

    def __init__(self, concurrency: int) -> None:
        given: Any = concurrency
        if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= MOST:
            raise ConfigurationError(f"Share(concurrency={concurrency!r}): must be a whole number from 1 to {MOST}")
        self.concurrency = concurrency
        self.coming: dict[object, int] = {}
        """The priorities of consumers that start, and have not joined yet: those of lower priority wait for them."""
        self.slots: Any = None
        """The engine's, while consumers of this share run."""

    def __repr__(self) -> str:
        return f"Share(concurrency={self.concurrency})"
