"""The conditions of a simulation, all of them drawn from one seed.

Used by `simulation.py`. The same seed always gives the same conditions.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

from leasekeeper import Exponential, Linear, Reject, Retries, Retry, Table
from leasekeeper.local.client import TIMEOUT

if TYPE_CHECKING:
    from leasekeeper import Message
    from leasekeeper.option_values import OptionValues
    from leasekeeper.retries import RetryPolicy

SILENT = logging.getLogger("leasekeeper.simulation")
SILENT.disabled = True

RECEIVE, DELETE, CHANGE, COPY = (
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "SendMessageBatch",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a simulation is made of. Times are in seconds, shares between 0 and 1.

    Attributes:
        faulty: whether the network and the server fail; otherwise they are only slow.
        duplicates: whether the server delivers some messages twice.
        work: the shortest and the longest time of a handler.
        slow: the share of runs that take three times the visibility timeout.
        failing: the share of runs that do not succeed.
        stop_at: when all consumers are stopped.
        force: whether that stop is a forced one.
        of_consumer: options that a consumer has besides those of all, by its index.
    """

    seed: int
    faulty: bool
    duplicates: bool
    messages: int
    consumers: int
    max_receives: int | None
    work: tuple[float, float]
    slow: float
    failing: float
    stop_at: float
    force: bool
    options: OptionValues
    faults: dict[str, dict[str, Any]]
    dead_polls: bool
    of_consumer: dict[int, dict[str, Any]] = field(default_factory=dict)


def conditions_for(seed: int, *, faulty: bool) -> Conditions:
    """Draw the conditions of a seed."""
    random = Random(f"{seed} {faulty}")
    visibility = random.choice((2, 3, 5, 10, 30))
    concurrency = random.choice((1, 2, 5, 10, 40))
    prefetch = random.choice((None, 0, 5, concurrency))
    options: OptionValues = {
        "concurrency": concurrency,
        "prefetch": prefetch,
        "dispatch": random.choice(("semaphore", "pool")),
        "visibility_timeout": visibility,
        "adaptive_visibility": random.random() < 0.3,
        "ack_interval": random.choice((0.0, 0.1, 0.5)),
        "ack_batch_size": random.choice((1, 10, 10)),
        "throttle": random.random() < 0.8,
        "max_pollers": random.choice((1, 3, 10)),
        "receive_batch": random.choice((1, 5, 10, 10)),
        "max_in_flight": random.choice((concurrency, 2 * concurrency, 1_000)),
        "wait_time": random.choice((1, 5, 20)),
        "handler_timeout": random.choice((None, None, 2.0 * visibility)),
        "on_lease_lost": random.choice(("tell", "cancel")),
        "on_unstarted": random.choice(("release", "run")),
        "drain_timeout": random.choice((0.0, 1.0, 4.0 * visibility)),
        "poll_grace": random.choice((0.0, 1.0)),
        "logger": SILENT,
        **_retries(Random(f"{seed} {faulty} retries")),
    }
    duplicates = faulty and random.random() < 0.3
    conditions = Conditions(
        seed=seed,
        faulty=faulty,
        duplicates=duplicates,
        messages=random.choice((10, 40, 200)),
        consumers=random.choice((1, 1, 1, 2)),
        max_receives=random.choice((None, 20, 3)),
        work=(0.0, random.choice((0.01, 0.2, 1.0))),
        slow=random.choice((0.0, 0.05, 0.3)),
        failing=random.choice((0.0, 0.1, 0.5)),
        stop_at=random.uniform(0, random.choice((2, 30, 300))),
        force=random.random() < 0.2,
        options=options,
        faults=_faults(random, faulty=faulty, duplicates=duplicates),
        dead_polls=faulty and random.random() < 0.3,
    )
    return _with_slow_changes(conditions) if faulty and seed % 3 == 0 else conditions


def _retries(random: Random) -> OptionValues:
    """How failed messages are retried, and how often."""
    immediate = random.choice((0, 1, 1, 3))
    rules = {
        LookupError: Table(1, 3),
        ConnectionError: by_attempt,
        KeyError: random.choice((Reject, Retry(2), Linear(2))),
    }
    policies: tuple[RetryPolicy, ...] = (
        Exponential(1, maximum=20, jitter=random.choice(("full", "equal", "none"))),
        Retries(Exponential(1, maximum=20), on=rules, immediate=immediate),
        Retries(by_attempt, immediate=immediate),
        Retries(Table(1, 5, 20), on={ConnectionError: broken, LookupError: Reject}),
    )
    return {"retry": random.choice(policies), "max_attempts": random.choice((None, 1, 2, 4))}


def by_attempt(_message: Message[Any], attempt: int, _error: Exception) -> float:
    """A policy of a user."""
    return min(attempt, 20)


def broken(_message: Message[Any], _attempt: int, error: Exception) -> float:
    """A policy that raises."""
    raise RuntimeError("no idea") from error


def _with_slow_changes(conditions: Conditions) -> Conditions:
    """The same with visibility changes that take up to a lease, and back-offs which are longer than that.

    Changes take effect before the client's time-out: nothing can repeat what was given up and takes effect later.
    """
    latency = min(conditions.options["visibility_timeout"], 2 * TIMEOUT)
    faults = {**conditions.faults, CHANGE: {**conditions.faults[CHANGE], "latency": (0.001, latency)}}
    options: OptionValues = {**conditions.options, "retry": Exponential(60, maximum=60, jitter="none")}
    return replace(conditions, faults=faults, options=options)


def _faults(random: Random, *, faulty: bool, duplicates: bool) -> dict[str, dict[str, Any]]:
    faults: dict[str, dict[str, Any]] = {}
    longest = random.choice((0.005, 0.05, 0.2))
    for operation in (RECEIVE, DELETE, CHANGE, COPY):
        switches: dict[str, Any] = {"latency": (0.001, longest)}
        if faulty and random.random() < 0.7:
            kinds = ("throttle", "unavailable", "reset", "garbage", "hang", "lose", "lose_by_reset")
            for kind in random.sample(kinds, 2):
                switches[kind] = random.choice((0.02, 0.1, 0.3))
            if operation != RECEIVE:
                switches["fail_entries"] = random.choice((0.0, 0.2))
                switches["deny"] = random.choice((0.0, 0.0, 0.1))
        if operation == RECEIVE:
            switches["shorten"] = random.choice((0.0, 0.3))
            switches["empty"] = random.choice((0.0, 0.1))
            switches["duplicate"] = 0.1 if duplicates else 0.0
        faults[operation] = switches
    return faults
