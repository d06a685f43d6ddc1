"""The catalogue of metrics: every number that exporters write about a consumer, with its meaning and what to do.

Owned by the exporters (`observe/prometheus.py`, `observe/emf.py`) and by the page of metrics in the reference, which is
written from it. It promises that all of them have the same names and values.

Medians are of samples that the engine keeps anyway. Histograms are of every message: consumers measure all of them from
the moment when an exporter exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.phases import Phase
from leasekeeper.engine.stopping import StopReason
from leasekeeper.observe.catalogue_outbox import OUTBOX
from leasekeeper.observe.metric import Kind, Metric, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.gate import GateStatistics
    from leasekeeper.core.group import GroupStatistics
    from leasekeeper.core.idempotency_statistics import IdempotencyStatistics
    from leasekeeper.core.scaling import ScalingStatistics
    from leasekeeper.observe.durations import DurationStatistics
    from leasekeeper.observe.metric import Reading
    from leasekeeper.observe.statistics import ConsumerStatistics

    Reader = Callable[[ConsumerStatistics], Reading]

_STOPS = [reason.value for reason in StopReason]
_PHASES = [phase.value for phase in Phase if phase not in {Phase.NEW, Phase.STARTING}]


def _own(label: str | tuple[str, ...]) -> tuple[str, ...]:
    return (label,) if isinstance(label, str) else label


def _counter(
    name: str, unit: Unit, meaning: str, advice: str, read: Reader, *, label: str | tuple[str, ...] = ()
) -> Metric:
    full = f"leasekeeper_{name}_total"
    return Metric(name=full, kind=Kind.COUNTER, unit=unit, meaning=meaning, advice=advice, read=read, own=_own(label))


def _gauge(
    name: str, unit: Unit, meaning: str, advice: str, read: Reader, *, label: str | tuple[str, ...] = ()
) -> Metric:
    full = f"leasekeeper_{name}"
    return Metric(name=full, kind=Kind.GAUGE, unit=unit, meaning=meaning, advice=advice, read=read, own=_own(label))


def _median(name: str, meaning: str, advice: str, read: Callable[[ConsumerStatistics], float]) -> Metric:
    """A median of the last 63; 0.0 stands for none yet."""
    return _gauge(f"{name}_median_seconds", Unit.SECONDS, meaning, advice, lambda now: read(now) or None)


def _histogram(
    name: str,
    meaning: str,
    advice: str,
    read: Callable[[DurationStatistics], Reading],
    *,
    label: str | tuple[str, ...] = (),
) -> Metric:
    def found(now: ConsumerStatistics) -> Reading:
        return None if now.durations is None else read(now.durations)

    full = f"leasekeeper_{name}_seconds"
    return Metric(
        name=full, kind=Kind.HISTOGRAM, unit=Unit.SECONDS, meaning=meaning, advice=advice, read=found, own=_own(label)
    )


def _gate(read: Callable[[GateStatistics], Reading]) -> Reader:
    return lambda now: None if now.gate is None else read(now.gate)


def _idempotency(read: Callable[[IdempotencyStatistics], Reading]) -> Reader:
    return lambda now: None if now.idempotency is None else read(now.idempotency)


def _groups(read: Callable[[GroupStatistics], Reading]) -> Reader:
    return lambda now: None if now.groups is None else read(now.groups)


def _scaling(read: Callable[[ScalingStatistics], Reading]) -> Reader:
    return lambda now: None if now.scaling is None else read(now.scaling)


CATALOGUE: tuple[Metric, ...] = (
    _gauge(
        "healthy",
        Unit.YES_OR_NO,
        "Whether the consumer receives, or is paused, and settles.",
        "Alarm when it is 0 for minutes while the phase is running: the log says why.",
        lambda now: now.healthy,
    ),
    _gauge(
        "problem",
        Unit.YES_OR_NO,
        "Whether there is an error that does not pass by itself: the queue is gone, or a permission is missing.",
        "Alarm when it is 1: a person has to change the queue or the permissions.",
        lambda now: now.problem is not None,
    ),
    _gauge(
        "phase",
        Unit.YES_OR_NO,
        "1 for the phase that the consumer is in, 0 for the others.",
        "Leave consumers that drain out of alarms.",
        lambda now: {phase: phase == now.phase for phase in _PHASES},
        label="phase",
    ),
    _gauge(
        "uptime_seconds",
        Unit.SECONDS,
        "Time since the consumer's start.",
        "Many small values: the process is started again and again.",
        lambda now: now.seconds,
    ),
    _counter(
        "stops",
        Unit.NUMBER,
        "Stops that were asked for, by reason: signal, call (`stop()`, the admin surface), unusable or loop_closed.",
        "Alarm on unusable and loop_closed. A process that has ended is not scraped: its last log line has the reason.",
        lambda now: {each: int(now.stop is not None and now.stop.reason == each) for each in _STOPS},
        label="reason",
    ),
    _gauge(
        "stop_seconds",
        Unit.SECONDS,
        "Time of the stop so far, by phase: draining (handlers finish), flushing (deletes are confirmed).",
        "draining near `drain_timeout`: handlers are cut off; raise it, with the grace period.",
        lambda now: None if now.stop is None else {"draining": now.stop.draining, "flushing": now.stop.flushing},
        label="phase",
    ),
    # Work
    _counter(
        "messages_received",
        Unit.MESSAGES,
        "Messages received.",
        "Its rate is the load of this process.",
        lambda now: now.ledger.received,
    ),
    _counter(
        "handled",
        Unit.MESSAGES,
        "Runs of messages that ended, each once, by what followed; not_started and skipped called no handler.",
        "Alarm on the rate of failed, timed_out and exhausted; undecodable and rejected need a look at the senders.",
        lambda now: now.outcomes,
        label="outcome",
    ),
    _gauge(
        "payload_bytes",
        Unit.BYTES,
        "Bytes of payloads from S3 that were fetched, or are being fetched; with the option `payloads`.",
        "Near `payload_memory`: messages wait for memory; raise it, or lower concurrency or prefetch.",
        lambda now: now.lane.payload_bytes,
    ),
    _counter(
        "handler_errors",
        Unit.HANDLERS,
        "Handlers that raised or ran into `handler_timeout`, whatever followed.",
        "Compare it with handled: the share of runs that fail.",
        lambda now: now.work.failed,
    ),
    _histogram(
        "handler",
        "Time of each handler; with batches, that of its batch for each message.",
        "Alarm on a quantile that you have promised; its rate of count times its mean is the handlers needed at once.",
        lambda each: each.handler,
    ),
    _histogram(
        "buffer",
        "Time from received to started, of each message.",
        "Raise concurrency, or lower prefetch, if messages wait long in this process.",
        lambda each: each.buffer,
    ),
    _histogram(
        "lag",
        "Time from sent to received, of each message received for the first time. It compares two clocks.",
        "It rises when messages wait in the queue: add processes or concurrency.",
        lambda each: each.lag,
    ),
    _median(
        "handler",
        "Median time of a handler.",
        "Multiply it by the rate: so many handlers have to run at the same time.",
        lambda now: now.throttler.handler,
    ),
    _median(
        "held",
        "Median time from received to settled.",
        "Much longer than the handler: messages wait here, or for their delete.",
        lambda now: now.throttler.held_seconds,
    ),
    _median(
        "buffer",
        "Median time from received to started.",
        "Raise concurrency, or lower prefetch, if messages wait long in this process.",
        lambda now: now.work.waited,
    ),
    _median(
        "lag",
        "Median time from sent to received, of messages received for the first time. It compares two clocks.",
        "It rises when messages wait in the queue: add processes or concurrency.",
        lambda now: now.receives.lag,
    ),
    _gauge(
        "handlers_running",
        Unit.HANDLERS,
        "Handlers that run now.",
        "Divided by concurrency_limit it is the utilisation at this moment.",
        lambda now: now.lane.running,
    ),
    _gauge(
        "handlers_waiting",
        Unit.MESSAGES,
        "Messages that wait for a handler.",
        "It should be small; the throttler keeps it so.",
        lambda now: now.lane.waiting,
    ),
    _gauge(
        "workers",
        Unit.NUMBER,
        "Threads, tasks or processes that exist to run handlers.",
        "More than concurrency for long: threads are stuck after `handler_timeout`.",
        lambda now: now.lane.workers,
    ),
    _counter(
        "worker_deaths",
        Unit.NUMBER,
        "Worker processes that died (`lane='processes'`), by reason: crash (in native code), killed (by a signal), "
        "memory (the kernel or `kill_rss`), timeout, exit (it called `os._exit`), start (before it was ready).",
        "Each costs one message a retry. crash and memory: the log names the messages. start: messages wait.",
        lambda now: now.lane.deaths,
        label="reason",
    ),
    _gauge(
        "concurrency_limit",
        Unit.HANDLERS,
        "Handlers that may run at once.",
        "The base of the utilisation.",
        lambda now: now.concurrency,
    ),
    _gauge(
        "utilisation",
        Unit.SHARE,
        "The share of the handlers' time that was used, over about the last minute.",
        "Near 1 all the time: add processes or concurrency. Below 0.3 all the time: fewer processes are enough.",
        lambda now: now.load.utilisation,
    ),
    _gauge(
        "capacity_messages_per_second",
        Unit.MESSAGES,
        "Messages a second that all handlers of this process can finish, by their median time.",
        "Add it up over all processes and compare it with the rate of messages_received.",
        lambda now: now.load.capacity,
    ),
    _counter(
        "busy_seconds",
        Unit.SECONDS,
        "Time that handlers which have ended took, all together; with batches, once for each message.",
        "Its rate, divided by slots, is the utilisation over any time you like.",
        lambda now: now.load.busy_seconds,
    ),
    _gauge(
        "slots",
        Unit.MESSAGES,
        "Messages that may be at work at the same time: `concurrency`, times `batch` with batches.",
        "The base of the utilisation.",
        lambda now: now.load.slots,
    ),
    _gauge(
        "queue_messages",
        Unit.MESSAGES,
        "Messages of the queue, by state: about, and up to a minute late, as SQS counts them. Only with an admin "
        "surface.",
        "in_flight is of all consumers. Alarm on backlog_seconds, not on a number of messages.",
        _scaling(lambda found: {"visible": found.visible, "in_flight": found.in_flight, "delayed": found.delayed}),
        label="state",
    ),
    _gauge(
        "backlog_seconds",
        Unit.SECONDS,
        "Time that the visible messages need at the present rate of all processes. Only with an admin surface.",
        "Alarm when it stays above the latency that you promise. It is missing while nothing is finished.",
        _scaling(lambda found: found.backlog_seconds),
    ),
    _gauge(
        "arrivals_messages_per_second",
        Unit.MESSAGES,
        "Messages a second that are sent to the queue, about. Only with an admin surface.",
        "Compare it with the sum of capacity_messages_per_second.",
        _scaling(lambda found: found.arrivals),
    ),
    _gauge(
        "wanted_replicas",
        Unit.NUMBER,
        "Processes that work off what arrives at a utilisation of 0.8, and the backlog within a minute. Only with an "
        "admin surface.",
        "Scale by its average over all processes.",
        _scaling(lambda found: found.wanted_replicas),
    ),
    _counter(
        "routed",
        Unit.MESSAGES,
        "Messages given to each of the queue's several handlers. Each run counts.",
        "Which kind of message makes the load.",
        lambda now: None if now.routes is None else now.routes.taken,
        label="handler",
    ),
    _counter(
        "unmatched",
        Unit.MESSAGES,
        "Messages that none of the queue's several handlers took.",
        "Alarm when it rises: a sender has a new kind of message.",
        lambda now: None if now.routes is None else now.routes.unmatched,
    ),
    # Messages here, and their leases
    _gauge(
        "in_hand",
        Unit.MESSAGES,
        "Messages held now, by state.",
        "acking or releasing stay high: SQS does not confirm; lease_lost: handlers run without a lease.",
        lambda now: now.ledger.held,
        label="state",
    ),
    _gauge(
        "in_hand_limit",
        Unit.MESSAGES,
        "How many messages the throttler lets the consumer hold.",
        "Lower than concurrency: there is little to do, or receives are slow.",
        lambda now: now.throttler.limit,
    ),
    _gauge(
        "prefetch_limit",
        Unit.MESSAGES,
        "How many messages the throttler lets wait for a handler.",
        "High: receives are slow against handlers.",
        lambda now: now.throttler.prefetch,
    ),
    _gauge(
        "slots_taken",
        Unit.MESSAGES,
        "Slots taken by messages, and by open polls for what they may bring.",
        "For questions about polling; no alarm.",
        lambda now: now.slots_taken,
    ),
    _counter(
        "leases_lost",
        Unit.MESSAGES,
        "Leases that ended while the message was held.",
        "Alarm when it rises: the network, the credentials, or a process without CPU.",
        lambda now: now.ledger.lost,
    ),
    _counter(
        "leases_lost_running",
        Unit.MESSAGES,
        "Leases that ended while the handler ran: another consumer may run the same message.",
        "As leases_lost; these messages may be done twice.",
        lambda now: now.work.lost_running,
    ),
    _gauge(
        "lease_margin_seconds",
        Unit.SECONDS,
        "Least time of lease left at a confirmed delete in the last one to two minutes; missing without a delete.",
        "Near 0: raise `visibility_timeout`.",
        lambda now: now.ledger.recent_margin,
    ),
    _counter(
        "heartbeats",
        Unit.MESSAGES,
        "Extensions of leases, by result.",
        "failed rises: look at errors, and at leases_lost.",
        lambda now: {"extended": now.heartbeat.extended, "failed": now.heartbeat.failed},
        label="result",
    ),
    # Settled
    _counter(
        "deletes",
        Unit.MESSAGES,
        "Deletes, by result: confirmed; late (confirmed after the lease had ended); failed (most are tried again).",
        "late: the message may be delivered again; raise `visibility_timeout`.",
        lambda now: {"confirmed": now.ledger.acked, "late": now.ledger.late, "failed": now.acks.failed},
        label="result",
    ),
    _median(
        "delete",
        "Median time of a delete call.",
        "It rises: SQS or the network is slow.",
        lambda now: now.acks.seconds,
    ),
    _counter(
        "unsettled",
        Unit.MESSAGES,
        "Finished messages without a confirmed delete; they come again, unless another consumer deletes them first.",
        "Alarm when it rises: deletes are refused, see errors.",
        lambda now: now.ledger.unsettled,
    ),
    _counter(
        "released",
        Unit.MESSAGES,
        "Messages given back, by how their run ended; not_started at a stop; claimed: another run has claimed the key; "
        "other: none of these.",
        "Each costs the message a receive count.",
        lambda now: now.ledger.released_by,
        label="why",
    ),
    _counter(
        "dead_letters",
        Unit.MESSAGES,
        "Copies confirmed by the dead-letter queue, by reason. What SQS moves by its redrive policy is not among them.",
        "Alarm when it rises; `leasekeeper peek` of the dead-letter queue shows the causes.",
        lambda now: now.dead_letters,
        label="reason",
    ),
    _counter(
        "dead_letters_unexplained",
        Unit.MESSAGES,
        "Those of them without the attribute `leasekeeper.failure`, for which SQS left no room.",
        "Their cause is in the log only.",
        lambda now: now.work.unexplained,
    ),
    _counter(
        "duplicates",
        Unit.MESSAGES,
        "Redeliveries, by kind: of messages running here, and of finished ones, which are deleted without being run.",
        "It rises: leases end too early, or deletes are late.",
        lambda now: {"running": now.ledger.duplicates, "finished": now.ledger.known_duplicates},
        label="kind",
    ),
    _gauge(
        "remembered_ids",
        Unit.MESSAGES,
        "Ids of finished messages that are remembered, to know their redeliveries.",
        "For questions about memory; no alarm.",
        lambda now: now.ledger.remembered,
    ),
    # Calls
    _counter(
        "receives",
        Unit.CALLS,
        "Receives, by result: full (as many messages as were asked for), short (fewer), empty or error.",
        "error rises: look at errors. Most are full: there is a backlog. Many are empty: that is what long polls cost.",
        lambda now: {
            "full": now.receives.full,
            "short": now.receives.calls - now.receives.empty - now.receives.full,
            "empty": now.receives.empty,
            "error": now.receives.failed,
        },
        label="result",
    ),
    _counter(
        "calls",
        Unit.CALLS,
        "Calls of SQS that were answered or failed, by operation, and by `ok` or the error code of the whole call.",
        "SQS charges for calls: divide its rate by that of handled.",
        lambda now: now.calls,
        label=("operation", "code"),
    ),
    _histogram(
        "call",
        "Time of each call, by operation. A receive includes its wait for messages, 20 seconds at most.",
        "DeleteMessageBatch rises: SQS or the network is slow.",
        lambda each: each.calls,
        label="operation",
    ),
    _gauge(
        "last_receive_timestamp_seconds",
        Unit.SECONDS,
        "When a receive was answered last, in seconds since 1970; an empty answer counts.",
        "Alarm when it is minutes ago while the phase is running.",
        lambda now: now.last_receive,
    ),
    _counter(
        "errors",
        Unit.NUMBER,
        "Receives that failed, and entries of batches that failed, by SQS's code.",
        "AccessDenied: `leasekeeper doctor` names the permission. Throttling: SQS or KMS limits the account.",
        lambda now: now.errors,
        label="code",
    ),
    _gauge(
        "batch_waiting",
        Unit.MESSAGES,
        "Messages that wait for a batch call, by what for.",
        "It grows: SQS does not answer.",
        lambda now: {
            "delete": now.deletes.waiting,
            "extend": now.extensions.waiting,
            "release": now.releases.waiting,
        },
        label="purpose",
    ),
    _gauge(
        "batch_calls_in_flight",
        Unit.CALLS,
        "Batch calls without an answer yet, by what for.",
        "It stays high: SQS does not answer.",
        lambda now: {
            "delete": now.deletes.in_flight,
            "extend": now.extensions.in_flight,
            "release": now.releases.in_flight,
        },
        label="purpose",
    ),
    _gauge(
        "pollers",
        Unit.POLLERS,
        "Receive loops that exist.",
        "For questions about polling; no alarm.",
        lambda now: now.pollers,
    ),
    _gauge(
        "pollers_wanted",
        Unit.POLLERS,
        "Receive loops that the throttler wants.",
        "At the most that `max_pollers` allows, with a lag that rises: receives are the bottleneck.",
        lambda now: now.throttler.pollers,
    ),
    _gauge(
        "receive_latency_seconds",
        Unit.SECONDS,
        "Average time of a receive that did not wait for messages.",
        "It rises: SQS or the network is slow.",
        lambda now: now.throttler.latency or None,
    ),
    # The engine, limits and groups
    _gauge(
        "engine_lag_seconds",
        Unit.SECONDS,
        "How late the engine's timers fired lately.",
        "Above 1: handlers in threads keep the GIL; use processes, or fewer threads.",
        lambda now: now.lag,
    ),
    _gauge(
        "engine_lag_longest_seconds",
        Unit.SECONDS,
        "The longest such lag since the start.",
        "Keep `visibility_timeout` well above it.",
        lambda now: now.longest_lag,
    ),
    _gauge(
        "handler_loop_blocked_seconds",
        Unit.SECONDS,
        "How long the event loop of the handlers has been blocked: from 5 s on; 0 while it is free.",
        "Alarm when it is above 0: an `async def` handler blocks the others; the log names the line.",
        lambda now: now.loop_blocked,
    ),
    _gauge(
        "gate_waiting",
        Unit.MESSAGES,
        "Messages here that may not start yet: for their group (`group_concurrency`), or by `rate` or `share`.",
        "group stays high: one tenant has more work than it may use.",
        _gate(lambda gate: {"group": gate.limited, "limit": gate.waiting - gate.limited}),
        label="reason",
    ),
    _gauge(
        "gate_groups",
        Unit.GROUPS,
        "Groups of messages that wait at the gate.",
        "How many tenants take turns.",
        _gate(lambda gate: gate.groups),
    ),
    _gauge(
        "rate_tokens",
        Unit.MESSAGES,
        "Handlers that `rate` lets start at once.",
        "0 all the time: the rate limits the consumer.",
        _gate(lambda gate: gate.tokens),
    ),
    _gauge(
        "groups",
        Unit.GROUPS,
        "Message groups of a FIFO queue of which a message is held, by state; other: between two messages.",
        "halted above 0: a group cannot get past its first message; the log names it.",
        _groups(
            lambda groups: {
                "running": groups.running,
                "backing_off": groups.backing_off,
                "halted": groups.halted,
                "other": max(0, groups.held - groups.running - groups.backing_off - groups.halted),
            }
        ),
        label="state",
    ),
    _gauge(
        "group_messages_waiting",
        Unit.MESSAGES,
        "Messages that wait behind the first one of their group.",
        "High with few groups: more consumers would not help; use more message groups.",
        _groups(lambda groups: groups.waiting),
    ),
    _counter(
        "group_given_back",
        Unit.MESSAGES,
        "Messages given back because an earlier one of their group was released or lost.",
        "It rises with failures; each costs the message a receive count.",
        _groups(lambda groups: groups.given_back),
    ),
    *OUTBOX,
    # Idempotency
    _counter(
        "idempotency_messages",
        Unit.MESSAGES,
        "Messages by what was found of their idempotency key: claimed (run), done (deleted unrun), running (given back "
        "until another run ends), mismatched (rejected) or missing.",
        "done is what the option saves. running rises: duplicates come while the first one runs. Look at mismatched.",
        _idempotency(
            lambda keys: {
                "claimed": keys.claimed,
                "done": keys.done,
                "running": keys.running,
                "mismatched": keys.mismatched,
                "missing": keys.missing,
            }
        ),
        label="found",
    ),
    _counter(
        "idempotency_conflicts",
        Unit.MESSAGES,
        "Runs that ended well after another run had claimed their key: their work was done twice.",
        "Alarm when it rises: leases end while handlers run, see leases_lost_running.",
        _idempotency(lambda keys: keys.conflicts),
    ),
    _counter(
        "idempotency_store_errors",
        Unit.CALLS,
        "Calls that the store of idempotency keys did not answer, or refused.",
        "Alarm when it rises: messages wait, and nothing runs; the log says why.",
        _idempotency(lambda keys: keys.store_errors),
    ),
)
