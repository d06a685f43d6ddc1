"""The order of a FIFO queue: one line a message group, locked while any of its messages before is out of sight.

Owned by its queue, with what else only FIFO queues have: deduplication and repeatable receives. One rule gives all of
AWS's recorded behaviour on groups: those messages can be received that no invisible message of their group precedes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from leasekeeper.local.model.stored import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.local.model.stored import Stored

REMEMBERED = 300.0
"""Seconds a deduplication id and a receive attempt id are remembered (SQS API reference)."""


class _Line:
    """One group's messages in the order they were sent; those gone stay until they come to the head."""

    __slots__ = ("group", "listed", "messages")

    def __init__(self, group: str) -> None:
        self.group = group
        self.messages: deque[Stored] = deque()
        self.listed = False


class Groups:
    """The messages of a FIFO queue, by message group."""

    __slots__ = ("_lines", "_open")

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._open: deque[_Line] = deque()

    def added(self, message: Stored) -> None:
        """A message came in, visible or delayed; it takes its place in its group's line."""
        group = message.group or ""
        line = self._lines.get(group)
        if line is None:
            line = self._lines[group] = _Line(group)
        line.messages.append(message)

    def shown(self, message: Stored) -> bool:
        """A message became visible; True says that its group can be received from."""
        return self._reconsider(self._lines[message.group or ""])

    def taken(self, message: Stored) -> None:
        """A message went in flight: being asked at each pick, its place says enough."""

    def returned(self, message: Stored) -> None:
        """A message is no longer in flight; what follows says where it went."""

    def gone(self, message: Stored) -> bool:
        """A message left the queue; True says that its group can be received from."""
        return self._reconsider(self._lines[message.group or ""])

    def pick(self) -> Iterator[Stored]:
        """Messages in the order they are to be received: all there are of one group, then of the next."""
        while self._open:
            line = self._open.popleft()
            line.listed = False
            # No message leaves a line while it is picked from: the queue removes what it found expired afterwards.
            for message in line.messages:
                if message.place is Place.VISIBLE:
                    yield message
                elif message.place is not Place.GONE:
                    break

    def _reconsider(self, line: _Line) -> bool:
        messages = line.messages
        while messages and messages[0].place is Place.GONE:
            messages.popleft()
        if not messages:
            self._lines.pop(line.group, None)
            return False
        if messages[0].place is not Place.VISIBLE:
            return False
        if not line.listed:
            line.listed = True
            self._open.append(line)
        return True


class Twin(NamedTuple):
    """The message that a duplicate is answered with."""

    message_id: str
    sequence_number: str


class Deduplication:
    """The deduplication ids of the last five minutes, and the messages they belong to, deleted ones too."""

    __slots__ = ("_ages", "_twins")

    def __init__(self) -> None:
        self._twins: dict[tuple[str, str], Twin] = {}
        self._ages: deque[tuple[float, tuple[str, str]]] = deque()

    def find(self, scope: str, dedup_id: str, now: float) -> Twin | None:
        """The message sent under that id within the interval, None without one. `scope` is a group, or empty."""
        while self._ages and self._ages[0][0] <= now:
            del self._twins[self._ages.popleft()[1]]
        return self._twins.get((scope, dedup_id))

    def note(self, scope: str, dedup_id: str, twin: Twin, now: float) -> None:
        """Remember a message just sent, for five minutes."""
        self._twins[scope, dedup_id] = twin
        self._ages.append((now + REMEMBERED, (scope, dedup_id)))


class _Attempt(NamedTuple):
    until: float
    messages: tuple[tuple[Stored, int, int], ...]


class Attempts:
    """What the receives of the last five minutes brought, by their attempt ids, so that one can be repeated."""

    __slots__ = ("_ages", "_attempts")

    def __init__(self) -> None:
        self._attempts: dict[str, _Attempt] = {}
        self._ages: deque[tuple[float, str]] = deque()

    def note(self, attempt_id: str, messages: Sequence[Stored], now: float) -> None:
        """Remember what a receive brought."""
        self._attempts[attempt_id] = _Attempt(
            now + REMEMBERED, tuple((message, message.receives, message.changes) for message in messages)
        )
        self._ages.append((now + REMEMBERED, attempt_id))

    def repeat(self, attempt_id: str, now: float) -> list[Stored]:
        """The messages of that attempt if all are still in flight from it and untouched since, else none."""
        while self._ages and self._ages[0][0] <= now:
            _, old = self._ages.popleft()
            if old in self._attempts and self._attempts[old].until <= now:
                del self._attempts[old]
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return []
        untouched = all(
            message.place is Place.IN_FLIGHT and message.receives == receives and message.changes == changes
            for message, receives, changes in attempt.messages
        )
        return [message for message, _, _ in attempt.messages] if untouched else []
