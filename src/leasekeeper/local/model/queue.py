"""One queue: its messages, where each of them is, and the six things that can be done with them.

Owned by the account. It promises that sending, receiving, deleting and changing visibility cost the same at any depth,
and that its counts are right at every moment: each is kept, none is counted.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Protocol

from leasekeeper.local.model import refusals
from leasekeeper.local.model.fifo import Attempts, Deduplication, Groups
from leasekeeper.local.model.standard import Tenants
from leasekeeper.local.model.stored import Place, Stored, read_receipt
from leasekeeper.local.model.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.local.model.settings import Settings

LIFETIME = 43_200.0
"""Seconds after its receive at which a message's receipt and its invisibility end (AWS SQS quotas)."""
IN_FLIGHT_LIMIT = 120_000
PURGE_INTERVAL = 60.0


class Order(Protocol):
    """In which order messages are received: `Tenants` for standard queues, `Groups` for FIFO ones."""

    def added(self, message: Stored, /) -> None:
        """A message came in, visible or delayed."""
        ...

    def shown(self, message: Stored, /) -> bool:
        """A message became visible; True says that something can be received because of it."""
        ...

    def taken(self, message: Stored, /) -> None:
        """A message went in flight."""
        ...

    def returned(self, message: Stored, /) -> None:
        """A message is no longer in flight: it is about to be visible, or gone."""
        ...

    def gone(self, message: Stored, /) -> bool:
        """A message left the queue; True says that something can be received because of it."""
        ...

    def pick(self) -> Iterator[Stored]:
        """Messages in the order they are to be received, for as long as there are any and someone asks."""
        ...


class Queue:
    """A standard or FIFO queue.

    Attributes:
        mark: twelve hex digits that its receipts carry.
        epoch: what is added to the model's clock for the seconds since 1970.
        bury: moves a message that was received too often to the dead-letter queue; False when there is none.
        visible, in_flight, delayed: how many messages are where.
        fresh: a set shared by the account's queues; this one adds itself when something can be received from it.
    """

    def __init__(
        self,
        name: str,
        arn: str,
        settings: Settings,
        *,
        mark: str,
        created: float,
        epoch: float,
        fresh: set[Queue],
        bury: Callable[[Queue, Stored, float], bool],
        in_flight_limit: int = IN_FLIGHT_LIMIT,
    ) -> None:
        self.name = name
        self.arn = arn
        self.settings = settings
        self.mark = mark
        self.created = self.modified = created
        self.tags: dict[str, str] = {}
        self.epoch = epoch
        self.fresh = fresh
        self.bury = bury
        self.in_flight_limit = in_flight_limit
        self.deduplication = Deduplication()
        self.attempts = Attempts()
        self._numbers = count(1)
        self._sequence = 18_800_000_000_000_000_000
        self._purged: float | None = None
        self._aged = created
        self._empty()

    def _empty(self) -> None:
        self.visible = self.in_flight = self.delayed = 0
        self._messages: dict[int, Stored] = {}
        self._timers = Timers()
        self._order: Order = Groups() if self.settings.fifo else Tenants()

    def __len__(self) -> int:
        return len(self._messages)

    def __repr__(self) -> str:
        return f"<Queue {self.name} {self.visible} visible, {self.in_flight} in flight, {self.delayed} delayed>"

    def add(self, make: Callable[[int], Stored], delay: float, now: float) -> Stored:
        """Take in a message made by `make` from its number, visible after `delay` seconds."""
        message = make(next(self._numbers))
        self._messages[message.number] = message
        self._order.added(message)
        if delay > 0:
            message.place = Place.DELAYED
            self.delayed += 1
            self._timers.arm(message, now + delay)
        else:
            self._show(message)
        return message

    def receive(self, most: int, visibility: float, now: float) -> list[Stored]:
        """Take up to `most` messages, invisible for `visibility` seconds from now."""
        most = min(most, self.in_flight_limit - self.in_flight)
        taken: list[Stored] = []
        doomed: list[Stored] = []
        oldest = now - self.settings.retention
        redrive = self.settings.redrive
        if most > 0 and self.visible:
            for message in self._order.pick():
                spent = redrive is not None and message.receives >= redrive.most
                if message.sent <= oldest or (spent and self.bury(self, message, now)):
                    doomed.append(message)
                else:
                    self._take(message, visibility, now)
                    taken.append(message)
                    if len(taken) == most:
                        break
        for message in doomed:
            self.remove(message)
        if visibility <= 0:
            self.advance(now)
        return taken

    def repeat(self, attempt_id: str, visibility: float, now: float) -> list[Stored]:
        """Receive again what the attempt of that id received, if nothing happened to it since; else nothing."""
        messages = self.attempts.repeat(attempt_id, now)
        for message in messages:
            self._timers.arm(message, now + visibility)
        return messages

    def find(self, handle: str) -> tuple[Stored | None, int]:
        """A receipt's message, None when it is deleted, and which receive it is of; raises `Refusal` for other text."""
        receipt = read_receipt(handle)
        if receipt is None:
            raise refusals.receipt_unknown(handle)
        mark, number, receive = receipt
        if mark != self.mark:
            raise refusals.bad_receipt(f'The input receipt handle "{handle}" is not valid for this queue.')
        return self._messages.get(number), receive

    def delete(self, handle: str, now: float) -> None:
        """Delete the message of a receipt. Twice is once; raises `Refusal` for an expired or malformed receipt.

        A receipt older than the latest receive deletes nothing on a standard queue and says nothing about it: AWS
        leaves open what it does ("might not be deleted"), and this is what a consumer must be able to live with.
        """
        message, receive = self.find(handle)
        if message is None:
            return
        stale = receive != message.receives
        lapsed = self.settings.fifo and (stale or message.place is not Place.IN_FLIGHT)
        if lapsed or now - message.received >= LIFETIME:
            raise refusals.receipt_expired(handle)
        if not stale:
            self.remove(message)

    def change_visibility(self, handle: str, timeout: int, now: float) -> None:
        """Set when the message of a receipt becomes visible: `timeout` seconds from now. Raises `Refusal`.

        As recorded from AWS, a standard queue lets an old receipt change a message that was received again, and hides
        a visible message again.
        """
        message, receive = self.find(handle)
        if message is None or message.place is Place.DELAYED:
            raise refusals.bad_parameter(
                f"Value {handle} for parameter ReceiptHandle is invalid. "
                "Reason: Message does not exist or is not available for visibility timeout change."
            )
        if self.settings.fifo:
            if receive != message.receives:
                raise refusals.receipt_expired(handle)
            if message.place is not Place.IN_FLIGHT:
                raise refusals.not_in_flight("The specified message isn't in flight.")
        if timeout and now - message.received + timeout >= LIFETIME:
            raise refusals.bad_parameter(
                f"Value {timeout} for parameter VisibilityTimeout is invalid. "
                "Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
            )
        message.changes += 1
        if timeout:
            self._hide(message, now + timeout)
        elif message.place is Place.IN_FLIGHT:
            self._timers.rest(message)
            self._unhide(message)

    def remove(self, message: Stored) -> None:
        """Take a message out of the queue for good."""
        self._leave(message)
        message.place = Place.GONE
        self._timers.disarm(message)
        del self._messages[message.number]
        if self._order.gone(message):
            self.fresh.add(self)

    def purge(self, now: float) -> None:
        """Delete every message; raises `Refusal` when the last purge is less than a minute ago."""
        if self._purged is not None and now - self._purged < PURGE_INTERVAL:
            raise refusals.purging(f"Only one PurgeQueue operation on {self.name} is allowed every 60 seconds.")
        self._purged = now
        for message in self._messages.values():
            message.place = Place.GONE
        self._empty()

    def advance(self, now: float) -> None:
        """Let time pass: what is due becomes visible, what is older than the retention period goes."""
        for message in self._timers.fire(now):
            self._unhide(message)
        if now >= self._aged:
            self._expire(now)

    def configure(self, settings: Settings, now: float) -> None:
        """Act by other settings from now on; retention and visibility count for messages already here as AWS has it."""
        self.settings = settings
        self.modified = self._aged = now

    def next_sequence_number(self) -> str:
        """The sequence number of a FIFO queue's next message: twenty digits, each larger than the last."""
        self._sequence += 256
        return str(self._sequence)

    def stamp(self, now: float) -> str:
        """A time of the model's clock as SQS writes times: epoch milliseconds."""
        return str(int((now + self.epoch) * 1000))

    def next_due(self) -> float:
        """When a message may become visible by itself; never later than when one does. Infinite without any."""
        return self._timers.next()

    def contents(self) -> list[Stored]:
        """All messages in the order they came, as they are at this moment."""
        return list(self._messages.values())

    def _expire(self, now: float) -> None:
        # The oldest come first (but in a dead-letter queue, where a receive finds the others). Looking at the first
        # of a dict costs as much as there were removals at its front, so it is looked at once a second at most.
        oldest = now - self.settings.retention
        self._aged = now + 1.0
        while self._messages:
            message = next(iter(self._messages.values()))
            if message.sent > oldest:
                self._aged = max(self._aged, message.sent + self.settings.retention)
                return
            self.remove(message)

    def _show(self, message: Stored) -> None:
        message.place = Place.VISIBLE
        self.visible += 1
        if self._order.shown(message):
            self.fresh.add(self)

    def _take(self, message: Stored, visibility: float, now: float) -> None:
        message.receives += 1
        message.received = now
        if not message.first_received:
            message.first_received = self.stamp(now)
        self._hide(message, now + visibility)

    def _hide(self, message: Stored, until: float) -> None:
        if message.place is not Place.IN_FLIGHT:
            self.visible -= 1
            self.in_flight += 1
            message.place = Place.IN_FLIGHT
            self._order.taken(message)
        self._timers.arm(message, until)

    def _unhide(self, message: Stored) -> None:
        self._leave(message)
        self._show(message)

    def _leave(self, message: Stored) -> None:
        if message.place is Place.IN_FLIGHT:
            if self.in_flight == self.in_flight_limit:
                self.fresh.add(self)  # there is room again for those who wait
            self.in_flight -= 1
            self._order.returned(message)
        elif message.place is Place.VISIBLE:
            self.visible -= 1
        else:
            self.delayed -= 1
