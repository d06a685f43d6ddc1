"""Statistics: frozen snapshots of a consumer, and the report that it leaves when it ends.

Made by an observer from the engine's snapshot and the counts; read by dashboards, logs, health checks and metrics.
Every value can be written as JSON: `dataclasses.asdict(statistics)` has numbers, text, None, and dicts of these.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from leasekeeper.core.scaling import LoadMeter, LoadStatistics, ScalingStatistics
from leasekeeper.observe.counts import (
    AckStatistics,
    Counts,
    HeartbeatStatistics,
    ReceiveStatistics,
    WorkStatistics,
)
from leasekeeper.observe.durations import Durations
from leasekeeper.observe.logs import Logs
from leasekeeper.tallies import ENDS, sentence
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.channel import Channel
    from leasekeeper.core.delivery import LedgerStatistics
    from leasekeeper.core.gate import GateStatistics
    from leasekeeper.core.group import GroupStatistics
    from leasekeeper.core.idempotency_statistics import IdempotencyStatistics
    from leasekeeper.core.throttle_policy import ThrottlerStatistics
    from leasekeeper.engine.batcher import BatcherStatistics
    from leasekeeper.engine.runner import Runner
    from leasekeeper.engine.stopping import StopStatistics
    from leasekeeper.lanes.api import LaneStatistics
    from leasekeeper.lanes.routed import RouteStatistics
    from leasekeeper.observe.durations import DurationStatistics
    from leasekeeper.options import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a consumer did, from its start to its end."""

    queue: str
    """The queue's name."""
    seconds: float
    """Seconds from the start to the end."""
    received: int
    """Messages received. Each ended in one of the next eight ways, so these add up to it (`ends`)."""
    done: int = 0
    """Messages deleted because their work was done."""
    skipped: int = 0
    """Messages deleted because no handler had to see them."""
    dead_letters: int = 0
    """Messages deleted after they were copied to the dead-letter queue."""
    known_duplicates: int = 0
    """Redeliveries of finished messages, deleted without being run."""
    taken_over: int = 0
    """Redeliveries of messages that were still held here; they end as one."""
    released: int = 0
    """Messages given back, after a failure or at the stop: `given_back` says why. They come again."""
    gone: int = 0
    """Messages that left without a delete or a release, because their lease had ended; they come again."""
    unsettled: int = 0
    """Messages left without a confirmed delete or release: those `still_open`, and finished messages that could not be
    deleted earlier and may have been handled again since."""
    still_open: int = 0
    """Those of the `unsettled` that were open when it stopped, or whose leases still ran then; they come again."""
    given_back: dict[str, int] = field(default_factory=dict)
    """The `released`, by why: `failed`, `timed_out`, `retried`, `rejected`, `exhausted`, `not_started`, `ended`,
    `claimed` (another run has claimed its idempotency key), or `other`."""
    acked: int = 0
    """Deletes confirmed: the first four ways together."""
    handled: int = 0
    """Handlers that returned. This and the next five count runs of handlers, of which a message may have several."""
    failed: int = 0
    """Handlers that raised or ran into their time-out."""
    retried: int = 0
    """Runs after which the handler asked for a retry."""
    rejected: int = 0
    """Runs that found a message that can never be processed."""
    exhausted: int = 0
    """Runs that were the last allowed attempt (`max_attempts`) of a message, and failed."""
    unmatched: int = 0
    """Deliveries that none of the queue's several handlers took."""
    lost: int = 0
    """Leases that ended while the message was held."""
    stopped_by: str = ""
    """Why it stopped: `SIGTERM` or another signal, `stop()`, or what made it stop by itself."""
    draining: float = 0.0
    """Seconds of the stop for which handlers finished."""
    flushing: float = 0.0
    """Seconds of the stop for which the last deletes and releases were confirmed."""
    lifespan_error: str | None = None
    """The error with which its lifespan failed to close; None also while another consumer of its app still uses it."""

    @classmethod
    def empty(cls, queue: str) -> Report:
        """The report of a consumer that was never started."""
        return cls(queue=queue, seconds=0.0, received=0)

    @property
    def ends(self) -> dict[str, int]:
        """Where the received messages ended: counts that add up to `received`, by the names of their fields."""
        return {name: getattr(self, name) for name in ENDS}

    def __str__(self) -> str:
        error = f"; {self.lifespan_error}" if self.lifespan_error is not None else ""
        counts = {each.name: getattr(self, each.name) for each in fields(self) if each.type == "int"}
        return sentence(self.queue, counts, self.given_back, self.seconds) + self._stop() + error

    def _stop(self) -> str:
        if not self.stopped_by:
            return ""
        return f"; stopped by {self.stopped_by}: drained in {self.draining:.1f} s, flushed in {self.flushing:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerStatistics:
    """A consumer at one moment. Counts are since its start, medians of the last 63, times in seconds."""

    queue: str
    """The queue's name."""
    handler: str
    """The handler's name; those of several handlers with a / between them."""
    phase: str
    """How far the consumer has come: running, paused, quiet, draining, flushing or closed."""
    healthy: bool
    """Whether it receives, or is paused, and settles, as far as is known."""
    problem: str | None
    """The error that keeps it from working and does not pass by itself; None when there is none."""
    seconds: float
    """Seconds since the start."""
    concurrency: int
    """Handlers that may run at once."""
    slots_taken: int
    """Slots taken: by waiting and running messages, and by open polls for what they may bring."""
    pollers: int
    """Receive loops."""
    lag: float
    """How late the engine's timers fired lately, in seconds: high when many threads compete for the GIL."""
    longest_lag: float
    """The longest such lag since the start, in seconds."""
    loop_blocked: float
    """How long the event loop of its handlers has been blocked, in seconds: from 5 on; 0.0 while it is free."""
    loop_blocked_by: str
    """What blocks it: the handler, if it is one, and a function with file and line; empty while it is free."""
    work: WorkStatistics
    """How handlers ended."""
    ledger: LedgerStatistics
    """The messages held, and how they were settled."""
    lane: LaneStatistics
    """Handlers that run and messages that wait for one."""
    gate: GateStatistics | None
    """What may not start yet, by the rate, the share or for its group; None for a consumer without such options."""
    throttler: ThrottlerStatistics
    """What the throttler measured, and what it decided."""
    receives: ReceiveStatistics
    """Receives."""
    acks: AckStatistics
    """Deletes."""
    heartbeat: HeartbeatStatistics
    """Extensions of leases."""
    deletes: BatcherStatistics
    """Finished messages that wait for their delete, and delete calls."""
    extensions: BatcherStatistics
    """Leases that wait for their extension, and extension calls."""
    releases: BatcherStatistics
    """Messages that wait to be given back, and release calls."""
    groups: GroupStatistics | None
    """The message groups of a FIFO queue; None for a standard queue."""
    routes: RouteStatistics | None
    """Which of several handlers took the messages; None where the queue has one."""
    outcomes: dict[str, int]
    """Runs of messages that ended, by what followed. Each run counts once; `work` also counts by cause."""
    errors: dict[str, int]
    """Errors by SQS's code: receives that failed, and entries of batches that failed."""
    calls: dict[str, dict[str, int]]
    """Calls to SQS by operation, and by what came of them: `ok`, or the error code of the whole call."""
    dead_letters: dict[str, int]
    """Copies confirmed by the dead-letter queue, by reason: rejected, undecodable or exhausted."""
    last_receive: float | None
    """When a receive was answered last, in seconds since 1970; None before the first."""
    durations: DurationStatistics | None
    """Durations of every message and call; None until an exporter of metrics has asked for them (`measure`)."""
    load: LoadStatistics
    """How busy the consumer is, and how much it can do."""
    idempotency: IdempotencyStatistics | None = None
    """What became of messages by their idempotency keys; None without the option `idempotency`. Consumers of one queue
    that share an `Idempotency` are counted together."""
    stop: StopStatistics | None = None
    """The stop; None before it was asked for."""
    scaling: ScalingStatistics | None = None
    """How many processes the queue needs; None where SQS is not asked about the queue. The admin surface asks."""


class Observer:
    """Counts and logs what one channel tells, and makes statistics and the report of a runner."""

    def __init__(self, channel: Channel, options: Options, handler: str) -> None:
        self._handler = handler
        self._idempotency: Callable[[str], IdempotencyStatistics] | None = getattr(
            options.idempotency, "statistics", None
        )
        self._load = LoadMeter()
        self._channel = channel
        self._runner: Runner | None = None
        self._durations: Durations | None = None
        self.counts = Counts(channel)
        self.logs = Logs(channel, options.logger, options.log_repeats)
        for each in options.listeners:
            subscribe_to = getattr(each, "subscribe_to", None)
            if subscribe_to is not None:
                subscribe_to(channel)

    def attach(self, runner: Runner) -> None:
        """Observe this runner."""
        self._runner = runner
        runner.context.detail.every = self._durations is not None

    def measure(self) -> None:
        """Have every message measured from now on; may be called again, from any thread."""
        if self._durations is None:
            self._durations = Durations(self._channel)
        if self._runner is not None:
            self._runner.context.detail.every = True

    def statistics(self, runner: Runner) -> ConsumerStatistics:
        """A snapshot of everything that an operator may want to see; may be called from any thread."""
        now, counts, durations = runner.snapshot(), self.counts, self._durations
        received_at = runner.context.health.received_at
        return ConsumerStatistics(
            queue=now.queue,
            handler=self._handler,
            phase=now.phase.value,
            healthy=now.healthy,
            problem=None if now.problem is None else safe_str(now.problem),
            seconds=now.seconds,
            concurrency=now.concurrency,
            slots_taken=now.taken,
            pollers=now.pollers,
            lag=now.lag,
            longest_lag=now.longest_lag,
            loop_blocked=now.loop_blocked,
            loop_blocked_by=now.loop_blocked_by,
            work=counts.work(),
            ledger=now.ledger,
            lane=now.lane,
            gate=now.gate,
            throttler=now.throttler,
            receives=counts.receives(),
            acks=counts.acks(),
            heartbeat=counts.heartbeat(),
            deletes=now.deletes,
            extensions=now.extensions,
            releases=now.releases,
            groups=now.groups,
            routes=now.routes,
            outcomes=counts.outcomes(),
            errors=counts.errors(),
            calls=counts.calls(),
            dead_letters=counts.dead_letters(),
            last_receive=None if received_at is None else time.time() - max(0.0, runner.context.clock() - received_at),
            durations=None if durations is None else durations.read(),
            idempotency=None if self._idempotency is None else self._idempotency(now.queue),
            stop=now.stop,
            load=self._load.read(
                now.seconds,
                ended=now.busy,
                running=now.running_seconds,
                finished=now.ledger.acked + now.ledger.late,
                given_back=now.ledger.released,
                slots=now.slots,
                handler=now.throttler.handler,
            ),
        )

    def report(self, runner: Runner) -> Report:
        """What it has done so far."""
        now, work = runner.snapshot(), self.counts.work()
        ledger = now.ledger
        unsettled = ledger.unsettled + sum(ledger.held.values())
        deleted, otherwise = ledger.acked + ledger.late, ledger.deleted_by
        return Report(
            queue=now.queue,
            seconds=now.seconds,
            received=ledger.received,
            handled=work.done,
            acked=deleted,
            retried=work.retried,
            failed=work.failed,
            rejected=work.rejected,
            released=ledger.released,
            lost=ledger.lost,
            unsettled=unsettled,
            still_open=unsettled - runner.context.ledger.endings.unsettled_before,
            known_duplicates=otherwise.get("known_duplicate", 0),
            exhausted=work.exhausted,
            done=deleted - sum(otherwise.values()),
            skipped=otherwise.get("skipped", 0),
            dead_letters=otherwise.get("dead_letter", 0),
            taken_over=ledger.duplicates,
            gone=ledger.gone,
            given_back=ledger.released_by,
            unmatched=now.routes.unmatched if now.routes is not None else 0,
            stopped_by=now.stop.detail if now.stop is not None else "",
            draining=now.stop.draining if now.stop is not None else 0.0,
            flushing=now.stop.flushing if now.stop is not None else 0.0,
        )
