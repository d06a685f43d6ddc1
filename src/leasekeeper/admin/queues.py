"""The queues of a state: what all processes together do with each, and its backlog counted once.

Used by surfaces and by `leasekeeper top`. Several processes of a fleet consume one queue: its messages must not be
counted for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.scaling import backlog_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from leasekeeper.admin.state import Process, QueueState


def queues_of(processes: Iterable[Process]) -> dict[str, QueueState]:
    """The queues by name, in the order in which they are met."""
    found: dict[str, QueueState] = {}
    rates: dict[str, float] = {}
    for process in processes:
        for name, consumer in process["consumers"].items():
            queue = found.setdefault(name, {"processes": 0, "rate_in": 0.0, "rate_out": 0.0, "backlog": None})
            queue["processes"] += 1
            queue["rate_in"] = round(queue["rate_in"] + consumer["rate_in"], 2)
            queue["rate_out"] = round(queue["rate_out"] + consumer["rate_out"], 2)
            rates[name] = rates.get(name, 0.0) + consumer["rate_out_minute"]
            backlog, known = consumer.get("backlog"), queue["backlog"]
            if backlog is not None and (known is None or backlog["asked"] > known["asked"]):
                queue["backlog"] = backlog
    for name, queue in found.items():
        if queue["backlog"] is not None:
            seconds = backlog_seconds(queue["backlog"]["visible"], rates[name])
            queue["backlog"] = {**queue["backlog"], "seconds": None if seconds is None else round(seconds, 1)}
    return found
