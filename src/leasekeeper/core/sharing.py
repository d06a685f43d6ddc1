"""Shared slots: which of several consumers may receive and run next, when all of them share their handlers.

The consumers of one `Share` have one, on one loop. Pure: the time comes in. It promises:

- no more handlers run at once than the share has;
- while a queue of a higher priority has a backlog, none of a lower priority is polled;
- consumers of one priority that have a backlog get slots in the ratio of their weights, averaged over time;
- an empty queue keeps no slots from the others. A long poll that has waited for a moment shows that its queue is empty,
  and its slots are lent. So a message that it brings later may find no free handler: it is the next to start then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HELD_FOR = 1.0
"""Seconds for which a message is assumed to hold its slot, before the first has given it back."""
LOOKS = 4
"""A poll of a queue that seemed empty asks for this part of the free slots: its queue will rarely fill them."""


class Poll:
    """An open poll.

    Attributes:
        count: how many messages it asks for.
        kept: slots that are kept for them; 0 once they are lent.
        until: when they are lent.
    """

    __slots__ = ("count", "kept", "until")

    def __init__(self, count: int, kept: int, until: float) -> None:
        self.count = count
        self.kept = kept
        self.until = until


class Member:
    """One consumer of a share.

    Args:
        slots: the share's.
        weight: its part of the slots, in relation to the weights of the others of its priority.
        priority: a lower number goes first.
        most: how many slots it may have.
        wake: called when its polls may get slots, or its messages may start.

    Attributes:
        held: slots of its messages.
        running: handlers that run.
        asking: polls that wait for slots.
        waits: whether a message of it waits for a handler of the share only.
        backlog: whether its queue is known to hold more than was received.
    """

    def __init__(
        self,
        slots: SharedSlots,
        weight: int,
        priority: int,
        most: int,
        *,
        wake: Callable[[], None],
    ) -> None:
        self.slots = slots
        self.weight = weight
        self.priority = priority
        self.most = most
        self.wake = wake
        self.held = 0
        self.running = 0
        self.asking = 0
        self.waits = False
        self.backlog = False
        self._doubted_at = -math.inf
        """When the backlog is doubted if it has not asked until then."""
        self._polls: set[Poll] = set()
        self._kept = 0
        """Slots that are kept for polls."""
        self._used = 0.0
        """Slot-seconds so far."""
        self._used_at = -math.inf
        self._given_back = 0
        self._lift = 0.0
        """What was added to its charge: what it left unused while its queue was empty, it does not get later."""

    @property
    def taken(self) -> int:
        """Its slots, those included that are kept for its polls."""
        return self.held + self._kept

    @property
    def polling(self) -> bool:
        """Whether a poll is open."""
        return bool(self._polls)

    @property
    def charge(self) -> float:
        """What it has used and is about to use, by its weight. Of several with a backlog, the least goes first."""
        seconds = self._used / self._given_back if self._given_back else HELD_FOR
        return self._lift + (self._used + seconds * self.taken) / self.weight

    @property
    def rank(self) -> tuple[int, float]:
        """Its place in the order: the least goes first."""
        return self.priority, self.charge

    @property
    def full(self) -> bool:
        """Whether it has as many slots as it may have."""
        return self.taken >= self.most

    def look(self, now: float) -> None:
        """Note what follows from the time that has passed."""
        if now > self._used_at:
            if self.held:
                self._used += self.held * (now - self._used_at)
            self._used_at = now
        for poll in self._polls:
            if poll.kept and poll.until <= now:
                self._kept -= poll.kept
                poll.kept = 0
                self.backlog = False
        if self._doubts and self._doubted_at <= now:
            self.backlog = False

    @property
    def _doubts(self) -> bool:
        """Whether its backlog is doubted soon: it could ask, and does not."""
        return self.backlog and not self.asking and not self.full

    def next_look(self) -> float:
        """When that is to be done again; inf if nothing changes with time."""
        times = [poll.until for poll in self._polls if poll.kept]
        if self._doubts:
            times.append(self._doubted_at)
        return min(times, default=math.inf)

    def may_run(self) -> bool:
        """Whether a message of it may start now. If not, it waits, and is woken when it may."""
        self.waits = not self.slots.may_start(self)
        return not self.waits

    def expect(self, until: float) -> None:
        """Assume a backlog before its first poll, which is made until then."""
        self.backlog = True
        self._doubted_at = until

    def open(self, poll: Poll) -> None:
        """A poll is made."""
        self._polls.add(poll)
        self._kept += poll.kept
        self._doubted_at = poll.until

    def answered(self, poll: Poll, fresh: int, *, backlog: bool, until: float) -> None:
        """A poll has ended: this many of its messages have to run, and perhaps the queue holds more."""
        self._polls.remove(poll)
        self._kept -= poll.kept
        self.held += fresh
        self.backlog = backlog
        self._doubted_at = until

    def released(self, count: int, until: float) -> None:
        """Messages have given back their slots. If it could not ask before, it has until then to ask."""
        if self.full:
            self._doubted_at = until
        self.held -= count
        self._given_back += count

    def lift(self, charge: float) -> None:
        """Let its charge be no less than this."""
        self._lift += max(0.0, charge - self.charge)


class SharedSlots:
    """The slots of one share.

    Args:
        concurrency: how many there are.
        coming: the priorities of consumers that start and are no members yet; other threads may add some.
    """

    def __init__(self, concurrency: int, coming: Mapping[object, int] | None = None) -> None:
        self.concurrency = concurrency
        self._coming = coming if coming is not None else {}
        self.members: list[Member] = []
        self._reached: dict[int, float] = {}
        """By priority, the charge at which slots were given last."""

    @property
    def free(self) -> int:
        """Slots that are not taken; below 0 while messages of lent polls wait."""
        return self.concurrency - sum(member.taken for member in self.members)

    @property
    def running(self) -> int:
        """Handlers that run."""
        return sum(member.running for member in self.members)

    def goes_first(self, member: Member) -> bool:
        """Whether the member has a higher priority than another one, which may still be coming."""
        others = (*(each.priority for each in self.members), *list(self._coming.values()))
        return any(other > member.priority for other in others)

    def leave(self, member: Member) -> None:
        """A consumer has ended; its slots are free. A second time this changes nothing."""
        if member in self.members:
            self.members.remove(member)
            self.changed()

    def _look(self, now: float) -> None:
        for member in self.members:
            member.look(now)

    def next_look(self, now: float) -> float:
        """When time alone may give slots to a poll that waits; inf if it cannot."""
        times = [member.next_look() for member in self.members]
        return min((at for at in times if at > now), default=math.inf)

    # Polls

    def ask(self, member: Member, most: int, now: float, patience: float) -> Poll | None:
        """Open a poll of up to `most` messages; None: not now.

        Args:
            member: the consumer that polls.
            most: how many messages it can take, 1 or more.
            now: seconds, monotonic.
            patience: seconds after which an open poll shows that its queue is empty.
        """
        self._look(now)
        if self._coming and min(list(self._coming.values()), default=math.inf) < member.priority:
            return None
        free = self.free
        rivals = [other for other in self.members if other.backlog and other is not member]
        higher = [other for other in rivals if other.priority < member.priority]
        if member.backlog:
            first = not any(other.rank < member.rank and not other.full for other in rivals)
            count = min(most, free) if first else 0
        else:  # only a look at the queue: without a free slot it takes none
            first = not (higher or member.polling) if free <= 0 else all(other.full for other in higher)
            count = min(most, max(1, free // LOOKS)) if first else 0
        if count <= 0:
            return None
        if member.backlog:
            self._reached[member.priority] = member.charge
        poll = Poll(count, min(count, max(0, free)), now + patience)
        member.open(poll)
        return poll

    def answered(self, member: Member, poll: Poll, fresh: int, *, backlog: bool, now: float, patience: float) -> None:
        """A poll is over.

        Args:
            member: the consumer that polled.
            poll: as `ask` returned it.
            fresh: how many messages it brought that are to be run.
            backlog: whether the queue holds more, as far as the answer shows.
            now: seconds, monotonic.
            patience: seconds within which the member asks again if it can.
        """
        self._look(now)
        had = member.backlog
        member.answered(poll, fresh, backlog=backlog, until=now + patience)
        if backlog and not had:
            member.lift(self._reached.get(member.priority, 0.0))
        self.changed()

    def released(self, member: Member, count: int, now: float, patience: float) -> None:
        """Messages have given back their slots; `patience` as in `answered`."""
        self._look(now)
        member.released(count, now + patience)
        self.changed()

    def wait(self, member: Member, count: int, now: float) -> None:
        """Messages wait for something else than a handler, without their slots; a negative number: they go on."""
        self._look(now)
        member.held -= count
        self.changed()

    def changed(self) -> None:
        """Let polls that wait ask again, in their order."""
        for member in sorted((each for each in self.members if each.asking), key=lambda each: each.rank):
            member.wake()

    # Handlers

    def may_start(self, member: Member) -> bool:
        """Whether a message of the member may start now: a handler is free, and no other member goes first."""
        if self.running >= self.concurrency:
            return False
        return not any(other.waits and other.rank < member.rank for other in self.members if other is not member)

    def start_next(self) -> None:
        """Let messages that wait for a handler start, in the order of their members: handlers have ended."""
        for member in sorted((each for each in self.members if each.waits), key=lambda each: each.rank):
            if self.running >= self.concurrency:
                return
            member.wake()

    def __repr__(self) -> str:
        return f"<SharedSlots {self.running}/{self.concurrency} running, {self.free} free>"
