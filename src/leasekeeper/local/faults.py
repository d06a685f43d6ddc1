"""What can be made to go wrong: switches by operation, drawn from one seeded source.

Owned by the broker, set by tests and users at run time. It promises that the same seed and the same calls bring the
same faults, and that switches at zero draw nothing, so that turning one on does not shift the others' luck.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from random import Random
from typing import Any, NamedTuple

import msgspec

from leasekeeper.errors import ConfigurationError
from leasekeeper.local.model import OPERATIONS

ANY = "*"
"""The operation that stands for all that have no switches of their own."""


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often each thing goes wrong with the calls of one operation: probabilities, 0.0 to 1.0.

    Attributes:
        latency: seconds a call takes on its way, half of them before it takes effect; a pair is drawn between.
        throttle: `RequestThrottled`, without effect.
        unavailable: 503, without effect.
        deny: `AccessDenied`, without effect.
        reset: the connection is reset, without effect.
        garbage: a 200 whose body is no JSON, without effect.
        hang: never an answer, without effect.
        lose: it takes effect, and no answer ever comes.
        lose_by_reset: it takes effect, and the connection is reset.
        fail_entries: each entry of a batch fails alone, `SenderFault` false.
        duplicate: each message of a receive stays visible to the next receive as well.
        shorten: a receive brings fewer than it might.
        empty: a receive is empty, at once, though there are messages.
    """

    latency: float | tuple[float, float] = 0.0
    throttle: float = 0.0
    unavailable: float = 0.0
    deny: float = 0.0
    reset: float = 0.0
    garbage: float = 0.0
    hang: float = 0.0
    lose: float = 0.0
    lose_by_reset: float = 0.0
    fail_entries: float = 0.0
    duplicate: float = 0.0
    shorten: float = 0.0
    empty: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "latency":
                low, high = value if isinstance(value, tuple) else (value, value)
                if not 0 <= low <= high:
                    raise ConfigurationError(f"latency={value!r}: give seconds, or a pair (least, most) of them")
            elif not 0 <= value <= 1:
                raise ConfigurationError(f"{name}={value!r}: a probability is between 0.0 and 1.0")


class Fate(Enum):
    """What becomes of a call as a whole; the values are the names of the switches."""

    SPARED = "spared"
    THROTTLE = "throttle"
    UNAVAILABLE = "unavailable"
    DENY = "deny"
    RESET = "reset"
    GARBAGE = "garbage"
    HANG = "hang"
    LOSE = "lose"
    LOSE_BY_RESET = "lose_by_reset"


_FATES = [fate for fate in Fate if fate is not Fate.SPARED]


class Plan(NamedTuple):
    """What was drawn for one call."""

    latency: float
    fate: Fate
    switches: Switches


class Faults:
    """The switches of one broker.

    `faults.set("ReceiveMessage", throttle=0.2)` until it is set otherwise; `faults.next("DeleteMessageBatch", times=2,
    reset=1.0)` for the next two calls only, before all else; `"*"` for every operation that has nothing of its own.

    Attributes:
        random: where the draws come from.
        dead_polls: whether a long poll whose client went away goes on, and takes messages that nobody will see, as
            reported of AWS; off by default.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)  # noqa: S311 - faults that repeat from a seed are what is wanted
        self.dead_polls = False
        self._standing: dict[str, Switches] = {}
        self._next: dict[str, deque[Switches]] = {}

    @property
    def active(self) -> bool:
        """Whether any call may be disturbed."""
        return bool(self._standing or self._next)

    def set(self, operation: str = ANY, /, **switches: Any) -> None:
        """Set an operation's switches, replacing those it had; no switches takes them away.

        Raises:
            ConfigurationError: no such operation or switch, or a value beyond its bounds.
        """
        checked = _checked(operation, switches)
        if switches:
            self._standing[operation] = checked
        else:
            self._standing.pop(operation, None)

    def next(self, operation: str, /, *, times: int = 1, **switches: Any) -> None:
        """Set the switches of an operation's next calls only; those of several such calls queue up."""
        checked = _checked(operation, switches)
        self._next.setdefault(operation, deque()).extend([checked] * times)

    def check(self, operation: str, /, **switches: Any) -> None:
        """Raise what `set` would raise, and set nothing."""
        _checked(operation, switches)

    def clear(self) -> None:
        """Turn everything off."""
        self._standing.clear()
        self._next.clear()
        self.dead_polls = False

    def standing(self) -> dict[str, Switches]:
        """The switches that are set, by operation; those of single calls to come are not among them."""
        return dict(self._standing)

    def draw(self, operation: str) -> Plan:
        """What happens to the call that comes now."""
        switches = self._switches(operation)
        latency = switches.latency
        if isinstance(latency, tuple):
            latency = self.random.uniform(*latency)
        for fate in _FATES:
            if self.happens(getattr(switches, fate.value)):
                return Plan(latency, fate, switches)
        return Plan(latency, Fate.SPARED, switches)

    def happens(self, probability: float) -> bool:
        """Whether something of that probability happens this time."""
        return probability > 0 and self.random.random() < probability

    def _switches(self, operation: str) -> Switches:
        for name in (operation, ANY):
            line = self._next.get(name)
            if line:
                switches = line.popleft()
                if not line:
                    del self._next[name]
                return switches
        return self._standing.get(operation) or self._standing.get(ANY) or _CALM

    def __repr__(self) -> str:
        return f"<Faults {', '.join(sorted({*self._standing, *self._next})) or 'none'}>"


_CALM = Switches()


def _checked(operation: str, switches: dict[str, Any]) -> Switches:
    if operation != ANY and operation not in OPERATIONS:
        raise ConfigurationError(f"no operation {operation!r}: give one of SQS's, e.g. 'ReceiveMessage', or '*'")
    unknown = sorted(switches.keys() - set(Switches.__struct_fields__))
    if unknown:
        raise ConfigurationError(f"no switch {unknown[0]!r}: there are {', '.join(Switches.__struct_fields__)}")
    try:
        return msgspec.convert(switches, Switches)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"switches of {operation}: {error}") from error
