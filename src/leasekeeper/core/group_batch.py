"""The batch of deletes of a FIFO queue: deletes of one group go out in order, and one call at a time (L28).

A batcher owns one, in place of a `Batch`. It promises that what failed goes again before anything later of its group,
that nothing goes before the copy of an earlier message of its group is confirmed, and that a call holds the messages of
one receive first.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from leasekeeper.core.batch import Why
from leasekeeper.core.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.group import Group, GroupedDelivery

_ACKING = State.ACKING
_group_of: Callable[[GroupedDelivery], Group] = attrgetter("group")
LOOK_AGAIN = 0.2
"""Seconds between looks at a group with deletes that wait for a copy. When it is confirmed, they go with its delete."""


class GroupBatch:
    """Finished messages that wait for their delete, by group.

    SQS locks a group until all its received messages are deleted, so deleting the first ones early gains nothing. A
    group's deletes are due when the last message that is held of it is finished: at once if its receive was cut off in
    the middle of it, as there are probably more, and otherwise after `unlock`. They are also due `linger` seconds after
    the oldest of them. A call that is due is filled up with others.

    Args:
        size: how many go together, 1 to 10.
        linger: how many seconds a delete may wait for others while messages of its group are still to run.
        unlock: how many seconds it may wait when none is.
        behind_copies: whether messages may be finished behind one that is being copied to the dead-letter queue, as
            those of a batch are. Their deletes wait for it: else they would be gone if that one had to run again.
    """

    __slots__ = ("_again", "_behind_copies", "_dues", "_ticket", "_waiting", "linger", "size", "unlock")

    def __init__(self, *, size: int = 10, linger: float, unlock: float, behind_copies: bool = False) -> None:
        self.size = size
        self._behind_copies = behind_copies
        self.linger = linger
        self.unlock = min(unlock, linger)
        self._waiting: dict[Group, None] = {}
        """Groups with deletes that wait, the longest wait first."""
        self._dues: list[tuple[float, int, Group]] = []
        self._ticket = count()
        self._again: set[Delivery] = set()
        """Those that failed and wait to go again."""

    def add(self, items: Sequence[Any], now: float, *, latest: float = math.inf) -> bool:
        """Add finished messages; returns whether something is due at once."""
        at_once = False
        row: GroupedDelivery
        for row in items:
            group = row.group
            more = group.rows[-1].state is not _ACKING
            if more:
                if group.acks_due < latest:
                    continue  # nearly always: the group has more to run, and its deletes have their time
                due = min(now + self.linger, latest)
            elif group.receive.cut is group:
                due = now
            else:
                due = min(now + self.unlock, latest)
            at_once |= due <= now
            # After a failure there is a pause, for the whole group.
            if due < group.acks_due and (not self._again or self._again.isdisjoint(group.rows)):
                self._set_due(group, due)
        return at_once

    def put_back(self, item: Any, *, ready: float, latest: float = math.inf) -> None:
        """Take back one that has gone and failed: nothing later of its group goes before it."""
        self._again.add(item)
        self._set_due(item.group, min(ready, latest))

    def answered(self, items: Sequence[Any]) -> None:
        """The call with these has been answered: what waits of their groups may go."""
        for group in dict.fromkeys(map(_group_of, items)):
            if group.acks_out:
                group.acks_out = ()
                if group in self._waiting:
                    self._set_due(group, group.acks_due)

    def _set_due(self, group: Group, due: float) -> None:
        group.acks_due = due
        self._waiting[group] = None
        if not group.acks_out:
            heappush(self._dues, (due, next(self._ticket), group))

    def _first(self) -> Group | None:
        """The group that is due next; entries that no longer hold are dropped."""
        dues = self._dues
        while dues:
            due, _, group = dues[0]
            if not group.acks_out and group.acks_due == due:
                return group
            heappop(dues)
        return None

    def due(self) -> float:
        """When something must be taken; inf when nothing waits or all of it waits for answers."""
        first = self._first()
        return math.inf if first is None else first.acks_due

    def take(self, now: float, *, flush: bool = False) -> tuple[list[Delivery], Why] | None:
        """Take the next batch out, with the reason why it goes; None when none is due by now."""
        first = self._first()
        while first is not None and self._behind_copies and not flush and not self._free(first):
            if first.acks_due > now:
                return None
            self._set_due(first, now + LOOK_AGAIN)
            first = self._first()
        if first is None or (first.acks_due > now and not flush):
            return None
        due = first.acks_due <= now
        batch: list[Delivery] = []
        self._move(first, batch, flush=flush)
        if len(batch) < self.size:
            # Those received together go together: SQS keeps the messages of a receive in one partition.
            again = self._again
            for group in (*first.receive.groups, *self._waiting):
                if group.acks_out or group not in self._waiting:
                    continue
                if flush or not again or group.acks_due <= now or again.isdisjoint(group.rows):
                    self._move(group, batch, flush=flush)
                    if len(batch) >= self.size:
                        break
        return batch, Why.SIZE if len(batch) == self.size else Why.TIME if due else Why.FLUSH

    def _free(self, group: Group) -> int:
        """How many of its deletes stand before every message that is being copied."""
        if all(row.state is not State.REJECTING for row in group.rows):  # nearly always
            return len(group.acks)
        copied = min(row.sequence for row in group.rows if row.state is State.REJECTING)
        return sum(row.sequence < copied for row in group.acks)

    def _move(self, group: Group, batch: list[Delivery], *, flush: bool = False) -> None:
        """Move the first deletes of a group into the batch; the others wait for the answer."""
        room = self.size - len(batch)
        if self._behind_copies and not flush:
            room = min(room, self._free(group))
            if not room:
                return
        acks = group.acks
        group.acks_out = taken = acks[:room]
        if len(acks) <= room:
            group.acks_due = math.inf
            del self._waiting[group]
        if self._again:
            self._again.difference_update(taken)
        batch.extend(taken)

    @property
    def put_back_count(self) -> int:
        """How many failed and wait to go again."""
        return len(self._again)

    def __bool__(self) -> bool:
        return bool(self._waiting)  # asked after each call of a stop, when all that is held may wait here

    def __len__(self) -> int:
        return sum(len(group.acks) for group in list(self._waiting))

    def __repr__(self) -> str:
        return f"<GroupBatch {len(self)} waiting in {len(self._waiting)} groups, {len(self._again)} put back>"
