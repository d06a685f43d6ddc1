"""The capacity of a consumer that shares its handlers: polls get slots from the share, in the order of its members.

Owned by the runner. It promises that nothing is received for which the share has no handler, except by a look at a
queue that seemed empty, and that a poll which waits for the share is woken when it may get slots.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from leasekeeper.core.sharing import Member, SharedSlots
from leasekeeper.engine.capacity import GATHER
from leasekeeper.engine.limited_capacity import LimitedCapacity
from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from leasekeeper.core.gate import Gate
    from leasekeeper.core.sharing import Poll
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.options import Options
    from leasekeeper.share import Share

PATIENCE = 0.1
"""Seconds at least after which an open poll shows that its queue is empty."""
LATENCIES = 5
"""The same in latencies of a receive, where those are long."""
FIRST_POLL = 1.0
"""Seconds for which those of lower priority wait for a first poll, and for its answer: also after a pause."""
OPENING = 30.0
"""Seconds for which they wait at most until its lane is open."""
_joining = threading.Lock()


class LoopSlots(SharedSlots):
    """The slots of a share, on one loop."""

    def __init__(self, share: Share, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(share.concurrency, share.coming)
        self.loop = loop


def announce(consumer: object, options: Options) -> None:
    """It starts, and joins its share later, if it has one: those of lower priority wait for it."""
    if options.share is not None:
        options.share.coming[consumer] = options.priority


def withdraw(consumer: object, options: Options) -> bool:
    """It need not be waited for; returns whether it was."""
    return options.share is not None and options.share.coming.pop(consumer, None) is not None


def arrived(consumer: object, options: Options) -> None:
    """It has joined, or has ended before: those that waited for it may ask. To be called on the engine's loop."""
    if withdraw(consumer, options) and options.share is not None and options.share.slots is not None:
        options.share.slots.changed()


def join(share: Share, options: Options, *, wake: Callable[[], None]) -> Member:
    """Make a consumer a member of a share, on the running loop.

    Raises:
        ConfigurationError: the share has members on another loop.
    """
    loop = asyncio.get_running_loop()
    with _joining:  # the loops of two apps are in two threads
        slots = share.slots
        if slots is None or (slots.loop is not loop and not slots.members):
            slots = share.slots = LoopSlots(share, loop)
        if slots.loop is not loop:
            raise ConfigurationError(
                f"{share!r} has consumers of two apps, or outside an app: each of them runs on another event loop, and "
                "a share works on one. Declare its consumers in one Leasekeeper app, or give each app a Share"
            )
        most = min(options.concurrency, share.concurrency)
        member = Member(slots, options.weight, options.priority, most, wake=wake)
        slots.members.append(member)
        member.expect(loop.time() + OPENING)
    return member


class SharedCapacity(LimitedCapacity):
    """Slots of a share, for one of its members.

    Args:
        options: as `Capacity`.
        throttler: as `Capacity`.
        in_flight: as `Capacity`.
        gate: says how many may start, and when.
        clock: seconds, monotonic.
        member: the consumer's place in the share.
    """

    def __init__(
        self,
        options: Options,
        throttler: Throttler,
        in_flight: Sized,
        *,
        gate: Gate,
        clock: Callable[[], float],
        member: Member,
    ) -> None:
        super().__init__(options, throttler, in_flight, gate, clock)
        self._member = member
        self._slots = member.slots
        self._polls: dict[asyncio.Task[None] | None, Poll] = {}
        """The open polls, by the task of their poller."""
        self._answered = False

    @property
    def _patience(self) -> float:
        if not self._answered and self._slots.goes_first(self._member):
            return FIRST_POLL  # connections are made, and nothing is known of the queue
        return max(PATIENCE, LATENCIES * self._throttler.latency)

    def expect_poll(self) -> None:
        """The pollers start now, or go on after a pause: those of lower priority wait for their first poll."""
        self._member.expect(self._clock() + FIRST_POLL)
        self._slots.changed()

    def has_room(self, most: int) -> bool:
        """Whether `reserve` would perhaps not have to wait."""
        return self._slots.free > 0 and super().has_room(most)

    async def reserve(self, most: int) -> int:
        """Take slots of the share for a poll, waiting until it is this member's turn; 0 once the capacity is closed."""
        member = self._member
        while not self._closed:
            room = 0 if self._too_few() else min(most, self._left())
            if room > 0 and member.backlog and 0 < self._slots.free < room:
                await self._wait_for_more()
                room = min(room, self._left())
            if room > 0 and (poll := self._slots.ask(member, room, self._clock(), self._patience)) is not None:
                self._polls[asyncio.current_task()] = poll
                self.taken += poll.count
                self.polling += poll.count
                return poll.count
            if not self._closed:
                asking = int(room > 0)
                member.asking += asking
                try:
                    await self._turn()
                finally:
                    member.asking -= asking
        return 0

    async def _wait_for_more(self) -> None:
        """Wait a moment for more free slots: then a receive brings more than one message."""
        moment = min(GATHER, self._throttler.handler_seconds / 20)
        if moment > 0.001:
            self._member.asking += 1
            try:
                await asyncio.sleep(moment)
            finally:
                self._member.asking -= 1

    def received(self, reserved: int, fresh: int) -> None:
        """A poll that had reserved slots is over: `fresh` of them go to its messages, the others are free again."""
        self._answered = True
        self.polling -= reserved
        self.taken -= reserved - fresh
        if fresh:
            self._idle.clear()
        poll = self._polls.pop(asyncio.current_task())
        backlog = fresh > 0 and self._throttler.backlog
        self._slots.answered(self._member, poll, fresh, backlog=backlog, now=self._clock(), patience=self._patience)
        super().give_back(0)

    def give_back(self, slots: int) -> None:
        """These slots are free again."""
        super().give_back(slots)
        if slots:
            self._slots.released(self._member, slots, self._clock(), self._patience)

    def wait(self, slots: int) -> None:
        """As any capacity; meanwhile the slots are those of the share."""
        self._slots.wait(self._member, slots, self._clock())
        super().wait(slots)

    def _next_look(self) -> float:
        """Seconds until the next look, if nothing else changes before; 0.0: never."""
        now = self._clock()
        at = self._slots.next_look(now)
        tokens = super()._next_look()
        seconds = at - now + 1e-6 if at < float("inf") else 0.0
        return min(tokens, seconds) if tokens and seconds else tokens or seconds
