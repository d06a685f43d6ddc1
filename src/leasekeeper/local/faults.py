"""Faults that can be switched on, by operation, drawn from one seeded source.

Owned by the broker, and set by tests and users at run time. It promises that the same seed and the same calls give the
same faults. A switch at zero draws no number, so switching another one on changes nothing else.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from random import Random
from typing import Any, NamedTuple

import msgspec

from leasekeeper.errors import ConfigurationError
from leasekeeper.local.model import OPERATIONS

ANY = "*"
"""Stands for every operation that has no other switches."""


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often each fault happens to the calls of one operation: probabilities, 0.0 to 1.0.

    Attributes:
        latency: seconds that a call takes on its way, half of them before it takes effect; of a pair, a number between.
        throttle: `RequestThrottled`, without effect.
        unavailable: 503, without effect.
        deny: `AccessDenied`, without effect.
        reset: the connection is reset, without effect.
        garbage: a 200 with a body that is not JSON, without effect.
        hang: no answer, without effect.
        lose: the call takes effect, and no answer comes.
        lose_by_reset: the call takes effect, and the connection is reset.
        fail_entries: single entries of a batch fail, `SenderFault` false.
        lose_entries: single entries of a batch take effect, and are reported as failed, `SenderFault` false.
        duplicate: each message of a receive stays visible to the next receive too; on standard queues only.
        shorten: a receive returns fewer messages than it could.
        empty: a receive is empty at once, although there are messages.
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
    lose_entries: float = 0.0
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


class CallFault(Enum):
    """The fault of a whole call. The values are the names of the switches."""

    NONE = "none"
    THROTTLE = "throttle"
    UNAVAILABLE = "unavailable"
    DENY = "deny"
    RESET = "reset"
    GARBAGE = "garbage"
    HANG = "hang"
    LOSE = "lose"
    LOSE_BY_RESET = "lose_by_reset"


_CALL_FAULTS = [fault for fault in CallFault if fault is not CallFault.NONE]


class NoAnswer(Exception):
    """A fault took the answer: the connection was reset, or the answer is garbage (`garbage`)."""

    def __init__(self, *, garbage: bool) -> None:
        super().__init__(garbage)
        self.garbage = garbage


class CallPlan(NamedTuple):
    """What was drawn for one call."""

    latency: float
    fault: CallFault
    switches: Switches


class Faults:
    """The switches of one broker.

    `faults.set("ReceiveMessage", throttle=0.2)` lasts until the next `set`. `faults.next("DeleteMessageBatch", times=2,
    reset=1.0)` is for the next two calls only, and comes first. `"*"` stands for operations without other switches.

    Attributes:
        random: the source of the draws.
        dead_polls: whether a long poll continues after its client has disconnected, and takes messages that no client
            sees. This was reported of AWS. Off by default.
        struck: how many calls each fault of a whole call has struck.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)  # noqa: S311 - the faults must repeat from the seed
        self.dead_polls = False
        self.struck: Counter[str] = Counter()
        self._standing: dict[str, Switches] = {}
        self._next: dict[str, deque[Switches]] = {}

    @property
    def active(self) -> bool:
        """Whether any switch is on."""
        return bool(self._standing or self._next)

    def set(self, operation: str = ANY, /, **switches: Any) -> None:
        """Replace the switches of an operation; without switches, remove them.

        Raises:
            ConfigurationError: there is no such operation or switch, or a value is out of bounds.
        """
        checked = _checked(operation, switches)
        if switches:
            self._standing[operation] = checked
        else:
            self._standing.pop(operation, None)

    def next(self, operation: str, /, *, times: int = 1, **switches: Any) -> None:
        """Set the switches of the next calls of an operation. Calling this again adds more calls after them."""
        checked = _checked(operation, switches)
        self._next.setdefault(operation, deque()).extend([checked] * times)

    def check(self, operation: str, /, **switches: Any) -> None:
        """Raise what `set` raises, but set nothing."""
        _checked(operation, switches)

    def clear(self) -> None:
        """Switch everything off."""
        self._standing.clear()
        self._next.clear()
        self.dead_polls = False

    def standing(self) -> dict[str, Switches]:
        """The switches from `set`, by operation; those from `next` are not included."""
        return dict(self._standing)

    def draw(self, operation: str) -> CallPlan:
        """Draw the faults of the next call."""
        switches = self._switches(operation)
        latency = switches.latency
        if isinstance(latency, tuple):
            latency = self.random.uniform(*latency)
        for fault in _CALL_FAULTS:
            if self.happens(getattr(switches, fault.value)):
                self.struck[fault.value] += 1
                return CallPlan(latency, fault, switches)
        return CallPlan(latency, CallFault.NONE, switches)

    def happens(self, probability: float) -> bool:
        """Whether something with this probability happens this time."""
        return probability > 0 and self.random.random() < probability

    def _switches(self, operation: str) -> Switches:
        for name in (operation, ANY):
            upcoming = self._next.get(name)
            if upcoming:
                switches = upcoming.popleft()
                if not upcoming:
                    del self._next[name]
                return switches
        return self._standing.get(operation) or self._standing.get(ANY) or _NO_FAULTS

    def __repr__(self) -> str:
        return f"<Faults {', '.join(sorted({*self._standing, *self._next})) or 'none'}>"


_NO_FAULTS = Switches()


def _checked(operation: str, switches: dict[str, Any]) -> Switches:
    if operation != ANY and operation not in OPERATIONS:
        raise ConfigurationError(
            f"no operation {operation!r}: give an operation of SQS, e.g. 'ReceiveMessage', or '*' for all"
        )
    unknown = sorted(switches.keys() - set(Switches.__struct_fields__))
    if unknown:
        raise ConfigurationError(f"no switch {unknown[0]!r}: the switches are {', '.join(Switches.__struct_fields__)}")
    try:
        return msgspec.convert(switches, Switches)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"switches of {operation}: {error}") from error
