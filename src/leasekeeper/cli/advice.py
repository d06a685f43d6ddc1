"""Advice about scaling: the numbers for KEDA and ECS, each with the reason.

Pure. Owned by `leasekeeper scale advise`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from leasekeeper.cli.words import counted
from leasekeeper.core.scaling import (
    TARGET_UTILISATION,
    backlog_per_replica,
    capacity,
    messages_in_flight,
    wanted_replicas,
)

LAG = 60.0
"""Seconds by which the counts of SQS may be late."""
FULL = 0.95
"""The utilisation from which a process may be the bottleneck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of the consumer of a queue.

    Attributes:
        queue: its name.
        slots: messages that one process works on at the same time.
        handler: median seconds of a handler.
        prefetch: messages that may wait in one process.
        utilisation: the share of its handlers' time that is used; None: not measured.
        arrivals: messages a second that are sent; None: not measured.
        visible: messages that wait in the queue; None: not asked.
        replicas: about how many processes there are; None: not known.
        drain: seconds that handlers get at a stop; None: not known.
    """

    queue: str
    slots: int
    handler: float
    prefetch: int = 0
    utilisation: float | None = None
    arrivals: float | None = None
    visible: int | None = None
    replicas: float | None = None
    drain: float | None = None

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.queue.endswith(".fifo")


class Line(NamedTuple):
    """A number and the reason for it."""

    name: str
    value: str
    why: str


def measured_lines(now: Measured) -> list[Line]:
    """What the advice is based on."""
    each = capacity(now.slots, now.handler) or 0.0
    lines = [
        Line("handler", f"{number(now.handler)} s", "the median time of one run"),
        Line("capacity", f"{number(each)}/s", f"{counted(now.slots, 'message')} at the same time, by that median"),
    ]
    if now.utilisation is not None:
        full = "; it is full, so the backlog grows or is being worked off" if now.utilisation >= FULL else ""
        lines.append(Line("utilisation", f"{now.utilisation:.0%}", f"of the handlers' time, in the last minute{full}"))
    if now.arrivals is not None and now.replicas is not None:
        count = max(1, round(now.replicas))
        fleet = "1 process" if count == 1 else f"{count} processes"
        lines.append(Line("arrivals", f"{number(now.arrivals)}/s", f"to the queue, with about {fleet} at work"))
    if now.visible is not None:
        lines.append(Line("backlog", f"{now.visible:,}", "messages that can be received, as SQS counts them"))
    return lines


def advice(now: Measured, latency: float) -> list[Line]:
    """The numbers to set, for a backlog that is worked off within `latency` seconds."""
    in_flight, backlog = messages_in_flight(now.slots), backlog_per_replica(now.slots, now.handler, latency)
    lines = [
        Line(
            "in flight / process",
            str(in_flight),
            f"{TARGET_UTILISATION:g} of the {now.slots} that one works on: KEDA's queueLength, where it is the only "
            "number. With a larger one the fleet shrinks as soon as the backlog is gone, and grows again",
        ),
        Line(
            "visible / process", number(backlog), f"what one process finishes in {latency:g} s: ECS's backlog per task"
        ),
        Line("KEDA formula", "", f"(all - visible) / {in_flight} + visible / {backlog:g}, with the target 1"),
        Line("ECS metric math", "", f"(held / {in_flight} + visible / {backlog:g}) / tasks, with the target 1"),
    ]
    if now.arrivals is not None and now.visible is not None:
        wanted = wanted_replicas(
            arrivals=now.arrivals, backlog=now.visible, slots=now.slots, handler=now.handler, latency=latency
        )
        why = f"arrivals at a utilisation of {TARGET_UTILISATION:g}, and the backlog within {latency:g} s"
        lines.append(Line("processes now", str(wanted), why))
    return lines


def remarks(now: Measured, latency: float) -> list[str]:
    """What else matters for these numbers."""
    found = []
    if latency < 2 * LAG:
        found.append(
            f"SQS's counts are up to {LAG:g} s late and KEDA looks every 30 s, so a sudden load waits longer than "
            f"{latency:g} s at first"
        )
    if now.handler > latency:
        found.append(
            f"a handler takes {number(now.handler)} s, longer than {latency:g} s: no number of processes makes one "
            "message faster"
        )
    if now.drain is not None and now.handler > now.drain:
        found.append(
            f"a handler takes longer than drain_timeout={now.drain:g} s, so scale-in cuts handlers off: raise it with "
            "the grace period, set ecs_protection=True on ECS, or use jobs (`leasekeeper manifest kubernetes --jobs`)"
        )
    if now.prefetch > now.slots:
        found.append(
            f"{counted(now.prefetch, 'message')} may wait in each process, and count as in flight: KEDA sees them as "
            "backlog"
        )
    if now.fifo:
        found.append(
            "it is a FIFO queue: each message group keeps one handler busy at most, so more processes than busy groups "
            f"divided by {now.slots} are idle"
        )
    return found


def number(value: float) -> str:
    """A number with three digits that count: `0.0123`, `12.3`, `12,300`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
