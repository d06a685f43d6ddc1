"""Schedules: how long to wait after a failure, by attempt: `Exponential`, `Linear` and `Table`.

On the ground floor: users make them, the core applies them. A schedule keeps nothing and never changes; its randomness
comes in as an argument.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Literal, get_args

from leasekeeper.errors import ConfigurationError

LONGEST = 43_200
"""Seconds of the longest visibility that SQS allows: 12 hours."""
Jitter = Literal["full", "equal", "none"]


@dataclass(frozen=True, slots=True)
class Schedule(ABC):
    """Delays by attempt. The delay is the ceiling, made shorter by the jitter, rounded up to whole seconds."""

    @property
    @abstractmethod
    def longest(self) -> float:
        """The longest delay, in seconds."""

    @abstractmethod
    def ceiling(self, attempt: int) -> float:
        """The longest delay after this attempt, in seconds; attempts count from 1, without end."""

    @abstractmethod
    def _settings(self) -> tuple[Jitter, float]:
        """The jitter, and the least delay in seconds."""

    def delay(self, attempt: int, draw: float | None = None) -> int:
        """The delay after this attempt, in whole seconds: SQS knows no others.

        Args:
            attempt: counts from 1.
            draw: a number from 0 to below 1, evenly distributed, for the jitter; None: a random one.

        Raises:
            ValueError: the attempt is below 1.
        """
        draw = random.random() if draw is None else draw  # noqa: S311 - jitter, not a secret
        jitter, floor = self._settings()
        share = {"full": draw, "equal": 0.5 + 0.5 * draw, "none": 1.0}[jitter]
        return math.ceil(max(share * self.ceiling(attempt), floor))


@dataclass(frozen=True, slots=True)
class Exponential(Schedule):
    """A delay that is multiplied by `factor` with each attempt: 2, 4, 8, ... seconds, at most 900.

    Args:
        base: seconds after the first attempt, 0 or more.
        factor: how much the delay grows with each attempt, at least 1.
        maximum: the longest delay, from `base` to 43,200 seconds.
        jitter: "equal": a random delay from half of it to all of it. "full": from 0 to all of it. "none": all of it.
            Messages that failed together return at different times; with "equal" none returns much too early.
        floor: the least delay in seconds, however the jitter falls.

    Raises:
        ConfigurationError: values that cannot work.
    """

    base: float = 2.0
    _: KW_ONLY
    factor: float = 2.0
    maximum: float = 900.0
    jitter: Jitter = "equal"
    floor: float = 1.0

    def __post_init__(self) -> None:
        _check_numbers(self, "base", "factor", "maximum", "floor")
        _check_bounds(self, self.base, self.maximum)
        if not self.factor >= 1:
            raise ConfigurationError(f"{self!r}: the delay would shrink; give a factor of at least 1")
        _check_rest(self, self.jitter, self.floor)

    @property
    def longest(self) -> float:
        """The longest delay, in seconds."""
        return self.maximum

    def ceiling(self, attempt: int) -> float:
        """min(maximum, base * factor ** (attempt - 1)), in seconds."""
        try:
            return min(self.maximum, self.base * self.factor ** (_checked(attempt) - 1))
        except OverflowError:
            return self.maximum

    def _settings(self) -> tuple[Jitter, float]:
        return self.jitter, self.floor


@dataclass(frozen=True, slots=True)
class Linear(Schedule):
    """A delay that grows by the same time with each attempt: 10, 20, 30, ... seconds, at most 900.

    Args:
        step: seconds by which the delay grows, 0 or more; 0: it stays the same.
        base: seconds after the first attempt; None: `step`.
        maximum: the longest delay, from `base` to 43,200 seconds.
        jitter: as for `Exponential`.
        floor: as for `Exponential`.

    Raises:
        ConfigurationError: values that cannot work.
    """

    step: float = 10.0
    _: KW_ONLY
    base: float | None = None
    maximum: float = 900.0
    jitter: Jitter = "equal"
    floor: float = 1.0

    def __post_init__(self) -> None:
        _check_numbers(self, "step", *([] if self.base is None else ["base"]), "maximum", "floor")
        _check_bounds(self, self.step if self.base is None else self.base, self.maximum)
        if not self.step >= 0:
            raise ConfigurationError(f"{self!r}: the delay would shrink; give a step of at least 0")
        _check_rest(self, self.jitter, self.floor)

    @property
    def longest(self) -> float:
        """The longest delay, in seconds."""
        return self.maximum

    def ceiling(self, attempt: int) -> float:
        """min(maximum, base + step * (attempt - 1)), in seconds."""
        base = self.step if self.base is None else self.base
        return min(self.maximum, base + self.step * (_checked(attempt) - 1))

    def _settings(self) -> tuple[Jitter, float]:
        return self.jitter, self.floor


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Table(Schedule):
    """The delays themselves, by attempt; the last one stays: `Table(1, 10, 60)` is 1, 10, 60, 60, ... seconds.

    Args:
        seconds: the delays, 0 to 43,200 seconds each.
        jitter: as for `Exponential`, but "none" unless it is given.
        floor: as for `Exponential`.

    Raises:
        ConfigurationError: values that cannot work.
    """

    seconds: tuple[float, ...]
    jitter: Jitter = "none"
    floor: float = 1.0

    def __init__(self, *seconds: float, jitter: Jitter = "none", floor: float = 1.0) -> None:
        for name, value in (("seconds", seconds), ("jitter", jitter), ("floor", floor)):
            object.__setattr__(self, name, value)
        if not seconds or not all(type(each) in (int, float) and 0 <= each <= LONGEST for each in seconds):
            raise ConfigurationError(
                f"Table({', '.join(map(repr, seconds))}): give one delay or more, each from 0 to {LONGEST} seconds, "
                "e.g. Table(1, 10, 60)"
            )
        _check_numbers(self, "floor")
        _check_rest(self, jitter, floor)

    @property
    def longest(self) -> float:
        """The longest delay, in seconds."""
        return max(self.seconds)

    def ceiling(self, attempt: int) -> float:
        """The delay at this place of the table, in seconds, or the last one."""
        return self.seconds[min(_checked(attempt), len(self.seconds)) - 1]

    def _settings(self) -> tuple[Jitter, float]:
        return self.jitter, self.floor

    def __repr__(self) -> str:
        return f"Table({', '.join(map(repr, self.seconds))}, jitter={self.jitter!r}, floor={self.floor!r})"


def _checked(attempt: int) -> int:
    if attempt < 1:
        raise ValueError(f"attempt {attempt} does not exist: attempts count from 1")
    return attempt


def _check_numbers(schedule: Schedule, *names: str) -> None:
    for name in names:
        value = getattr(schedule, name)
        if not isinstance(value, Real) or isinstance(value, bool):
            kind = type(schedule).__name__
            raise ConfigurationError(
                f"{kind}({name}={value!r}): must be a number{'' if name == 'factor' else ' of seconds'}"
            )


def _check_bounds(schedule: Schedule, base: float, maximum: float) -> None:
    if not 0 <= base <= maximum <= LONGEST:
        raise ConfigurationError(
            f"{schedule!r}: delays from {base!r} s to at most {maximum!r} s cannot work: 0 <= base <= maximum <= "
            f"{LONGEST}"
        )


def _check_rest(schedule: Schedule, jitter: str, floor: float) -> None:
    if jitter not in get_args(Jitter):
        raise ConfigurationError(f"{schedule!r}: jitter must be one of {', '.join(map(repr, get_args(Jitter)))}")
    if not 0 <= floor <= LONGEST:
        raise ConfigurationError(f"{schedule!r}: floor must be from 0 to {LONGEST} seconds")
