"""One queue: its messages, the place of each of them, and the operations on them.

Owned by the account. It promises that sending, receiving, deleting and changing visibility cost the same at any depth,
and that its counts are exact at every moment. The counts are kept up to date; no call counts messages.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Protocol

from leasekeeper.local.model import refusals
from leasekeeper.local.model.fifo import Attempts, Deduplication, Groups
from leasekeeper.local.model.standard import Tenants
from leasekeeper.local.model.stored import Place, Stored, read_receipt
from leasekeeper.local.model.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.local.model.settings import QueueSettings

LIFETIME = 43_200.0
"""Seconds after a receive at which the receipt and the message's invisibility end (AWS SQS quotas)."""
IN_FLIGHT_LIMIT = 120_000
PURGE_INTERVAL = 60.0


class Order(Protocol):
    """The order in which messages are received: `Tenants` for standard queues, `Groups` for FIFO queues."""

    def shown(self, message: Stored, /) -> bool:
        """A message became visible. Returns whether a receive can now find something."""
        ...

    def taken(self, message: Stored, /) -> None:
        """A message went in flight."""
        ...

    def returned(self, message: Stored, /) -> None:
        """A message is no longer in flight. It becomes visible or leaves the queue next."""
        ...

    def gone(self, message: Stored, /) -> bool:
        """A message left the queue. Returns whether a receive can now find something."""
        ...

    def pick(self) -> Iterator[Stored]:
        """Messages in the order of delivery, until there are none or the caller stops."""
        ...


class Queue:
    """A standard or FIFO queue.

    Attributes:
        receipt_tag: twelve hex digits in each of its receipts.
        epoch: seconds to add to the model's clock to get seconds since 1970.
        dead_letter: moves a message to the dead-letter queue; returns False when there is no such queue.
        visible, in_flight, delayed: how many messages are in each place.
        readable: a set shared by the account's queues. A queue adds itself when a receive can find something in it.
    """

    def __init__(
        self,
        name: str,
        arn: str,
        settings: QueueSettings,
        *,
        receipt_tag: str,
        created: float,
        epoch: float,
        readable: set[Queue],
        dead_letter: Callable[[Queue, Stored, float], bool],
        in_flight_limit: int = IN_FLIGHT_LIMIT,
    ) -> None:
        self.name = name
        self.arn = arn
        self.settings = settings
        self.receipt_tag = receipt_tag
        self.created = self.modified = created
        self.tags: dict[str, str] = {}
        self.epoch = epoch
        self.readable = readable
        self.dead_letter = dead_letter
        self.in_flight_limit = in_flight_limit
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
        self.deduplication = Deduplication()
        self.attempts = Attempts()

    def __len__(self) -> int:
        return len(self._messages)

    def __repr__(self) -> str:
        return f"<Queue {self.name} {self.visible} visible, {self.in_flight} in flight, {self.delayed} delayed>"

    def add(self, make: Callable[[int], Stored], delay: float, now: float) -> Stored:
        """Add the message that `make` makes from its number; it is visible after `delay` seconds."""
        message = make(next(self._numbers))
        self._messages[message.number] = message
        if delay > 0:
            message.place = Place.DELAYED
            self.delayed += 1
            self._timers.arm(message, now + delay)
        else:
            self._show(message)
        return message

    def receive(self, most: int, visibility: float, now: float) -> list[Stored]:
        """Take up to `most` messages and hide them for `visibility` seconds from now.

        A message that has reached the limit of the redrive policy goes to the dead-letter queue instead. Receives in
        another queue, before a move from there, do not count towards this limit.
        """
        most = min(most, self.in_flight_limit - self.in_flight)
        taken: list[Stored] = []
        leaving: list[Stored] = []
        oldest = now - self.settings.retention
        redrive = self.settings.redrive
        if most > 0 and self.visible:
            for message in self._order.pick():
                spent = redrive is not None and message.receives - message.carried >= redrive.max_receives
                if message.sent <= oldest or (spent and self.dead_letter(self, message, now)):
                    leaving.append(message)
                else:
                    self._take(message, visibility, now)
                    taken.append(message)
                    if len(taken) == most:
                        break
        for message in leaving:
            self.remove(message)
        if visibility <= 0:
            self.advance(now)
        return taken

    def repeat(self, attempt_id: str, visibility: float, now: float) -> list[Stored]:
        """Receive an earlier attempt's messages again, with a new timeout; none if they are not in flight any more."""
        messages = self.attempts.repeat(attempt_id, now)
        for message in messages:
            self._timers.arm(message, now + visibility)
        return messages

    def find(self, handle: str) -> tuple[Stored | None, int]:
        """The message of a receipt (None when deleted) and its receive's number; raises `Refusal` for other text."""
        receipt = read_receipt(handle)
        if receipt is None:
            raise refusals.receipt_unknown(handle)
        receipt_tag, number, receive = receipt
        if receipt_tag != self.receipt_tag:
            raise refusals.bad_receipt(f'The input receipt handle "{handle}" is not valid for this queue.')
        return self._messages.get(number), receive

    def delete(self, handle: str, now: float) -> None:
        """Delete the message of a receipt. Raises `Refusal` for an expired or malformed receipt.

        Deleting a deleted message succeeds. On a standard queue, a receipt that is older than the latest receive
        succeeds too and deletes nothing. AWS documents only that such a message "might not be deleted", and a
        consumer must cope with that case.
        """
        message, receive = self.find(handle)
        if message is None:
            return
        stale = receive != message.receives
        expired = self.settings.fifo and (stale or message.place is not Place.IN_FLIGHT)
        if expired or now - message.received >= LIFETIME:
            raise refusals.receipt_expired(handle)
        if not stale:
            self.remove(message)

    def change_visibility(self, handle: str, timeout: int, now: float) -> None:
        """Make the message of a receipt visible `timeout` seconds from now. Raises `Refusal`.

        As recorded from AWS, a standard queue accepts an old receipt for a message that was received again, and hides
        a message that is already visible.
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
            self.readable.add(self)

    def purge(self, now: float) -> None:
        """Delete every message and forget deduplication ids; raises `Refusal` within a minute of the last purge."""
        if self._purged is not None and now - self._purged < PURGE_INTERVAL:
            raise refusals.purging(f"Only one PurgeQueue operation on {self.name} is allowed every 60 seconds.")
        self._purged = now
        for message in self._messages.values():
            message.place = Place.GONE
        self._empty()

    def advance(self, now: float) -> None:
        """Show the messages that are due by now, and remove those older than the retention period."""
        for message in self._timers.fire(now):
            self._unhide(message)
        if now >= self._aged:
            self._expire(now)

    def configure(self, settings: QueueSettings, now: float) -> None:
        """Use other settings from now on. A new retention period applies to the messages in the queue too."""
        self.settings = settings
        self.modified = self._aged = now

    def next_sequence_number(self) -> str:
        """The sequence number of a FIFO queue's next message: twenty digits, larger than the one before."""
        self._sequence += 256
        return str(self._sequence)

    def stamp(self, now: float) -> str:
        """A time of the model's clock as SQS writes times: epoch milliseconds."""
        return str(int((now + self.epoch) * 1000))

    def next_due(self) -> float:
        """The earliest time at which a hidden message may become visible; infinite when there is none."""
        return self._timers.next()

    def contents(self, most: int | None = None) -> list[Stored]:
        """All messages in the order of arrival, or the first of them."""
        return list(islice(self._messages.values(), most))

    def _expire(self, now: float) -> None:
        # The oldest message is the first, except in a dead-letter queue, where `receive` finds the others. The first
        # item of a dict costs as much as there were removals before it, so this looks once a second at most.
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
            self.readable.add(self)

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
                self.readable.add(self)  # a waiting receive has room again
            self.in_flight -= 1
            self._order.returned(message)
        elif message.place is Place.VISIBLE:
            self.visible -= 1
        else:
            self.delayed -= 1
