"""What looks after one child process from the supervisor, such as the keeper of its leases.

Made for each child that is started. The supervisor calls it; it does not know what it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOOKS = 0.1
"""Seconds between two looks."""
LONGEST_AFTER = 30.0
"""Seconds that an attendant may go on after the death of its process."""


class Attendant(Protocol):
    """Looks after one process, from its start until some time after its death. No method may block or raise."""

    @property
    def descriptors(self) -> Sequence[int]:
        """Descriptors that the process inherits, under the same numbers."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables of the process, such as the number of a descriptor."""
        ...

    def started(self, pid: int) -> None:
        """The process runs."""
        ...

    def look(self, now: float) -> bool:
        """Called ten times a second, also after the death: then it returns whether there is more to do."""
        ...

    def died(self) -> bool:
        """The process has ended, well or not; whether there is anything left to do."""
        ...


Attend: TypeAlias = "Callable[[int], Attendant]"
"""Makes the attendant of a process, given its number."""
