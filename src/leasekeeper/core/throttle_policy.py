"""What a throttler may decide, and what it reports: plain values.

Made by the engine from the options, and by the throttler for statistics.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlePolicy:
    """What a throttler may decide, and within which bounds.

    Attributes:
        concurrency: how many messages are at work at once, 1 or more.
        visibility: the visibility timeout in seconds, above 0.
        max_in_flight: the most messages that may be held, not below `concurrency`; SQS allows 120,000.
        pollers: a fixed number of pollers; None: scaled from 1 to `max_pollers`.
        max_pollers: the most pollers when they are scaled.
        batch: how many messages a receive asks for, 1 to 10.
        prefetch: how many messages may wait for a handler at most; None: as many as keep the handlers fed.
        together: how many of these messages one handler takes at most.
        wait: how many seconds a receive waits at an empty queue, 0 to 20.
        longest_pause: how many seconds a poller may wait for its next receive to fill, and so the most that this adds
            to a message's latency. 0 gives the least latency: at low rates several receives wait at the queue.
        enabled: False means all pollers, no pauses, and no prefetch beyond `prefetch`.
    """

    concurrency: int
    visibility: float
    max_in_flight: int = 120_000
    pollers: int | None = None
    max_pollers: int = 10
    batch: int = 10
    prefetch: int | None = None
    together: int = 1
    wait: float = 20.0
    longest_pause: float = 0.0
    enabled: bool = True

    def __post_init__(self) -> None:
        for name in ("concurrency", "pollers", "max_pollers", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} cannot work: give 1 or more")
        if not self.visibility > 0:
            raise ValueError(f"visibility={self.visibility!r} cannot work: give seconds above 0")
        for name in ("wait", "longest_pause"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)!r} cannot work: give seconds, 0 or more")
        if self.prefetch is not None and self.prefetch < 0:
            raise ValueError(f"prefetch={self.prefetch} cannot work: give 0 or more")
        if self.max_in_flight < self.concurrency:
            raise ValueError(
                f"max_in_flight={self.max_in_flight} with concurrency={self.concurrency}: handlers could never all be "
                "at work; raise max_in_flight or lower concurrency"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlerStatistics:
    """What a throttler has measured and decided."""

    limit: int
    """How many messages may be held at once, waiting and at work."""
    pollers: int
    """How many pollers are wanted."""
    prefetch: int
    """How many messages may wait for a handler."""
    handler: float
    """Median seconds of the last 63 handler runs; 0.0 before the first."""
    handler_p95: float
    """Seconds that the slowest in twenty of these took, or more."""
    held_seconds: float
    """Median seconds from receive to settled of the last 63 messages; 0.0 before the first."""
    latency: float
    """Average seconds of a receive that did not wait for messages; 0.0 before the first."""
    rate: float
    """Messages received a second, averaged over about the last second before the last answered receive."""
