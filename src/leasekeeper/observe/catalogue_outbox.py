"""The metrics of outboxes: part of the catalogue. A relay gives them for each queue that has had rows."""

from __future__ import annotations

from operator import attrgetter

from leasekeeper.observe.metric import Kind, Metric, Unit


def _metric(name: str, kind: Kind, attribute: str, meaning: str, advice: str) -> Metric:
    full, read = f"leasekeeper_outbox_{name}", attrgetter(attribute)
    unit = Unit.SECONDS if name.endswith("_seconds") else Unit.MESSAGES
    return Metric(name=full, kind=kind, unit=unit, meaning=meaning, advice=advice, read=read, source="outbox")


OUTBOX = (
    _metric(
        "sent_total",
        Kind.COUNTER,
        "sent",
        "Messages of an outbox that SQS has confirmed and whose rows are deleted.",
        "The throughput of the relay.",
    ),
    _metric(
        "retried_total",
        Kind.COUNTER,
        "retried",
        "Rows that could not be sent and are tried again, each time counted.",
        "When it rises, `leasekeeper outbox status` shows the errors.",
    ),
    _metric(
        "waiting_messages",
        Kind.GAUGE,
        "waiting",
        "Rows that are due and not sent, counted up to 100,000.",
        "When it grows, the relay is too slow or the queue cannot be used: look at the log, run more relays.",
    ),
    _metric(
        "scheduled_messages",
        Kind.GAUGE,
        "scheduled",
        "Rows with a delay that are due later, counted up to 100,000.",
        "For information.",
    ),
    _metric(
        "failed_messages",
        Kind.GAUGE,
        "failed",
        "Rows that are set aside because SQS cannot take them.",
        "Alert above 0: `leasekeeper outbox status` shows why; `leasekeeper outbox retry` tries them again.",
    ),
    _metric(
        "oldest_seconds",
        Kind.GAUGE,
        "oldest",
        "The lag: time since the oldest row that waits was due; 0 without one.",
        "Alert when it exceeds what receivers of the messages can wait.",
    ),
)
