"""Clocks of other machines: their times, as the clock of this one would have said them.

Used by a fleet. A lease with ten seconds left must not be shown as lost because a machine's clock is a minute behind.
"""

from __future__ import annotations

from typing import Any

LEAST = 1.0
"""Clocks that differ by fewer seconds count as equal: an answer may take that long on its way."""


def move_times(process: Any, by: float) -> None:
    """Move all times of a process by `by` seconds, rounded to whole ones: the latency of answers varies."""
    if abs(by) < LEAST:
        return
    by = round(by)
    _move(process, by, "started", "since")
    for consumer in process["consumers"].values():
        _move(consumer.get("backlog") or {}, by, "asked")
        detail = consumer.get("detail") or {}
        for message in detail.get("in_hand", {}).values():
            message[1:4] = [each if each is None else each + by for each in message[1:4]]
        for name in ("failures", "decisions", "leases"):
            for each in detail.get(name, ()):
                _move(each, by, "at", "first", "last")


def _move(given: dict[str, Any], by: float, *names: str) -> None:
    for name in names:
        if given.get(name):
            given[name] = round(given[name] + by, 2)
