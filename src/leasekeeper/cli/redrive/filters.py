"""Which dead letters are meant: the values of `--where`, `--sent-after` and `--sent-before`.

Used by `redrive`. Pure. It promises one sentence for a value that cannot be read, and that a message must match all
keys; of several values of one key it needs one.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from leasekeeper.cli.causes import DeadLetter, one_line
from leasekeeper.errors import ConfigurationError
from leasekeeper.failure import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leasekeeper.message import Received

ATTRIBUTE = "attribute."
KEYS: Mapping[str, Callable[[DeadLetter], str]] = {
    "error": lambda letter: letter.error,
    "message": lambda letter: letter.text,
    "reason": lambda letter: letter.reason,
    "queue": lambda letter: letter.queue,
}
"""What `--where` compares, by its key; message attributes are the other keys."""
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}


def moment(flag: str, given: str | None) -> float | None:
    """Epoch seconds of `2026-11-28T09:00`, in UTC without a zone, or of a time ago: `90min`, `2h`, `3d`."""
    if given is None:
        return None
    if ago := _AGO.fullmatch(given.strip()):
        return time.time() - float(ago[1]) * _SECONDS[ago[2]]
    if found := seconds_of(given.strip()):
        return found
    raise ConfigurationError(
        f"{flag}={given!r}: must be a time, e.g. 2026-11-28T09:00, or a time ago, e.g. 90min, 2h, 3d"
    )


class Pattern:
    """A pattern for a whole text, in which `*` stands for any text, also for none. It takes linear time."""

    def __init__(self, pattern: str) -> None:
        self._first, *self._others = one_line(pattern).split("*")

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        if not self._others:
            return text == self._first
        *middle, last = self._others
        end = len(text) - len(last)
        if not text.startswith(self._first) or not text.endswith(last):
            return False
        at = len(self._first)
        for part in middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return at <= end


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which dead letters are meant.

    Attributes:
        where: patterns by key; a message must match one of each key.
        after: it was sent at this time or later, epoch seconds; None: at any time.
        before: it was sent before this time.
    """

    where: Mapping[str, Sequence[Pattern]] = field(default_factory=dict)
    after: float | None = None
    before: float | None = None

    @classmethod
    def read(cls, where: Sequence[str], after: str | None, before: str | None) -> Self:
        """Read the values of the flags; raises `ConfigurationError`."""
        patterns: dict[str, list[Pattern]] = {}
        for given in where:
            key, equals, value = given.partition("=")
            if not equals or not (key in KEYS or (key.startswith(ATTRIBUTE) and key != ATTRIBUTE)):
                raise ConfigurationError(
                    f"--where={given!r}: must be KEY=VALUE, KEY one of {', '.join(KEYS)} and {ATTRIBUTE}NAME, "
                    "e.g. error=TimeoutError; in a VALUE * stands for any text"
                )
            patterns.setdefault(key, []).append(Pattern(value))
        found = cls(where=patterns, after=moment("--sent-after", after), before=moment("--sent-before", before))
        if found.after is not None and found.before is not None and found.after >= found.before:
            raise ConfigurationError(
                f"--sent-after={after!r} with --sent-before={before!r}: no time is after the one and before the other; "
                "swap them, or leave one of them out"
            )
        return found

    def __bool__(self) -> bool:
        return bool(self.where) or self.after is not None or self.before is not None

    def match(self, message: Received, letter: DeadLetter) -> bool:
        """Whether the message is meant. One without a known time is not, when a time is asked for."""
        if self.after is not None and letter.sent < self.after:
            return False
        if self.before is not None and not 0.0 < letter.sent < self.before:
            return False
        return all(
            any(pattern.matches(_value(key, message, letter)) for pattern in patterns)
            for key, patterns in self.where.items()
        )


def _value(key: str, message: Received, letter: DeadLetter) -> str:
    if key in KEYS:
        return KEYS[key](letter)
    attribute = message.attributes.get(key.removeprefix(ATTRIBUTE))
    value = "" if attribute is None else attribute.value
    return one_line(value if isinstance(value, str) else value.decode("utf-8", "replace"))
