"""The order of a standard queue: the tenants take turns, and a noisy tenant comes after all others.

Owned by one queue. It promises that adding and picking cost the same at any depth: at most ten tenants can each have
more than a tenth of the messages in flight, so a pick passes over ten tenants at most.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from leasekeeper.local.model.stored import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.local.model.stored import Stored

NOISY_SHARE = 0.10
"""A tenant with more than this share of the messages in flight is noisy (SQS developer guide, fair queues)."""
NOISY_LEAST = 30
"""A tenant with fewer messages in flight than this is never noisy."""


class Tenants:
    """The visible messages of a standard queue, by tenant (message group id). Messages without one share a line.

    An entry stays when its message is hidden or deleted; `pick` skips it later. `Stored.listed` says that a message
    has an entry, so no message has two.
    """

    __slots__ = ("_held", "_in_flight", "_lines", "_turns")

    def __init__(self) -> None:
        self._lines: dict[str | None, deque[Stored]] = {}
        self._turns: deque[str | None] = deque()
        self._held: dict[str, int] = {}
        self._in_flight = 0

    def shown(self, message: Stored) -> bool:
        """A message became visible. Returns True: a receive can find it."""
        if not message.listed:
            message.listed = True
            line = self._lines.get(message.group)
            if line is None:
                line = self._lines[message.group] = deque()
                self._turns.append(message.group)
            line.append(message)
        return True

    def taken(self, message: Stored) -> None:
        """A message went in flight."""
        self._in_flight += 1
        if message.group is not None:
            self._held[message.group] = self._held.get(message.group, 0) + 1

    def returned(self, message: Stored) -> None:
        """A message is no longer in flight."""
        self._in_flight -= 1
        if message.group is not None:
            left = self._held[message.group] - 1
            if left:
                self._held[message.group] = left
            else:
                del self._held[message.group]

    def gone(self, _message: Stored) -> bool:
        """A message left the queue. Returns False: no other message was waiting for that."""
        return False

    def pick(self) -> Iterator[Stored]:
        """Visible messages in the order of delivery; each loses its entry."""
        while self._turns:
            message = self._take_turn()
            if message.place is Place.VISIBLE:
                yield message

    def _take_turn(self) -> Stored:
        turns = self._turns
        if len(turns) > 1:
            self._pass_over_noisy()
        line = self._lines[turns[0]]
        message = line.popleft()
        message.listed = False
        if line:
            turns.rotate(-1)
        else:
            del self._lines[turns.popleft()]
        return message

    def _pass_over_noisy(self) -> None:
        for _ in range(len(self._turns)):
            held = self._held.get(self._turns[0] or "", 0)
            if held < NOISY_LEAST or held <= NOISY_SHARE * self._in_flight:
                return
            self._turns.rotate(-1)
