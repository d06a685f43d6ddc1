"""Lines: received messages that wait here until they may start, in the order in which they start.

The gate of a consumer owns one. Pure. `Line` is first come, first served; `FairLine` gives the groups of a standard
queue turns, and can limit how many handlers one group has at once. Both promise that a message that may start is found
at once, however many wait that may not.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.core.delivery import Delivery


class Line:
    """First come, first served."""

    __slots__ = ("_rows",)

    limited = 0
    """How many wait only because their group has all the handlers it may have."""
    groups = 1
    """How many groups wait."""

    def __init__(self) -> None:
        self._rows: deque[Delivery] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Sequence[Delivery]) -> None:
        """Let these wait, behind the others."""
        self._rows.extend(rows)

    def pop(self) -> Delivery:
        """The next that may start; it is running from now on. Not to be called when none may start."""
        return self._rows.popleft()

    def ended(self, row: Delivery) -> None:
        """The handler of a message that was popped has ended."""

    def clear(self) -> list[Delivery]:
        """Let nothing wait any more; returns what did."""
        rows = list(self._rows)
        self._rows.clear()
        return rows


class FairLine:
    """The groups take turns; within a group, first come, first served. Messages without a group form one together.

    Args:
        most: how many handlers one group may have at once; None: as many as there are.
    """

    __slots__ = ("_limited", "_most", "_running", "_turns", "_waiting", "limited")

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._turns: dict[str, deque[Delivery]] = {}
        """What waits, by group, in the order of their turns: of groups that may have another handler."""
        self._limited: dict[str, deque[Delivery]] = {}
        """The same, of the other groups."""
        self._running: dict[str, int] = {}
        self._waiting = 0
        self.limited = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def groups(self) -> int:
        """How many groups wait."""
        return len(self._turns) + len(self._limited)

    def add(self, rows: Sequence[Delivery]) -> None:
        """Let these wait, behind the others of their groups."""
        for row in rows:
            self._of(row).append(row)
        self._waiting += len(rows)

    def _of(self, row: Delivery) -> deque[Delivery]:
        """Where the messages of its group wait, one more than before."""
        group = _group(row)
        if (rows := self._turns.get(group)) is not None:
            return rows
        if (rows := self._limited.get(group)) is None:
            if self._most is None or self._running.get(group, 0) < self._most:
                return self._turns.setdefault(group, deque())
            rows = self._limited[group] = deque()
        self.limited += 1
        return rows

    def pop(self) -> Delivery:
        """The next that may start; it is running from now on. Not to be called when none may start."""
        group = next(iter(self._turns))
        rows = self._turns.pop(group)
        row = rows.popleft()
        self._waiting -= 1
        if self._most is not None:
            running = self._running[group] = self._running.get(group, 0) + 1
            if rows and running >= self._most:
                self._limited[group] = rows
                self.limited += len(rows)
                return row
        if rows:
            self._turns[group] = rows  # its next turn comes after those of all others
        return row

    def ended(self, row: Delivery) -> None:
        """The handler of a message that was popped has ended."""
        if self._most is None:
            return
        group = _group(row)
        running = self._running[group] - 1
        if running:
            self._running[group] = running
        else:
            del self._running[group]
        if running < self._most and (rows := self._limited.pop(group, None)) is not None:
            self._turns[group] = rows
            self.limited -= len(rows)

    def clear(self) -> list[Delivery]:
        """Let nothing wait any more; returns what did."""
        rows = [row for waiting in (self._turns, self._limited) for line in waiting.values() for row in line]
        self._turns.clear()
        self._limited.clear()
        self._waiting = self.limited = 0
        return rows


def _group(row: Delivery) -> str:
    return row.received.system.get("MessageGroupId", "")
