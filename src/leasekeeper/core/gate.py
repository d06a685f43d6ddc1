"""The gate: which of the messages that are here may start now, by free handlers, by rate and by the turns of groups.

A consumer with `rate=`, `fair=` or `share=` has one; its capacity and its ordering work with it. Pure: the time comes
in, and messages to start come out. It promises that at most `most` handlers run, and no more start than the rate
allows, also when a lane starts them late because its loop is blocked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.line import FairLine, Line
    from leasekeeper.core.rate import TokenBucket
    from leasekeeper.core.sharing import Member

LOOK_AHEAD = 0.25
"""Seconds that a message may wait here for its token: so the rate is kept also with a small burst, while a receive is
under way."""
LONGEST_LOOK = 0.05
"""Seconds after which it is looked again, at most, whether a lane that is late has started its messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatistics:
    """What waits at a gate now."""

    waiting: int
    """Messages that are here and may not start yet."""
    limited: int
    """Those of them that wait only because their group has all the handlers it may have."""
    groups: int
    """Groups of messages that wait; 1 without `fair`."""
    tokens: float | None
    """Handlers that may start at once by `rate`; None without a rate."""


class Gate:
    """Lets messages start.

    Args:
        most: how many handlers may run at once.
        line: where messages wait.
        bucket: says how many may start by rate; None: all.
        member: the consumer's place in a share of handlers; None: it shares none.
        tells_starts: whether a lane starts at once what it is given, and notes when in `started`. Otherwise it collects
            messages or fetches their payloads first, and a message counts for the rate when the lane is given it.
    """

    def __init__(
        self,
        most: int,
        line: Line | FairLine,
        bucket: TokenBucket | None = None,
        member: Member | None = None,
        *,
        tells_starts: bool = True,
    ) -> None:
        self.line = line
        self.bucket = bucket
        self.member = member
        self._most = most
        self._running: set[Delivery] = set()
        self._tells_starts = tells_starts
        self._unstarted: set[Delivery] = set()
        """What the lane was given, and has not started as far as is known; only with a rate."""
        self._let_start_at = 0.0

    @property
    def running(self) -> int:
        """How many handlers run."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self.line)

    def start(self, now: float) -> list[Delivery]:
        """The messages that start now, in their order."""
        line, bucket, running, member = self.line, self.bucket, self._running, self.member
        rows: list[Delivery] = []
        if member is not None:
            member.waits = False
        if self._unstarted:
            self.note_starts()
        while len(running) < self._most and line.limited < len(line):
            if member is not None and not member.may_run():
                break
            if bucket is not None and not bucket.reserve(now):
                break
            rows.append(line.pop())
            running.add(rows[-1])
            if bucket is not None:
                self._reserved(rows[-1], bucket, now)
            if member is not None:
                member.running += 1
        return rows

    def _reserved(self, row: Delivery, bucket: TokenBucket, now: float) -> None:
        if self._tells_starts:
            self._unstarted.add(row)
            self._let_start_at = now
        else:
            bucket.started(now)

    def note_starts(self) -> None:
        """Note what the lane has started, so that further messages may start. Only a look tells."""
        if self.bucket is not None and self._unstarted:
            started = sorted((row for row in self._unstarted if row.started), key=lambda row: row.started)
            self._unstarted.difference_update(started)
            for row in started:
                self.bucket.started(row.started)

    def resize(self, most: int) -> None:
        """Let this many handlers run at once; those that are too many run to their end."""
        self._most = most

    def charge(self, now: float, count: int) -> None:
        """Count this many more as started, because they start together with others; a negative number: fewer."""
        if self.bucket is not None and count:
            self.bucket.charge(now, count)

    def ended(self, row: Delivery) -> None:
        """The handler of a message has ended. One that was not let start, or has ended before, changes nothing."""
        if row in self._running:
            self._running.remove(row)
            self.line.ended(row)
            if row in self._unstarted and self.bucket is not None:
                self._unstarted.remove(row)
                self.bucket.put_back()
            if self.member is not None:
                self.member.running -= 1

    def clear(self) -> list[Delivery]:
        """Let nothing wait any more; returns what did."""
        if self.member is not None:
            self.member.waits = False
        return self.line.clear()

    def start_others(self) -> None:
        """Let messages of other members of the share start: handlers have ended."""
        if self.member is not None:
            self.member.slots.start_next()

    def leave(self) -> None:
        """The consumer has ended."""
        if self.member is not None:
            self.member.slots.leave(self.member)

    def next_start(self, now: float) -> float:
        """When a message can start that waits for nothing but its token; inf if there is none."""
        if self.bucket is None or len(self._running) >= self._most or self.line.limited == len(self.line):
            return math.inf
        at = self.bucket.token_at(now)
        if self.bucket.reserved < self.bucket.burst:
            return at
        return max(at, now + min(LONGEST_LOOK, (now - self._let_start_at) / 4))  # the lane is late: look less often

    def promised(self, now: float, latency: float, claims: int, most: int) -> int:
        """How many more messages may be asked for, so that each that waits for nothing else starts in `LOOK_AHEAD`.

        Args:
            now: seconds, monotonic.
            latency: seconds until messages that are asked for are here.
            claims: messages that may come or are here, besides those that wait at the gate.
            most: the answer without a rate.
        """
        if self.bucket is None:
            return most
        self.note_starts()
        return self.bucket.promised(now, LOOK_AHEAD + latency, claims + self.waiting)

    def until_promised(self, now: float, latency: float, claims: int, count: int) -> float:
        """Seconds until this many are promised, if nothing else changes; 0.0 without a rate, and when they are now."""
        if self.bucket is None:
            return 0.0
        self.note_starts()
        ahead = self.bucket.rate * (LOOK_AHEAD + latency)
        return self.bucket.token_at(now, count + claims + self.waiting - ahead) - now

    def statistics(self, now: float) -> GateStatistics:
        """What waits now."""
        tokens = None if self.bucket is None else self.bucket.tokens(now)
        line = self.line
        return GateStatistics(waiting=len(line), limited=line.limited, groups=line.groups, tokens=tokens)

    def __repr__(self) -> str:
        return f"<Gate {len(self._running)}/{self._most} running, {self.waiting} waiting>"
