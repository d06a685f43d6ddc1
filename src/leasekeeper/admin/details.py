"""The detail of one consumer: its messages, failures, decisions, leases and options.

Used by the watch of a surface, for those that look at one consumer. It shows no bodies.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from leasekeeper.admin.effective import effective_options
from leasekeeper.engine.in_hand import in_hand

if TYPE_CHECKING:
    from leasekeeper.admin.state import Decision, Detail, FailureGroup, InHand, LeaseNews
    from leasekeeper.consumer import Consumer
    from leasekeeper.engine.runner import Runner
    from leasekeeper.observe.recorder import Recorder

_EPOCH = time.time() - time.monotonic()


def detail_of(consumer: Consumer, recorder: Recorder) -> Detail:
    """The detail of a consumer."""
    runner = consumer.runner
    return {
        "where": ", ".join(consumer.handler_places),
        "in_hand": {} if runner is None else _in_hand(runner),
        "in_hand_total": 0 if runner is None else len(runner.context.ledger),
        "failures": _failures(recorder),
        "decisions": _decisions(recorder),
        "series": recorder.changes.series(),
        "leases": _leases(recorder),
        "options": effective_options(consumer),
    }


def _in_hand(runner: Runner) -> dict[str, InHand]:
    since = _epoch()
    return {
        each.message_id: (
            each.state,
            round(each.received + since, 2),
            None if each.started is None else round(each.started + since, 2),
            round(each.lease_end + since, 1),
            each.attempt,
            each.group,
        )
        for each in in_hand(runner.context.ledger)
    }


def _failures(recorder: Recorder) -> list[FailureGroup]:
    return [
        {
            "type": group.type,
            "where": group.where,
            "count": group.count,
            "first": round(group.first, 1),
            "last": round(group.last, 1),
            "message": group.message,
            "traceback": group.traceback,
            "ids": [message_id for message_id, _ in ids],
            "attempts": [attempt for _, attempt in ids],
        }
        for group in recorder.failures.newest_first()
        for ids in [list(group.ids.items())[::-1]]
    ]


def _decisions(recorder: Recorder) -> list[Decision]:
    return [
        {
            "at": round(change.at, 1),
            "what": change.what,
            "from": change.before,
            "to": change.after,
            "reason": change.reason,
        }
        for change in recorder.changes.newest_first()
    ]


def _leases(recorder: Recorder) -> list[LeaseNews]:
    return [
        {
            "at": round(event.at, 1),
            "what": event.what,
            "count": event.leases,
            "id": event.message_id,
            "reason": event.reason,
        }
        for event in recorder.leases()
    ]


def _epoch() -> float:
    """When the monotonic clock was 0. It is kept, so that times do not change a little each second."""
    global _EPOCH  # noqa: PLW0603 - the clock of the machine may be set
    now = time.time() - time.monotonic()
    if abs(now - _EPOCH) > 1:
        _EPOCH = now
    return _EPOCH
