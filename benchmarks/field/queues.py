"""The queues of the lean SQS: visible messages, leased messages, and counts.

Owned by `broker.py`. It treats leases as strictly as AWS may, with as little CPU as Python allows: most of each answer
is written before a run, and a receive only joins the pieces. It is pure: callers pass `now`, in seconds of the
monotonic clock, or that clock itself.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import itertools
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

RECEIPT = "AQEB"
"""The start of a receipt. Ten digits of the message's number follow, then four of the receive's, then a filling."""
_FILL = "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY" * 11
_PLAIN = re.compile(r"(?<!\d)(\d{7})x{8}")
_PACKED = re.compile(r"[A-Za-z0-9+/]{16,}")
_numbers = itertools.count(1)


class Attribute(msgspec.Struct, rename="pascal", omit_defaults=True):
    """A user-defined attribute, as sent; a binary value stays in base64."""

    data_type: str
    string_value: str | None = None
    binary_value: str | None = None


def md5(data: bytes) -> str:
    """The digest that SQS sends with a body, hexadecimal."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, Attribute]) -> str:
    """The digest of attributes: by name, each part after its length (SQS developer guide, message metadata)."""
    whole = b""
    for name, attribute in sorted(attributes.items()):
        text = attribute.string_value is not None
        value = (attribute.string_value or "").encode() if text else base64.b64decode(attribute.binary_value or "")
        parts = [part.encode() for part in (name, attribute.data_type)]
        whole += b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        whole += (b"\x01" if text else b"\x02") + len(value).to_bytes(4, "big") + value
    return md5(whole)


def index_of(body: str, otherwise: int, depth: int = 4) -> int:
    """The index of the payload in a body of any format: seven digits before x's, maybe in base64, or `otherwise`."""
    if found := _PLAIN.search(body):
        return int(found[1])
    if depth:
        for run in _PACKED.findall(body):
            inner = base64.b64decode(run[: len(run) // 4 * 4]).decode("latin-1")
            if (index := index_of(inner, -1, depth - 1)) >= 0:
                return index
    return otherwise


@dataclass(frozen=True, slots=True)
class Item:
    """The part of a message that is the same in every run: its payload's index, and the middle of its answer."""

    index: int
    middle: bytes
    group: str = ""

    @classmethod
    def of(cls, index: int, body: str, attributes: Mapping[str, Attribute] | None = None, group: str = "") -> Item:
        """An item for this body; index: of the payload; group: of messages for a FIFO queue."""
        written = ""
        if attributes:
            values = msgspec.json.encode(attributes).decode()
            written = f'"MD5OfMessageAttributes":"{md5_of_attributes(attributes)}","MessageAttributes":{values},'
        data = body.encode()
        place = f'"MessageGroupId":"{group}","SequenceNumber":"188{index:017d}",' if group else ""
        middle = (
            f'{_FILL}","MD5OfBody":"{md5(data)}","Body":{msgspec.json.encode(body).decode()},{written}'
            f'"Attributes":{{{place}"SenderId":"AIDAIENQZJOLO23YVJ4VO","SentTimestamp":"'
        )
        return cls(index, middle.encode(), group)


class Sent:
    """A message in a queue: an item, an identity and the state of its lease."""

    __slots__ = ("deadline", "first", "head", "item", "number", "receives", "sent")

    def __init__(self, item: Item, sent: bytes) -> None:
        self.item = item
        self.number = number = next(_numbers)
        self.head = b'{"MessageId":"%08x-5a5a-4b4b-8c8c-%012x","ReceiptHandle":"AQEB%010d' % (number, number, number)
        self.sent = sent
        self.receives = 0
        self.first = 0
        self.deadline: float | None = None  # of its lease, if it has one


@dataclass(slots=True)
class Counts:
    """The counts of a queue."""

    calls: Counter[str] = field(default_factory=Counter)
    received: int = 0
    empty_receives: int = 0
    redelivered: int = 0
    deleted: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    heartbeat_calls: int = 0
    heartbeats: int = 0
    releases: int = 0
    released_at: float | None = None
    first_receive: float | None = None
    last_delete: float | None = None
    deletes: Counter[int] = field(default_factory=Counter)  # by the 10 ms since the release


class Queue:
    """A queue: messages that are visible, messages that are leased, and a count of everything."""

    fifo = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.latency = 0.0
        self.visibility = 30
        self.counts = Counts()
        self.deleted: set[int] = set()
        self._messages: dict[int, Sent] = {}
        self._visible: deque[Sent] = deque()
        self._released: list[tuple[float, list[Sent]]] = []
        self._leases: list[tuple[float, int, list[Sent]]] = []
        self._order = itertools.count()

    @property
    def visible(self) -> int:
        """How many messages wait to be received."""
        return len(self._messages) - self.counts.in_flight

    def leased(self) -> list[int]:
        """The indices of the messages in flight."""
        return [message.item.index for message in self._messages.values() if message.deadline is not None]

    def add(self, items: Sequence[Item], wall_ms: int) -> list[Sent]:
        """Make messages of these items, each with a separate identity; they can be received after their release."""
        sent = b"%d" % wall_ms
        messages = [Sent(item, sent) for item in items]
        self._messages.update((message.number, message) for message in messages)
        return messages

    def release(self, messages: list[Sent], clock: Callable[[], float]) -> None:
        """Make messages visible that were added. `clock` is read afterwards: sorting many into groups takes time."""
        self._make_visible(messages)
        now = clock()
        self._released.append((now, messages))
        if self.counts.released_at is None:
            self.counts.released_at = now

    def release_times(self) -> dict[int, float]:
        """When each index was released."""
        return {message.item.index: time for time, messages in self._released for message in messages}

    def expire(self, now: float) -> None:
        """Make messages visible after their lease has ended."""
        leases = self._leases
        while leases and leases[0][0] <= now:
            for message in heapq.heappop(leases)[2]:
                if message.deadline is not None and message.deadline <= now:
                    self._show(message)

    def receive(self, limit: int, visibility: float, now: float, wall_ms: int) -> bytes | None:
        """An answer of up to `limit` messages, leased for `visibility` seconds, or None when there is none."""
        self.expire(now)
        parts: list[bytes] = []
        fresh = b'","ApproximateReceiveCount":"1","ApproximateFirstReceiveTimestamp":"%d"}}' % wall_ms
        deadline = now + visibility if visibility > 0 else None
        counts = self.counts
        taken = self._take(limit)
        for message in taken:
            message.deadline = deadline
            message.receives += 1
            if message.receives == 1:
                message.first = wall_ms
                parts += (b",", message.head, b"0001", message.item.middle, message.sent, fresh)
            else:
                counts.redelivered += 1
                parts.append(b",")
                parts += _again(message)
        if not taken:
            return None
        if deadline is not None:
            heapq.heappush(self._leases, (deadline, next(self._order), taken))
        else:
            self._make_visible(taken)
        self._count_received(len(taken), now, leased=deadline is not None)
        parts[0] = b'{"Messages":['
        parts.append(b"]}")
        return b"".join(parts)

    def delete(self, receipts: Iterable[str], now: float) -> None:
        """Delete the messages for which these receipts are the newest."""
        done = 0
        for receipt in receipts:
            message = self._messages.get(int(receipt[4:14]))
            if message is None or message.receives != int(receipt[14:18]):
                continue
            del self._messages[message.number]
            self.deleted.add(message.item.index)
            if message.deadline is not None:
                self.counts.in_flight -= 1
                self._left(message)
            done += 1
        if done:
            counts = self.counts
            counts.deleted += done
            counts.last_delete = now
            counts.deletes[int((now - (counts.released_at or now)) * 100)] += done

    def change(self, changes: Iterable[tuple[str, int]], now: float) -> list[bool]:
        """Set the remaining time of leases; return which receipts were the newest of a leased message."""
        changed: list[bool] = []
        extended = 0
        for receipt, seconds in changes:
            message = self._messages.get(int(receipt[4:14]))
            extended += seconds > 0
            self.counts.releases += seconds == 0
            if message is None or message.deadline is None or message.receives != int(receipt[14:18]):
                changed.append(False)
                continue
            changed.append(True)
            message.deadline = now + seconds
            heapq.heappush(self._leases, (message.deadline, next(self._order), [message]))
        self.counts.heartbeats += extended
        self.counts.heartbeat_calls += extended > 0
        self.expire(now)
        return changed

    def purge(self) -> None:
        """Forget all messages."""
        self._messages.clear()
        self._visible.clear()
        self._leases.clear()
        self.counts.in_flight = 0

    def _show(self, message: Sent) -> None:
        message.deadline = None
        if message.number in self._messages:
            self.counts.in_flight -= 1
            self._show_again(message)

    def _make_visible(self, messages: Iterable[Sent]) -> None:
        self._visible.extend(messages)

    def _take(self, limit: int) -> list[Sent]:
        """The next messages to give out; those that were deleted after their lease had ended are dropped."""
        visible, messages, taken = self._visible, self._messages, list[Sent]()
        while visible and len(taken) < limit:
            message = visible.popleft()
            if message.number in messages:
                taken.append(message)
        return taken

    def _left(self, message: Sent) -> None:
        """A message was deleted while it was in flight."""

    def _show_again(self, message: Sent) -> None:
        self._visible.append(message)

    def _count_received(self, count: int, now: float, *, leased: bool) -> None:
        counts = self.counts
        counts.received += count
        if counts.first_receive is None:
            counts.first_receive = now
        if leased:
            counts.in_flight += count
            counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)


def _again(message: Sent) -> tuple[bytes, ...]:
    """The parts of a message that was received before."""
    receives = message.receives
    end = b'","ApproximateReceiveCount":"%d","ApproximateFirstReceiveTimestamp":"%d"}}' % (receives, message.first)
    return (message.head, b"%04d" % receives, message.item.middle, message.sent, end)
