"""A metric: its name, kind, unit, meaning, and how it is read from a consumer's statistics.

Owned by the catalogue (`observe/catalogue.py`). It promises that a metric is read only when an exporter asks, so
no message pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.observe.statistics import ConsumerStatistics

Reading: TypeAlias = "float | Mapping[str, float] | None"
"""A value; or one for each value of the metric's label; or None: there is none now."""


class Kind(Enum):
    """How the value of a metric moves."""

    COUNTER = "counter"
    """It only rises, from 0 at the consumer's start."""
    GAUGE = "gauge"
    """It rises and falls."""


class Unit(Enum):
    """What the value counts."""

    MESSAGES = "messages"
    HANDLERS = "handlers"
    CALLS = "calls"
    GROUPS = "groups"
    POLLERS = "pollers"
    NUMBER = "number"
    SECONDS = "seconds"
    SHARE = "share from 0 to 1"
    YES_OR_NO = "1 or 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of a consumer. Its labels are `queue`, `consumer` (the handler's name), and `label` if it has one."""

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
    label: str = ""
    """The name of its own label; empty without one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of all its labels, in order."""
        return ("queue", "consumer", self.label) if self.label else ("queue", "consumer")

    def samples(self, statistics: ConsumerStatistics) -> Iterator[tuple[tuple[str, ...], float]]:
        """The values of its labels, with its value, for each sample in a snapshot."""
        value = self.read(statistics)
        if isinstance(value, Mapping):
            for key, each in value.items():
                yield (statistics.queue, statistics.handler, key), float(each)
        elif value is not None:
            yield (statistics.queue, statistics.handler), float(value)


class Observed(Protocol):
    """What metrics can be read from: a `Consumer`, or a `Leasekeeper` app with all its consumers."""

    def statistics(self) -> ConsumerStatistics | tuple[ConsumerStatistics, ...] | None:
        """The statistics of its consumers; None before the start."""
        ...


def snapshots(targets: tuple[Observed, ...]) -> list[ConsumerStatistics]:
    """The statistics of all consumers that have started."""
    found: list[ConsumerStatistics] = []
    for target in targets:
        now = target.statistics()
        if isinstance(now, tuple):
            found += now
        elif now is not None:
            found.append(now)
    return found
