"""Advice about scaling: the numbers for KEDA and ECS, each with the reason.

Pure. Owned by `leasekeeper scale advise`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from statistics import mean
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from leasekeeper.cli.words import ago, counted
from leasekeeper.core.scaling import (
    TARGET_UTILISATION,
    WINDOW,
    backlog_per_replica,
    capacity,
    messages_in_flight,
    wanted_replicas,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LatencyOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="The time in which a backlog should be worked off.", min=1)
]
LAG = 60.0
"""Seconds by which the counts of SQS may be late."""
ELSEWHERE = 2.0
"""If SQS counts this many times more messages in flight than are held here, other machines consume the queue too."""
FAILING = 0.5
"""The share of failed runs above which the times of handlers say nothing about their work."""
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
        rate: messages a second that this process finishes.
        growth: messages a second by which `visible` grows.
        replicas: about how many processes there are; None: not known.
        counted: whether `replicas` was counted, and is no estimate of one process.
        age: seconds since SQS was asked for `visible`; None: not known.
        drain: seconds that handlers get at a stop; None: not known.
        held: messages that these processes hold now.
        in_flight: messages that all processes hold, as SQS counts; None: not asked.
        given_back: messages a second that this process gives back.
        again: messages a second that all processes give back: they come again.
        seconds: since the start of the process; of several, of the one that was started first.
    """

    queue: str
    slots: int
    handler: float
    prefetch: int = 0
    utilisation: float | None = None
    arrivals: float | None = None
    visible: int | None = None
    rate: float = 0.0
    growth: float = 0.0
    replicas: float | None = None
    counted: bool = False
    age: float | None = None
    drain: float | None = None
    held: int = 0
    in_flight: float | None = None
    given_back: float = 0.0
    again: float = 0.0
    seconds: float = inf

    @property
    def failing(self) -> float:
        """The share of the runs of the last minute that ended with the message given back."""
        return self.given_back / (self.rate + self.given_back) if self.given_back > 0 else 0.0

    @property
    def young(self) -> bool:
        """Whether it has worked for too short a time to say anything of the queue, or of other processes."""
        return self.seconds < WINDOW

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
    if now.arrivals is not None and now.replicas is not None and not now.young:
        count = max(1, round(now.replicas))
        fleet = "1 process" if count == 1 else f"{count} processes"
        why = f"to the queue, with about {fleet} at work"
        if now.counted:
            why = f"to the queue, by what the {fleet} here finish; those of other machines are not counted"
        lines.append(Line("arrivals", f"{number(now.arrivals)}/s", why))
    if now.visible is not None:
        lines.append(
            Line("backlog", f"{now.visible:,}", f"messages that can be received, counted by SQS {ago(now.age)}")
        )
    return lines


def advice(now: Measured, latency: float) -> list[Line]:
    """The numbers to set, for a backlog that is worked off within `latency` seconds; none while most runs fail."""
    if now.failing > FAILING:
        return []
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
    if now.arrivals is not None and now.visible is not None and not now.young:
        wanted = wanted_replicas(
            arrivals=now.arrivals + now.again,
            backlog=now.visible,
            slots=now.slots,
            handler=now.handler,
            latency=latency,
        )
        why = f"arrivals at a utilisation of {TARGET_UTILISATION:g}, and the backlog of {ago(now.age)} "
        why += f"within {latency:g} s"
        lines.append(Line("processes now", str(wanted), why))
    return lines


def remarks(now: Measured, latency: float) -> list[str]:
    """What else matters for these numbers."""
    if now.failing > FAILING:
        share = f"{now.failing:.0%} of the runs failed in the last minute, so there is no advice"
        return [f"{share}: their times are not those of work. Ask again when handlers succeed"]
    found = []
    if now.young:
        found.append(
            f"the process has worked for {now.seconds:.0f} s: ask again when it has worked for {WINDOW:g} s, for the "
            "arrivals and the number of processes"
        )
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
    if now.counted and now.in_flight is not None and now.in_flight > ELSEWHERE * now.held > 0:
        times = now.in_flight / now.held
        found.append(
            f"SQS counts {now.in_flight:,.0f} messages in flight, and the processes here hold {now.held:,}: other "
            f"machines consume the queue too, so arrivals and processes are about {number(times)} times these"
        )
    if now.fifo:
        found.append(
            "it is a FIFO queue: each message group keeps one handler busy at most, so more processes than busy groups "
            f"divided by {now.slots} are idle"
        )
    return found


def together(found: Sequence[Measured]) -> Measured:
    """The processes of one queue as one answer: means of what each measures, and the arrivals of all.

    One process can only estimate the arrivals at its queue. For several they are counted: what all finish, and what the
    backlog grows by.
    """
    first = found[0]
    if len(found) == 1:
        return first
    used = [each.utilisation for each in found if each.utilisation is not None]
    newest = min(found, key=lambda each: inf if each.age is None else each.age)
    return replace(
        first,
        slots=max(each.slots for each in found),
        handler=mean(each.handler for each in found),
        prefetch=max(each.prefetch for each in found),
        utilisation=mean(used) if used else None,
        arrivals=None if newest.visible is None else max(0.0, sum(each.rate for each in found) + newest.growth),
        visible=newest.visible,
        age=newest.age,
        replicas=len(found),
        counted=True,
        held=sum(each.held for each in found),
        in_flight=newest.in_flight,
        given_back=sum(each.given_back for each in found),
        again=sum(each.given_back for each in found),
        rate=sum(each.rate for each in found),
        seconds=max(each.seconds for each in found),
    )


def number(value: float) -> str:
    """A number with three digits that count: `0.0123`, `12.3`, `12,300`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
