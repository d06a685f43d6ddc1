"""Scaling: what one process can do, how busy it is, and how many processes a queue needs.

Pure arithmetic. Exporters, the admin surface and `leasekeeper scale` use it. It promises numbers that do not chase
themselves: a process that works at the target utilisation, at a queue without a backlog, wants no other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TARGET_UTILISATION = 0.8
"""The share of handlers' time that a fleet of the right size uses. Arrivals vary, and a full fleet has no reserve."""
LATENCY = 60.0
"""Seconds in which a backlog should be worked off, if no other time is given."""
WINDOW = 60.0
"""Seconds over which rates and the utilisation are averaged."""
STEP = 1.0
"""Seconds between two readings that are kept, at least: several exporters may ask."""
IDLE = 0.05
"""Up to this share of its slots in use, a process is nearly idle: what is in flight does not tell how many others
work."""
BUSY = 0.1
"""From this share of its slots in use, a process takes the others to be like itself, by what is in flight."""
ROUNDING = 1e-6
"""Replicas by which floats may be off."""


def capacity(slots: int, handler: float) -> float | None:
    """Messages a second that all handlers can finish; None before the first handler has ended.

    Args:
        slots: messages that may be at work at the same time.
        handler: median seconds of a handler.
    """
    return slots / handler if handler > 0 else None


def backlog_seconds(backlog: float, rate: float) -> float | None:
    """How long the messages that wait in the queue take at this rate; None when nothing is being finished.

    Args:
        backlog: visible messages.
        rate: messages a second that the whole fleet finishes.
    """
    if backlog <= 0:
        return 0.0
    return backlog / rate if rate > 0 else None


def wanted_replicas(
    *, arrivals: float, backlog: float, slots: int, handler: float, latency: float, utilisation: float = 0.8
) -> int:
    """How many processes work off what arrives, and the backlog in time; at least 1.

    Args:
        arrivals: messages a second that are sent to the queue.
        backlog: visible messages.
        slots: messages that one process works on at the same time.
        handler: median seconds of a handler; 0 or less: unknown, and one process is wanted.
        latency: seconds in which the backlog should be gone, above 0.
        utilisation: the share of handlers' time that arrivals may use.
    """
    each = capacity(slots, handler)
    if each is None:
        return 1
    steady = max(0.0, arrivals) / (each * utilisation)
    return max(1, math.ceil(steady + max(0.0, backlog) / (latency * each) - ROUNDING))


def messages_in_flight(slots: int) -> int:
    """How many messages in flight one process should have, at the target utilisation; at least 1.

    KEDA's `queueLength`, which counts messages in flight, must not be above it: the fleet would shrink as soon as the
    backlog is gone, and grow again. Nor far below it, or a busy process would ask for a second one, and these for four.
    """
    return max(1, round(TARGET_UTILISATION * slots))


def backlog_per_replica(slots: int, handler: float, latency: float) -> float:
    """How many visible messages one process works off within `latency` seconds; 0.0 while no handler was measured."""
    return (capacity(slots, handler) or 0.0) * latency


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStatistics:
    """How busy a consumer is. Rates and the utilisation are averages of about the last minute before they were read."""

    slots: int
    """Messages that may be at work at the same time: `concurrency`, times `batch` with batches."""
    busy_seconds: float
    """Seconds that handlers which have ended took, all together, since the start."""
    utilisation: float
    """The share of the handlers' time that was used, from 0 to 1; with batches, of the time of full batches."""
    rate: float
    """Messages finished a second: deletes confirmed."""
    given_back: float
    """Messages given back a second, after a failure above all."""
    capacity: float | None
    """Messages a second that all handlers can finish, by their median time; None before the first has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingStatistics:
    """How many processes a queue needs, by what SQS says of it and what this process measures.

    SQS counts approximately, and up to a minute late. All processes of the queue are taken to be like this one.
    """

    visible: int
    """Messages that can be received."""
    in_flight: int
    """Messages that this and all other consumers hold, and those in back-off."""
    delayed: int
    """Messages that become visible later."""
    growth: float | None
    """Messages a second by which the visible ones grow, or shrink (below 0); None before the second answer of SQS."""
    replicas: float
    """About how many processes consume the queue, by what is in flight. While this one is nearly idle, those of its
    supervisor: its share of the work says nothing then. 1.0 or more."""
    arrivals: float
    """Messages a second that are sent to the queue: what all processes finish, and the growth."""
    again: float
    """Messages a second that all processes give back: they come again."""
    backlog_seconds: float | None
    """Seconds that the visible messages need at the rate of all processes; None while nothing is being finished."""
    latency: float
    """Seconds in which a backlog should be worked off."""
    wanted_replicas: int
    """Processes that work off what arrives and what comes again, and the backlog within `latency`."""


def scaling(
    load: LoadStatistics,
    *,
    handler: float,
    held: float,
    hidden: int,
    visible: int,
    in_flight: int,
    usual: float,
    delayed: int,
    growth: float | None,
    latency: float,
    processes: int = 1,
) -> ScalingStatistics:
    """What one process concludes for all.

    Args:
        load: how busy it is.
        handler: its median seconds of a handler.
        held: its median seconds from receive to settled.
        hidden: messages that it gave back and that are in back-off now: SQS counts them as in flight.
        visible: as SQS says; so are `in_flight` and `delayed`.
        in_flight: see `visible`.
        usual: the average of the last numbers in flight: one alone is too uneven to estimate by.
        delayed: see `visible`.
        growth: messages a second by which `visible` grows; None: not known.
        latency: seconds in which a backlog should be worked off.
        processes: those known to consume the queue, with this one, 1 or more: the processes of its supervisor.
    """
    ended = load.rate + load.given_back
    work = ended * held if ended > 0 else load.utilisation * load.slots
    replicas = _replicas(work, load=load, hidden=hidden, in_flight=usual, known=processes)
    rate, again = replicas * load.rate, replicas * load.given_back
    if ended <= 0 < held:
        rate = replicas * work / held  # no handler has ended, and those that run will
    arrivals = max(0.0, rate + (growth or 0.0))
    return ScalingStatistics(
        visible=visible,
        in_flight=in_flight,
        delayed=delayed,
        growth=growth,
        replicas=replicas,
        arrivals=arrivals,
        again=again,
        backlog_seconds=backlog_seconds(visible, rate),
        latency=latency,
        wanted_replicas=wanted_replicas(
            arrivals=arrivals + again, backlog=visible, slots=load.slots, handler=handler, latency=latency
        ),
    )


def _replicas(work: float, *, load: LoadStatistics, hidden: int, in_flight: float, known: int) -> float:
    """How many processes consume the queue, if they are like this one; at least those that are known.

    All that is in flight, divided by what is in flight because of this process: by Little's law its rate times the
    seconds for which it holds a message, and its messages in back-off, which are in flight too.

    Other messages in flight may also be no work: those in back-off elsewhere, and those of a process that was killed.
    If this process is nearly idle, they would become thousands of processes. So only those known count then.
    """
    found = max(float(known), in_flight / (work + hidden)) if work > 0 else float(known)
    share = max(work / load.slots, load.utilisation)
    trust = min(1.0, max(0.0, (share - IDLE) / (BUSY - IDLE)))
    return known + (found - known) * trust


class LoadMeter:
    """Averages what is counted, whenever it is read; nothing is measured in between.

    Its readings are replaced as a whole, so that several threads may read.
    """

    def __init__(self) -> None:
        self._readings: tuple[tuple[float, float, float, float], ...] = ((0.0, 0.0, 0.0, 0.0),)

    def read(
        self, at: float, *, ended: float, running: float, finished: int, given_back: int, slots: int, handler: float
    ) -> LoadStatistics:
        """Take a reading, and compare it with one of about `WINDOW` seconds before.

        Args:
            at: seconds since the start of the consumer.
            ended: seconds that handlers which have ended took.
            running: seconds for which the handlers that run now have been at work.
            finished: messages finished since the start.
            given_back: messages given back since the start.
            slots: messages that may be at work at the same time.
            handler: median seconds of a handler; 0.0 before the first.
        """
        readings, busy = self._readings, ended + running
        recent = tuple(each for each in readings if at - each[0] <= WINDOW)
        if len(recent) < len(readings):  # the newest of those before the window is the one to compare with
            recent = (readings[len(readings) - len(recent) - 1], *recent)
        since, busy_then, finished_then, back_then = recent[0]
        if at - recent[-1][0] >= STEP:
            recent = (*recent, (at, busy, float(finished), float(given_back)))
        self._readings = recent
        seconds = at - since
        return LoadStatistics(
            slots=slots,
            busy_seconds=ended,
            utilisation=min(1.0, max(0.0, busy - busy_then) / (seconds * slots)) if seconds > 0 else 0.0,
            rate=max(0.0, finished - finished_then) / seconds if seconds > 0 else 0.0,
            given_back=max(0.0, given_back - back_then) / seconds if seconds > 0 else 0.0,
            capacity=capacity(slots, handler),
        )

    def __repr__(self) -> str:
        return f"<LoadMeter {len(self._readings)} readings>"
