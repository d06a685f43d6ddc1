"""The nouns of FIFO queues: a message group as far as we hold it, a message of one, and the receive that brought it.

`core.groups` moves them; `core.group_batch` keeps the deletes of a group in it. Three fields are written elsewhere:
`ended` by the settler, and `ended`, `halts` and `stuck` by the order. A lane takes from `Group.following`.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Delivery
from leasekeeper.core.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

_WAITING = State.WAITING  # the lookup of an enum's member takes time
FULL = 10
"""Messages of a receive that was full: SQS hands out no more at once."""


class Receive:
    """The messages that one receive brought."""

    __slots__ = ("cut", "groups")

    def __init__(self) -> None:
        self.groups: list[Group] = []
        """The groups of its messages. Not the messages: they refer to the receive, and nothing would free a circle."""
        self.cut: Group | None = None
        """The group that SQS probably has more of: the last one, if the answer was full.

        SQS hands out as many messages of a group as it can, then those of others (SQS guide, FIFO delivery logic).
        """


NO_RECEIVE = Receive()
NOTHING: deque[GroupedDelivery] = deque()
"""Stands for what a lane may take by itself while there is nothing. It stays empty."""


class Group:
    """All that we hold of one message group, in the order of the queue."""

    __slots__ = (
        "acks_due",
        "acks_out",
        "active",
        "busy",
        "first",
        "following",
        "halted",
        "held",
        "name",
        "receive",
        "refused",
        "rows",
        "run",
        "until",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[GroupedDelivery] = []
        self.receive = NO_RECEIVE
        """The last receive that brought messages of it. A group that is dropped leaves it: it refers to the group."""
        self.first = 0
        """The place of the first message in `rows` that may not be finished: those before it are."""
        self.active: GroupedDelivery | None = None
        """The message that was handed to the lane and has not come back; also after its lease was lost."""
        self.run: list[GroupedDelivery] = []
        """The messages that were handed to the lane together, as one batch or to start one after another; `active` is
        the first of them. Empty for a message alone."""
        self.following: deque[GroupedDelivery] = NOTHING
        """Those of `run` that the lane may take and start by itself, when the one before has returned. It takes them
        from the left and in other threads, and `take_back` takes them from the right: each is taken once."""
        self.until = 0.0
        """When the first message may run again, or its copy may be tried again; 0.0: now."""
        self.halted = False
        """Whether that wait is for a message that the group cannot get past."""
        self.refused = 0.0
        """Seconds for which what comes in is given back, because a handler never ends; 0.0: it is kept."""
        self.busy = False
        """Whether it counts among the groups that are at work."""
        self.held = 0
        """How many of its messages count among those that wait for a back-off."""
        self.acks_due = math.inf
        """When the deletes that wait are due; inf: none waits. `core.group_batch` uses these two."""
        self.acks_out: Sequence[GroupedDelivery] = ()
        """The messages with a delete that has no answer yet."""

    def lead(self) -> None:
        """Let the lane start what waits behind `active`, one after another, as long as each returns."""
        run = self.rows[self.first :]
        for place, row in enumerate(run):
            if row.state is not _WAITING or row.going_back:
                del run[place:]
                break
        if len(run) > 1 and run[0] is self.active:
            self.run, self.following = run, deque(run[1:])

    def take_back(self) -> None:
        """Let the lane start nothing more by itself: what it has not taken yet waits here again."""
        following, self.following = self.following, NOTHING
        # Race: a thread takes from the other end. What was taken in time is still in `run`, and will be answered.
        with suppress(IndexError):
            while following:
                following.pop()
                self.run.pop()

    @property
    def acks(self) -> list[GroupedDelivery]:
        """Finished messages that wait for their delete, in order."""
        rows, out = self.rows, self.acks_out
        if not out and rows and self.first >= len(rows) - 1 and rows[-1].state is State.ACKING:
            return rows[:]  # nearly always: all are finished
        return [row for row in rows if row.state is State.ACKING and row not in out]

    def __repr__(self) -> str:
        return f"<Group {self.name!r} {len(self.rows)} held, active {self.active!r}>"


NONE = Group("")
"""Stands for a group until a message is put into one."""


class GroupedDelivery(Delivery, eq=False):
    """A message of a FIFO queue that we hold."""

    group: Group = NONE
    sequence: int = 0
    """Its place in the queue: grows within a group."""
    going_back: bool = False
    """Whether it waits to be given back: it does not start any more."""
    halts: bool = False
    """Whether its group cannot get past it."""
    reason: str = ""
    """Why not: the counter of how its last attempt ended."""
    ended: bool = False
    """Whether its handler has ended."""
    stuck: bool = False
    """Whether a handler goes on with it without a lease, or beyond its time."""

    @property
    def in_lane(self) -> bool:
        """Whether it was handed to the lane and has not come back."""
        group = self.group
        return group.active is self or self in group.run

    @property
    def in_line(self) -> bool:
        """Whether the lane will say that it was not started, if it must not start any more."""
        return self.in_lane and not self.stuck

    @property
    def settles_later(self) -> bool:
        """Whether its handler is still running: deleted now, it could unlock its group for another process."""
        return not self.ended

    @property
    def is_behind(self) -> bool:
        """Whether an earlier message of its group is still to run, or goes back."""
        for each in self.group.rows:
            if each is self:
                break
            if each.state is State.RELEASING or (each.state is State.WAITING and not each.started):
                return True
        return False

    @property
    def has_followers(self) -> bool:
        """Whether something waits behind it."""
        rows = self.group.rows
        return bool(rows) and rows[-1] is not self


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatistics:
    """The message groups of a FIFO queue at one moment."""

    held: int
    """Groups with a message that is held."""
    running: int
    """Groups with a handler at work or about to start."""
    backing_off: int
    """Groups whose first message waits here to run again."""
    halted: int
    """Groups that cannot get past their first message: it used up its attempts, or its copy is refused."""
    waiting: int
    """Messages that wait behind the first one of their group."""
    given_back: int
    """Messages given back because an earlier one of their group was released or lost, since the start."""

    @classmethod
    def of(cls, groups: Sequence[Group], *, given_back: int) -> GroupStatistics:
        """Those of these groups; may be asked from any thread."""
        waits = [group for group in groups if group.until and group.active is None]
        halted = sum(group.halted for group in waits)
        return cls(
            held=len(groups),
            running=sum(group.active is not None for group in groups),
            backing_off=len(waits) - halted,
            halted=halted,
            waiting=sum(max(0, sum(row.state is State.WAITING for row in list(group.rows)) - 1) for group in groups),
            given_back=given_back,
        )
