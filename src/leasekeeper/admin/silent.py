"""Processes that do not answer: what a fleet shows of them, made from what is known.

Used by a fleet, and by the members of a supervisor, which knows why one of them is silent. It promises that figures of
what goes on now are never those of a process that has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leasekeeper.admin.state import ConsumerState, Detail, Process


def unknown(key: str, host: str, pid: int = 0) -> Process:
    """A process that has never answered; `started` is 0, because that is not known."""
    return {
        "key": key,
        "host": host,
        "pid": pid,
        "version": "",
        "started": 0.0,
        "state": "UNREACHABLE",
        "reason": "",
        "since": 0.0,
        "rss_bytes": None,
        "read_only": True,
        "consumers": {},
    }


def unreachable(known: Process, reason: str, since: float) -> Process:
    """The process without what it said last: nothing is known of it now."""
    return {
        **known,
        "state": "UNREACHABLE",
        "reason": reason,
        "since": round(since, 1),
        "rss_bytes": None,
        "consumers": {},
    }


def stopped(known: Process, reason: str, since: float) -> Process:
    """The process as it was, after its end: its totals stay, and nothing goes on in it."""
    return {
        **known,
        "state": "STOPPED",
        "reason": reason,
        "since": since,
        "rss_bytes": None,
        "consumers": {name: _at_rest(each) for name, each in known["consumers"].items()},
    }


def _at_rest(known: ConsumerState) -> ConsumerState:
    consumer: ConsumerState = {
        **known,
        "state": "STOPPED",
        "reason": "",
        "running": 0,
        "waiting": 0,
        "acking": 0,
        "utilisation": 0.0,
        "pollers": [],
        "rate_in": 0.0,
        "rate_out": 0.0,
        "rate_out_minute": 0.0,
        "failures_per_minute": 0.0,
        "lease_margin": None,
        "backlog": None if (backlog := known["backlog"]) is None else {**backlog, "trend": None, "seconds": None},
    }
    consumer.pop("blocked", None)
    if "detail" in known:
        detail: Detail = {**known["detail"], "in_hand": {}, "in_hand_total": 0}
        consumer["detail"] = detail
    return consumer
