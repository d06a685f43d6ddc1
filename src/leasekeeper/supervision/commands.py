"""What the policy wants the supervisor to do.

Made by the policy, carried out by the supervisor. Each is a value, so that tests compare them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Start:
    """Start this process."""

    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell this process to stop; with `force`, to cut its drain short."""

    number: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill this process."""

    number: int


@dataclass(frozen=True, slots=True)
class Say:
    """Log this."""

    level: str
    words: str


Command: TypeAlias = Start | Stop | Kill | Say
