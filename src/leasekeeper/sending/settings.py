"""How a sender works, and what it looks like at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.api import Outgoing
    from leasekeeper.payloads.settings import S3Payloads

BOUNDS: dict[str, tuple[float, float]] = {
    "linger": (0, 60),
    "buffer": (1, 10_000_000),
    "buffer_bytes": (1, 2**40),
    "timeout": (0.001, 3600),
    "flush_timeout": (0.001, 3600),
    "parallel": (1, 100),
}
"""The least and the most of each number; times are in seconds."""
LONGEST_FIFO_TIMEOUT = 240.0
"""Seconds: SQS remembers deduplication ids for five minutes, so a later try could make a second message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSettings:
    """How a sender gathers, tries again and closes; `Sender` describes each."""

    linger: float
    timeout: float
    flush_timeout: float
    parallel: int
    strict_order: bool
    on_error: Callable[[Outgoing, Exception], object] | None
    payloads: S3Payloads | None = None
    trace: bool | None = None

    def check(self, queue: str, *, fifo: bool, **more: float) -> None:
        """Refuse numbers out of their bounds; `more` are those that bound what the sender holds.

        Raises:
            ConfigurationError: a number is out of its bounds.
        """
        for name, (low, high) in BOUNDS.items():
            value = more.get(name) if name in more else getattr(self, name)
            kind = "" if isinstance(value, (int, float)) and not isinstance(value, bool) else "a number "
            if kind or not low <= value <= high:  # type: ignore[operator] # it is a number
                raise ConfigurationError(f"Sender({queue!r}, {name}={value!r}): must be {kind}from {low:g} to {high:,}")
        if fifo and self.timeout > LONGEST_FIFO_TIMEOUT:
            raise ConfigurationError(
                f"Sender({queue!r}, timeout={self.timeout!r}): at most {LONGEST_FIFO_TIMEOUT:g} on a FIFO queue: SQS "
                "remembers deduplication ids for 300 s, and a later try could make a second message"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderStatistics:
    """A sender at one moment; counts since its start."""

    queue: str
    """The queue's name."""
    sent: int
    """Messages that SQS confirmed."""
    failed: int
    """Messages that were not sent."""
    held: int
    """Messages that were accepted and have no answer yet."""
    held_bytes: int
    """Bytes of these."""
    calls: int
    """Calls of SendMessageBatch."""
    retries: int
    """Messages that were tried again, each time counted."""
