"""A metric: its name, kind, unit, meaning, and how it is read from a consumer's statistics.

Owned by the catalogue (`observe/catalogue.py`). It promises that a metric is read only when an exporter asks, so
no message pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.observe.histogram import Distribution
    from leasekeeper.observe.statistics import ConsumerStatistics

Value: TypeAlias = "float | Distribution"
Reading: TypeAlias = "Value | Mapping[str, Value] | Mapping[str, Mapping[str, Value]] | None"
"""A value; or one for each value of the metric's label, or of both its labels; or None: there is none now."""


class Kind(Enum):
    """How the value of a metric moves."""

    COUNTER = "counter"
    """It only rises, from 0 at the consumer's start."""
    GAUGE = "gauge"
    """It rises and falls."""
    HISTOGRAM = "histogram"
    """Durations in buckets, each of which only rises."""


class Unit(Enum):
    """What the value counts."""

    MESSAGES = "messages"
    HANDLERS = "handlers"
    CALLS = "calls"
    GROUPS = "groups"
    POLLERS = "pollers"
    NUMBER = "number"
    SECONDS = "seconds"
    BYTES = "bytes"
    SHARE = "share from 0 to 1"
    YES_OR_NO = "1 or 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of a consumer. Its labels are `queue`, `consumer` (the handler's name), and those of its own."""

    name: str
    """Its full name, as exporters write it."""
    kind: Kind
    """Whether it only rises."""
    unit: Unit
    """What it counts; durations are in seconds."""
    meaning: str
    """What it says, in one or two sentences."""
    advice: str
    """What to do about it, or what it is for."""
    read: Callable[[ConsumerStatistics], Reading]
    """Its value in a snapshot."""
    own: tuple[str, ...] = ()
    """The names of its own labels."""
    source: str = "consumer"
    """What it is about: a consumer, or the `outbox` of a relay, which has the table's name in the label `consumer`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of all its labels, in order."""
        return ("queue", "consumer", *self.own)

    def samples(self, statistics: ConsumerStatistics) -> Iterator[tuple[tuple[str, ...], Value]]:
        """The values of its labels, with its value, for each sample in a snapshot."""
        if getattr(statistics, "source", "consumer") != self.source:
            return iter(())
        labels = (statistics.queue, statistics.handler)
        return _samples(labels, self.read(statistics))


def _samples(labels: tuple[str, ...], reading: Any) -> Iterator[tuple[tuple[str, ...], Value]]:
    if isinstance(reading, Mapping):
        for key, each in reading.items():
            yield from _samples((*labels, key), each)
    elif reading is not None:
        yield labels, reading


class Observed(Protocol):
    """What metrics can be read from: a `Consumer`, a `Relay`, or a `Leasekeeper` app with all of both."""

    def statistics(self) -> Any:
        """The statistics of its consumers; None before the start."""
        ...


def measure(targets: tuple[Observed, ...]) -> None:
    """Have these consumers measure every message, for histograms, as far as they can."""
    for target in targets:
        asked = getattr(target, "measure", None)
        if asked is not None:
            asked()


def snapshots(targets: tuple[Observed, ...], *, histograms: bool = True) -> list[ConsumerStatistics]:
    """The statistics of all consumers that have started."""
    if histograms:
        measure(targets)  # again: an app may have declared more of them
    found: list[ConsumerStatistics] = []
    for target in targets:
        now = target.statistics()
        if isinstance(now, tuple):
            found += now
        elif now is not None:
            found += getattr(now, "queues", None) or [now]
        for relay in getattr(target, "relays", ()):
            found += relay.statistics().queues
    return found
