"""The conditions of a simulation with a FIFO queue, all of them drawn from one seed.

Used by `fifo_simulation.py`. The same seed and kind always give the same conditions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any

from conditions import CHANGE, COPY, DELETE, RECEIVE, SILENT

if TYPE_CHECKING:
    from leasekeeper.option_values import OptionValues


class Kind(Enum):
    """What happens to the consumers besides the failures of their handlers, which happen in every kind."""

    FAILURES = "failures"
    """Nothing else: the network is quick, and no consumer is stopped before the end."""
    STOPS = "stops"
    """Consumers are stopped, some of them by force, and others take their place."""
    NETWORK = "network"
    """Calls fail, answers are lost or late, and single entries of batches fail or only seem to."""
    EVERYTHING = "everything"
    """All of that, and consumers are killed, or suspended for longer than their leases."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happens to a consumer, or to the queue, at one moment.

    Attributes:
        at: seconds since the start.
        what: "stop", "force", "kill", "suspend" or "send".
        pick: chooses the consumer among those that run.
        seconds: how long a suspension lasts.
    """

    at: float
    what: str
    pick: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FifoConditions:
    """What a simulation is made of. Times are in seconds, shares between 0 and 1.

    Attributes:
        groups: how many message groups there are.
        messages: how many messages are sent at the start; each incident "send" sends a fifth as many.
        work: the shortest and the longest time of a handler.
        slow: the share of runs that take three times the visibility timeout.
        failing: the share of runs that do not succeed.
        poison: the share of messages that never succeed.
        stubborn: the share of messages whose visibility the server does not change for a while, and of those that it
            does not delete for a while.
        late: the share of calls whose answer is up to `latest` seconds late.
        working: how long the simulation lasts before its faults end.
    """

    seed: int
    kind: Kind
    groups: int
    messages: int
    consumers: int
    max_receives: int | None
    work: tuple[float, float]
    slow: float
    failing: float
    poison: float
    stubborn: float
    late: float
    latest: float
    working: float
    incidents: tuple[Incident, ...]
    options: OptionValues
    faults: dict[str, dict[str, Any]]
    dead_polls: bool

    @property
    def visibility(self) -> int:
        """The visibility timeout of each lease."""
        return self.options["visibility_timeout"]

    @property
    def last_attempt(self) -> float:
        """The attempt after which a failed message is dead-lettered; infinite without a limit."""
        limits = [limit for limit in (self.options["max_attempts"], self.max_receives) if limit is not None]
        return float(min(limits)) if limits and self.max_receives is not None else float("inf")


def fifo_conditions_for(seed: int, kind: Kind) -> FifoConditions:
    """Draw the conditions of a seed."""
    random = Random(f"fifo {seed} {kind.value}")
    faulty = kind in (Kind.NETWORK, Kind.EVERYTHING)
    max_receives = random.choice((None, 1, 2, 3, 10))
    options = _options(random, faulty=faulty, redrive=max_receives is not None)
    options["keeper"] = seed % 3 == 2 and hasattr(os, "memfd_create")  # not drawn, so that all else stays as it was
    working = random.choice((5.0, 20.0, 60.0))
    return FifoConditions(
        seed=seed,
        kind=kind,
        groups=random.choice((1, 1, 2, 5, 30)),
        messages=random.choice((5, 12, 40, 120)),
        consumers=random.choice((1, 2, 3)),
        max_receives=max_receives,
        work=(0.0, random.choice((0.0, 0.02, 0.2, 1.0))),
        slow=random.choice((0.0, 0.0, 0.02, 0.1)),
        failing=random.choice((0.0, 0.1, 0.4)),
        poison=random.choice((0.0, 0.0, 0.1)) if max_receives is not None else 0.0,
        stubborn=random.choice((0.0, 0.05, 0.2)) if faulty else 0.0,
        late=random.choice((0.0, 0.02, 0.1)) if faulty else 0.0,
        latest=random.choice((0.5, 3.0)),
        working=working,
        incidents=_incidents(random, kind, working, options["visibility_timeout"]),
        options=options,
        faults=_faults(random, faulty=faulty),
        dead_polls=faulty and random.random() < 0.2,
    )


def _options(random: Random, *, faulty: bool, redrive: bool) -> OptionValues:
    visibility = random.choice((8, 15, 30)) if faulty else random.choice((5, 10, 30))
    concurrency = random.choice((1, 2, 5, 20))
    options: OptionValues = {
        "concurrency": concurrency,
        "prefetch": random.choice((None, 0, 5)),
        "dispatch": random.choice(("semaphore", "pool")),
        "visibility_timeout": visibility,
        "ack_interval": random.choice((0.0, 0.1, 0.5)),
        "throttle": random.random() < 0.8,
        "max_pollers": random.choice((1, 2, 4)),
        "max_in_flight": random.choice((20 * concurrency + 100, 1_000)),
        "wait_time": random.choice([seconds for seconds in (1, 2, 20) if seconds + 10 < visibility] or [0]),
        "batch": random.choice((None, None, None, 2, 10)),
        "batch_wait": random.choice((0.0, 0.2)),
        "on_batch_error": random.choice(("retry", "halves", "singly")),
        "fifo_ack": random.choice(("batched", "batched", "confirmed")),
        "on_exhausted": "dead-letter" if redrive else random.choice(("dead-letter", "halt")),
        "max_attempts": random.choice((None, 2, 5)),
        "local_retry_limit": random.choice((300.0, 300.0, 3.0)),
        "retry_base": 1.0,
        "retry_maximum": random.choice((2.0, 8.0)),
        "handler_timeout": random.choice((None, None, 2.0 * visibility)),
        "on_lease_lost": random.choice(("tell", "cancel")),
        "on_unstarted": random.choice(("release", "run")),
        "drain_timeout": random.choice((0.0, 1.0, 4.0 * visibility)),
        "poll_grace": random.choice((0.0, 1.0)),
        "logger": SILENT,
    }
    return options


def _incidents(random: Random, kind: Kind, working: float, visibility: int) -> tuple[Incident, ...]:
    kinds = {
        Kind.FAILURES: ("send",),
        Kind.STOPS: ("send", "stop", "stop", "force"),
        Kind.NETWORK: ("send", "stop"),
        Kind.EVERYTHING: ("send", "stop", "force", "kill", "kill", "suspend", "suspend"),
    }
    every = random.choice((2.0, 8.0, 30.0))
    incidents = [
        Incident(
            random.uniform(0, working),
            random.choice(kinds[kind]),
            random.randrange(100),
            random.choice((0.5, 1.2, 3.0)) * visibility,
        )
        for _ in range(int(working / every) + 1)
    ]
    return tuple(sorted(incidents, key=lambda incident: incident.at))


def _faults(random: Random, *, faulty: bool) -> dict[str, dict[str, Any]]:
    faults: dict[str, dict[str, Any]] = {}
    longest = random.choice((0.002, 0.01, 0.1))
    for operation in (RECEIVE, DELETE, CHANGE, COPY):
        switches: dict[str, Any] = {"latency": (0.001, longest)}
        if faulty and random.random() < 0.7:
            kinds = ("throttle", "unavailable", "reset", "garbage", "hang", "lose", "lose_by_reset")
            for fault in random.sample(kinds, 2):
                switches[fault] = random.choice((0.02, 0.1, 0.2))
            if operation != RECEIVE:
                switches["fail_entries"] = random.choice((0.0, 0.1, 0.3))
                switches["lose_entries"] = random.choice((0.0, 0.1))
        if operation == COPY:
            switches["deny"] = random.choice((0.0, 0.0, 0.3))
        if operation == RECEIVE:
            switches["shorten"] = random.choice((0.0, 0.3))
            switches["empty"] = random.choice((0.0, 0.1))
        faults[operation] = switches
    return faults
