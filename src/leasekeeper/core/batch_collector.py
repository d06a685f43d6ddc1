"""Collecting: which messages make a batch, and when a batch is complete.

Used by the bundle lane, by the groups of a FIFO queue, and in Lambda. Pure: times come in, complete batches go out. It
promises that each message is in one batch, that a batch keeps the order of receiving, and that no batch is larger than
its bounds, but for one message that is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.core.states import State

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from leasekeeper.batch import Trigger
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.group import GroupedDelivery


LONGEST_CHARACTER = 4
"""Bytes that a character has at most in UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """When a batch is complete.

    Attributes:
        size: messages in a batch at most, 1 or more.
        wait: seconds that the oldest message waits at most; 0: no longer than its receive.
        most_bytes: bytes of bodies in a batch at most; a longer body is a batch alone.
    """

    size: int
    wait: float
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Collected:
    """A complete batch."""

    rows: list[Delivery]
    trigger: Trigger
    waited: float
    """Seconds that its oldest message waited for others."""


class _Open:
    """A batch that is not complete yet."""

    __slots__ = ("most_bytes", "rows", "since")

    def __init__(self, since: float) -> None:
        self.rows: list[Delivery] = []
        self.most_bytes = 0
        """What its bodies can have at most."""
        self.since = since

    @property
    def bytes(self) -> int:
        """What its bodies have."""
        return sum(map(body_bytes, self.rows))


class Collector:
    """Collects messages into batches, apart for each key."""

    def __init__(self, policy: BatchPolicy) -> None:
        self._policy = policy
        self._open: dict[Hashable, _Open] = {}

    def __len__(self) -> int:
        """How many messages are in batches that are not complete."""
        return sum(len(each.rows) for each in list(self._open.values()))  # other threads may ask

    def add(self, rows: Sequence[Delivery], now: float, key: Hashable = None) -> list[Collected]:
        """Add messages of one key; returns the batches that they complete."""
        current = self._open.get(key)
        more = _most_bytes(rows)
        if more + (0 if current is None else current.most_bytes) > self._policy.most_bytes:
            return self._add_counted(rows, now, key)
        complete: list[Collected] = []
        size, place = self._policy.size, 0
        while place < len(rows):  # once, nearly always
            if current is None:
                current = self._open[key] = _Open(now)
            part = rows[place : place + size - len(current.rows)]
            place += len(part)
            current.rows += part
            current.most_bytes += more if len(part) == len(rows) else _most_bytes(part)
            if len(current.rows) >= size:
                complete.append(self._close(key, "size", now))
                current = None
        return complete

    def _add_counted(self, rows: Sequence[Delivery], now: float, key: Hashable) -> list[Collected]:
        """Add messages that may not all fit: count their bytes."""
        policy, current = self._policy, self._open.get(key)
        complete: list[Collected] = []
        length = 0 if current is None else current.bytes
        for row in rows:
            length += (added := body_bytes(row))
            if current is not None and length > policy.most_bytes:
                complete.append(self._close(key, "bytes", now))
                current = None
            if current is None:
                current = self._open[key] = _Open(now)
                length = added
            current.rows.append(row)
            current.most_bytes = length
            if len(current.rows) >= policy.size:
                complete.append(self._close(key, "size", now))
                current = None
        return complete

    def add_together(self, rows: Sequence[Delivery], now: float) -> list[Collected]:
        """Add messages that must be in one batch, at most `size`; returns the batches that they complete."""
        policy, current = self._policy, self._open.get(None)
        complete: list[Collected] = []
        length = sum(map(body_bytes, rows))
        if current is not None and len(current.rows) + len(rows) > policy.size:
            complete.append(self._close(None, "size", now))
            current = None
        if current is not None and current.bytes + length > policy.most_bytes:
            complete.append(self._close(None, "bytes", now))
            current = None
        if current is None:
            current = self._open[None] = _Open(now)
        current.rows += rows
        current.most_bytes += length
        if len(current.rows) >= policy.size:
            complete.append(self._close(None, "size", now))
        return complete

    def _close(self, key: Hashable, trigger: Trigger, now: float) -> Collected:
        done = self._open.pop(key)
        return Collected(done.rows, trigger, max(0.0, now - done.since))

    def next_due(self) -> float:
        """When the oldest message of all has waited long enough; inf without one."""
        return min((each.since for each in self._open.values()), default=math.inf) + self._policy.wait

    def take_due(self, now: float, most: int) -> list[Collected]:
        """Complete up to `most` batches with messages that have waited long enough, longest first."""
        due = [(each.since, key) for key, each in self._open.items() if each.since + self._policy.wait <= now]
        due.sort(key=lambda each: each[0])
        return [self._close(key, "wait", now) for _, key in due[: max(0, most)]]

    def take_all(self, now: float) -> list[Collected]:
        """Complete every batch, because of a stop."""
        return [self._close(key, "stop", now) for key in list(self._open)]


def _most_bytes(rows: Sequence[Delivery]) -> int:
    """What the bodies of these can have at most, without looking at their characters."""
    return LONGEST_CHARACTER * sum([len(row.received.body) for row in rows])


def body_bytes(row: Delivery) -> int:
    """The bytes of a message's body."""
    body = row.received.body
    return len(body) if body.isascii() else len(body.encode())


def together(
    first: GroupedDelivery, rows: Sequence[GroupedDelivery], now: float, *, most: int, most_bytes: int
) -> list[GroupedDelivery]:
    """This message of a group and those right behind it in `rows` that may run in the same batch.

    A message that is tried again runs alone: if it is the one that fails, the others go on when it is settled.
    """
    if first.attempt > 1:
        return [first]
    batch: list[GroupedDelivery] = []
    length = 0
    for row in rows[rows.index(first) :][:most]:
        if row.state is not State.WAITING or row.going_back or row.lease.deadline <= now or row.attempt > 1:
            break
        length += body_bytes(row)
        if batch and length > most_bytes:
            break
        batch.append(row)
    return batch
