"""What only FIFO queues have: message groups, deduplication and receives that can be repeated.

Owned by one queue. One rule covers everything recorded from AWS about groups: a message can be received unless an
earlier message of its group is in flight. A delayed message has no place in its group until its delay ends, so it does
not hold back a later message that is visible.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from leasekeeper.local.model import refusals
from leasekeeper.local.model.stored import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.local.model.stored import Stored

REMEMBERED = 300.0
"""Seconds for which a deduplication id and a receive attempt id are remembered (SQS API reference)."""


class _Group:
    """One group's messages in the order of sending. A deleted message stays until it is the first."""

    __slots__ = ("listed", "messages", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: deque[Stored] = deque()
        self.listed = False

    def insert(self, message: Stored) -> None:
        """Put a message at its place; at the end, unless a delay held it back while later ones passed."""
        messages = self.messages
        if not messages or messages[-1].number < message.number:
            messages.append(message)
        else:
            messages.insert(bisect_left(messages, message.number, key=lambda stored: stored.number), message)


class Groups:
    """The messages of a FIFO queue, by message group. `Stored.listed` says that a message is in its group."""

    __slots__ = ("_groups", "_open")

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._open: deque[_Group] = deque()

    def shown(self, message: Stored) -> bool:
        """A message became visible. Returns whether its group can be received from."""
        name = message.group or ""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group(name)
        if not message.listed:
            message.listed = True
            group.insert(message)
        return self._reconsider(group)

    def taken(self, message: Stored) -> None:
        """A message went in flight. `pick` looks at each message's place, so there is nothing to do."""

    def returned(self, message: Stored) -> None:
        """A message is no longer in flight. The call that follows says where it went."""

    def gone(self, message: Stored) -> bool:
        """A message left the queue. Returns whether its group can be received from."""
        group = self._groups.get(message.group or "")
        return group is not None and self._reconsider(group)

    def pick(self) -> Iterator[Stored]:
        """Messages in the order of delivery: all that one group offers, then the next group's."""
        while self._open:
            group = self._open.popleft()
            group.listed = False
            # The queue removes expired messages only after this loop, so the deque does not change under it.
            for message in group.messages:
                if message.place is Place.VISIBLE:
                    yield message
                elif message.place is not Place.GONE:
                    break

    def _reconsider(self, group: _Group) -> bool:
        messages = group.messages
        while messages and messages[0].place is Place.GONE:
            messages.popleft()
        if not messages:
            self._groups.pop(group.name, None)
            return False
        if messages[0].place is not Place.VISIBLE:
            return False
        if not group.listed:
            group.listed = True
            self._open.append(group)
        return True


class Original(NamedTuple):
    """The message that SQS names in its answer to a duplicate."""

    message_id: str
    sequence_number: str


class Deduplication:
    """The deduplication ids of the last five minutes and their messages, including deleted messages."""

    __slots__ = ("_ages", "_originals")

    def __init__(self) -> None:
        self._originals: dict[tuple[str, str], Original] = {}
        self._ages: deque[tuple[float, tuple[str, str]]] = deque()

    def find(self, scope: str, dedup_id: str, now: float) -> Original | None:
        """The message sent under that id within the interval, else None. `scope` is a group, or empty."""
        while self._ages and self._ages[0][0] <= now:
            del self._originals[self._ages.popleft()[1]]
        return self._originals.get((scope, dedup_id))

    def note(self, scope: str, dedup_id: str, original: Original, now: float) -> None:
        """Remember a message just sent, for five minutes."""
        self._originals[scope, dedup_id] = original
        self._ages.append((now + REMEMBERED, (scope, dedup_id)))


class _Attempt(NamedTuple):
    """What a receive returned: messages with their counts at that time. None: the attempt cannot be repeated."""

    until: float
    messages: tuple[tuple[Stored, int, int], ...] | None


class Attempts:
    """What the receives of the last five minutes returned, by attempt id."""

    __slots__ = ("_ages", "_attempts")

    def __init__(self) -> None:
        self._attempts: dict[str, _Attempt] = {}
        self._ages: deque[tuple[float, str]] = deque()

    def note(self, attempt_id: str, messages: Sequence[Stored], now: float) -> None:
        """Remember what a receive returned."""
        self._remember(attempt_id, tuple((message, message.receives, message.changes) for message in messages), now)

    def spoil(self, attempt_id: str, now: float) -> None:
        """Refuse this id from now on: its receive was throttled."""
        self._remember(attempt_id, None, now)

    def repeat(self, attempt_id: str, now: float) -> list[Stored]:
        """The messages of that attempt if all of them are still in flight from it, else none.

        Raises:
            Refusal: the attempt was throttled, or one of its messages was deleted or got another visibility timeout.
        """
        self._forget_old(now)
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return []
        if attempt.messages is None or any(
            message.place is Place.GONE or message.changes != changes for message, _, changes in attempt.messages
        ):
            raise refusals.attempt_not_repeatable(attempt_id)
        in_flight = all(
            message.place is Place.IN_FLIGHT and message.receives == receives
            for message, receives, _ in attempt.messages
        )
        return [message for message, _, _ in attempt.messages] if in_flight else []

    def _remember(self, attempt_id: str, messages: tuple[tuple[Stored, int, int], ...] | None, now: float) -> None:
        self._forget_old(now)
        self._attempts[attempt_id] = _Attempt(now + REMEMBERED, messages)
        self._ages.append((now + REMEMBERED, attempt_id))

    def _forget_old(self, now: float) -> None:
        while self._ages and self._ages[0][0] <= now:
            _, old = self._ages.popleft()
            if old in self._attempts and self._attempts[old].until <= now:
                del self._attempts[old]
