"""Counts: what a consumer has done since its start, counted from events.

Owned by a consumer's observer. A new counter is a field here and a line in `_count...`; nothing else changes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from leasekeeper import events
from leasekeeper.core.median import StreamingMedian
from leasekeeper.outcomes import Failed

if TYPE_CHECKING:
    from leasekeeper.channel import Channel

OPERATIONS = ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch")
"""Calls that a consumer makes while it runs."""
REASONS = ("rejected", "undecodable", "exhausted")
"""Why a message is copied to the dead-letter queue."""
_RAISED = ("failed", "timed_out")
_OUTCOMES = (
    "done",
    "failed",
    "timed_out",
    "retried",
    "rejected",
    "undecodable",
    "skipped",
    "exhausted",
    "not_started",
    "ended",
)
"""What may follow the run of a message, as `Conclusion.counted` has it."""
C = TypeVar("C", "WorkStatistics", "ReceiveStatistics", "AckStatistics", "HeartbeatStatistics")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStatistics:
    """How handlers ended, counted since the start. `waited` is a median of the last 63."""

    done: int
    """Handlers that returned."""
    failed: int
    """Handlers that raised, or ran into `handler_timeout`."""
    timed_out: int
    """Those of them that ran into `handler_timeout`."""
    retried: int
    """Messages for which the handler asked for a retry, or that came again while a thread still ran them after its
    `handler_timeout`."""
    rejected: int
    """Messages that can never be processed, undecodable ones included."""
    undecodable: int
    """Those of them with a body that does not match the handler's annotation."""
    skipped: int
    """Messages deleted because no handler has to see them, e.g. the test event of S3, or because the task of Step
    Functions that they belong to has ended."""
    exhausted: int
    """Messages that were not done at their last allowed attempt (`max_attempts`)."""
    dead_lettered: int
    """Copies confirmed by the dead-letter queue."""
    unexplained: int
    """Those of them without `leasekeeper.failure`, for which SQS left no room (ten attributes, 1 MiB)."""
    not_started: int
    """Messages given back without a call of the handler."""
    ended: int
    """Handlers that were cancelled at a stop, or because their lease was lost."""
    lost_running: int
    """Leases that ended while the handler was running."""
    waited: float
    """Median seconds from received to started; 0.0 before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveStatistics:
    """Receives, counted since the start. `lag` is a median of the last 63."""

    calls: int
    """Receives that were answered."""
    empty: int
    """Those of them without a message."""
    full: int
    """Those of them with as many messages as were asked for."""
    failed: int
    """Receives that raised."""
    messages: int
    """Messages received."""
    lags: int
    """Receives with a message that was received for the first time: `lag` is measured in these."""
    lag: float
    """Median seconds from sent to received, of messages received for the first time; 0.0 before the first. The times
    come from two clocks, so the value is approximate."""
    lag_p95: float
    """Seconds from sent to received that 95 % of these had at most. Both stay as they are while no message is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AckStatistics:
    """Deletes, counted since the start. `seconds` is a median of the last 63."""

    calls: int
    """Delete calls that were answered or failed."""
    confirmed: int
    """Entries confirmed."""
    failed: int
    """Entries that failed; most of them were tried again."""
    seconds: float
    """Median duration of a delete call; 0.0 before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatStatistics:
    """Extensions of leases, counted since the start."""

    calls: int
    """Extension calls that were answered or failed."""
    extended: int
    """Entries confirmed."""
    failed: int
    """Entries that failed; they are tried again as long as the lease lasts."""


class Counts:
    """Counts what the events of one channel tell."""

    def __init__(self, channel: Channel) -> None:
        self._work = Counter[str]()
        self._receives = Counter[str]()
        self._acks = Counter[str]()
        self._heartbeat = Counter[str]()
        self._waited = StreamingMedian()
        self._lag = StreamingMedian()
        self._delete_seconds = StreamingMedian()
        self._errors = Counter[str]()
        self._dead_letters = Counter[str]()
        self._calls = Counter[tuple[str, str]]()
        """By operation and error code; the code is empty for calls that were answered."""
        channel.subscribe(self._count_received, events.MessagesReceived)
        channel.subscribe(self._count_receive_failed, events.ReceiveFailed)
        channel.subscribe(self._count_ended, events.HandlersEnded)
        channel.subscribe(self._count_deletes, events.DeletesAnswered)
        channel.subscribe(self._count_extended, events.LeasesExtended)
        channel.subscribe(self._count_released, events.MessagesReleased)
        channel.subscribe(self._count_copied, events.MessagesCopied)
        channel.subscribe(self._count_failed_entries, events.EntriesFailed)
        channel.subscribe(self._count_lost, events.LeaseLost)

    def _count_received(self, event: events.MessagesReceived) -> None:
        counts = self._receives
        counts["calls"] += 1
        if event.count:
            counts["messages"] += event.count
            if event.count >= event.asked:
                counts["full"] += 1
            if event.lag is not None:
                counts["lags"] += 1
                self._lag.push(event.lag)
        else:
            counts["empty"] += 1

    def _count_receive_failed(self, event: events.ReceiveFailed) -> None:
        self._receives["failed"] += 1
        self._calls["ReceiveMessage", event.code] += 1
        self._errors[event.code] += 1

    def _count_ended(self, event: events.HandlersEnded) -> None:
        counts = self._work
        counts["done"] += event.done
        if event.waited:
            self._waited.extend(event.waited)
        for conclusion in event.others:
            counts[conclusion.counted] += 1
            if conclusion.counted not in _RAISED and isinstance(conclusion.outcome, Failed):
                counts["also_failed"] += 1  # whatever follows, the handler raised

    def _count_deletes(self, event: events.DeletesAnswered) -> None:
        self._calls[event.operation, event.code] += 1
        self._acks["confirmed"] += event.confirmed
        self._delete_seconds.push(event.seconds)

    def _count_extended(self, event: events.LeasesExtended) -> None:
        self._heartbeat["calls"] += 1
        self._calls[event.operation, event.code] += 1
        self._heartbeat["extended"] += event.extended

    def _count_released(self, event: events.MessagesReleased) -> None:
        self._calls[event.operation, event.code] += 1

    def _count_copied(self, event: events.MessagesCopied) -> None:
        self._calls[event.operation, event.code] += 1
        self._dead_letters.update(event.reasons)
        self._work["dead_lettered"] += event.count
        self._work["unexplained"] += len(event.unexplained)

    def _count_failed_entries(self, event: events.EntriesFailed) -> None:
        for _, failure in event.failures:
            self._errors[failure.code] += 1
        if event.heartbeat:
            self._heartbeat["failed"] += len(event.failures)
        elif event.operation == "DeleteMessageBatch":
            self._acks["failed"] += len(event.failures)

    def _count_lost(self, _: events.LeaseLost) -> None:
        self._work["lost_running"] += 1

    # What they come to; may be asked from any thread

    def work(self) -> WorkStatistics:
        """How handlers ended."""
        counts = self._work
        more = {
            "failed": counts["failed"] + counts["timed_out"] + counts["also_failed"],
            "rejected": counts["rejected"] + counts["undecodable"],
        }
        return _statistics(WorkStatistics, {**counts, **more}, waited=self._waited.value)

    def receives(self) -> ReceiveStatistics:
        """Receives."""
        return _statistics(ReceiveStatistics, self._receives, lag=self._lag.value, lag_p95=self._lag.quantile(0.95))

    def acks(self) -> AckStatistics:
        """Deletes."""
        calls = sum(self.calls()["DeleteMessageBatch"].values())
        return _statistics(AckStatistics, {**self._acks, "calls": calls}, seconds=self._delete_seconds.value)

    def heartbeat(self) -> HeartbeatStatistics:
        """Extensions of leases."""
        return _statistics(HeartbeatStatistics, self._heartbeat)

    def outcomes(self) -> dict[str, int]:
        """Runs of messages that ended, by what followed; each run counts once."""
        return {name: self._work[name] for name in _OUTCOMES}

    def calls(self) -> dict[str, dict[str, int]]:
        """Calls by operation, and by `ok` or the error code."""
        found = {operation: {"ok": 0} for operation in OPERATIONS}
        for (operation, code), times in tuple(self._calls.items()):
            found[operation][code or "ok"] = times
        found["ReceiveMessage"]["ok"] = self._receives["calls"]
        return found

    def dead_letters(self) -> dict[str, int]:
        """Copies confirmed by the dead-letter queue, by reason."""
        return {reason: self._dead_letters[reason] for reason in REASONS}

    def errors(self) -> dict[str, int]:
        """Errors by SQS's code: receives that failed, and entries of batches that failed."""
        return dict(self._errors)


def _statistics(kind: type[C], counts: dict[str, int] | Counter[str], **medians: float) -> C:
    values: dict[str, Any] = {field.name: counts.get(field.name, 0) for field in fields(kind)}
    return kind(**{**values, **medians})
