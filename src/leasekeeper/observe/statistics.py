"""Statistics: frozen snapshots of a consumer, and the report it leaves when it ends.

Made by the runner, read by dashboards, logs, health checks and metrics; nothing else of the engine is for reading.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from leasekeeper.core.states import State

if TYPE_CHECKING:
    from leasekeeper.core.delivery import LedgerStatistics
    from leasekeeper.observe.tally import Tally


class _Lane(Protocol):
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def workers(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a consumer did, from its start to its end."""

    queue: str
    seconds: float
    received: int
    handled: int
    """Handlers that returned."""
    acked: int
    """Deletes confirmed."""
    retried: int
    """Messages whose handler asked to have them again."""
    failed: int
    """Handlers that raised or ran into their time-out."""
    rejected: int
    released: int
    """Messages given back, after a failure or at the stop."""
    lost: int
    """Leases that ran out while we held the message."""
    unsettled: int
    """Messages whose delete or release was not confirmed; they come again."""
    recognised: int
    """Redeliveries of finished work, deleted without running."""

    @classmethod
    def empty(cls, queue: str) -> Report:
        """The report of a consumer that was never started."""
        counts = {each.name: 0 for each in fields(cls) if each.name not in {"queue", "seconds"}}
        return cls(queue=queue, seconds=0.0, **counts)

    def __str__(self) -> str:
        said = [f"{self.handled} handled", f"{self.acked} deletes confirmed"]
        rest = ("failed", "retried", "rejected", "released", "recognised", "lost", "unsettled")
        said += [f"{count} {name}" for name in rest if (count := getattr(self, name))]
        return f"queue {self.queue}: {self.received} received, {', '.join(said)} in {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerStatistics:
    """A consumer at one moment. Counts are since its start, medians of the last 63, times in seconds."""

    queue: str
    phase: str
    healthy: bool
    concurrency: int
    pollers: int
    in_hand: int
    """Places taken: at work, waiting, or reserved for polls in flight."""
    running: int
    waiting: int
    workers: int
    acking: int
    releasing: int
    lapsed: int
    """At work though their lease is lost."""
    acks_waiting: int
    """Finished messages that wait for their delete batch to fill."""
    received: int
    receives: int
    empty_receives: int
    receive_errors: int
    done: int
    failed: int
    retried: int
    rejected: int
    undecodable: int
    dead_lettered: int
    timed_out: int
    not_started: int
    ended: int
    acked: int
    late: int
    released: int
    lost: int
    unsettled: int
    duplicates: int
    recognised: int
    delete_calls: int
    heartbeat_calls: int
    heartbeat_failures: int
    smallest_margin: float
    """Least seconds of lease left at a confirmed delete; inf before the first."""
    first_lag: float
    buffer_seconds: float
    handler_seconds: float
    delete_seconds: float
    errors: dict[str, int]

    @classmethod
    def of(cls, tally: Tally, ledger: LedgerStatistics, lane: _Lane, **more: Any) -> RunnerStatistics:
        """Put together what tally, ledger and lane know."""
        counted = ("received", "receives", "empty_receives", "receive_errors", "done", "failed", "retried", "rejected")
        outcomes = ("undecodable", "dead_lettered", "timed_out", "not_started", "ended")
        beats = ("heartbeat_calls", "heartbeat_failures")
        medians = ("first_lag", "buffer_seconds", "delete_seconds")
        settled = ("acked", "late", "released", "lost", "unsettled", "duplicates", "recognised", "smallest_margin")
        return cls(
            **{name: getattr(tally, name) for name in (*counted, *outcomes, *beats)},
            **{name: getattr(tally, name).value for name in medians},
            **{name: getattr(ledger, name) for name in settled},
            errors=dict(tally.errors),
            running=lane.running,
            waiting=lane.waiting,
            workers=lane.workers,
            acking=ledger.held[State.ACKING],
            releasing=ledger.held[State.RELEASING],
            lapsed=ledger.held[State.LAPSED],
            **more,
        )
