"""The server of a simulation with a FIFO queue: what it did, and messages with which it is stubborn for a while.

Used by `fifo_simulation.py`. It tells the record of lapses and deletes, so that the truth about leases comes from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fifo_record import ANYONE, Record

from leasekeeper.core.states import State
from leasekeeper.local.model import refusals
from leasekeeper.local.model.stored import Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from fifo_conditions import FifoConditions

    from leasekeeper.local.model.stored import Stored
    from leasekeeper.testing.world import Running, World

HELD = (State.WAITING, State.RUNNING, State.LEASE_LOST, State.REJECTING, State.ACKING)
"""States of rows that their consumer takes for its own: the end of such a lease is a lapse."""


class Server:
    """The queue of a world, watched.

    Attributes:
        received: when each message was received, by body and receive count.
    """

    def __init__(self, world: World, record: Record, consumers: Sequence[Running], *, visibility: int) -> None:
        self._world = world
        self._record = record
        self._consumers = consumers
        self.received: dict[tuple[str, int], float] = {}
        self._visibility = visibility
        self._seconds: dict[str, float] = {}
        """What the visibility of each message was set to last: less than a lease only if it was given back."""
        self._stubborn: dict[str, dict[str, float]] = {"change": {}, "delete": {}}

    def draw(self, body: str, conditions: FifoConditions, random: Random) -> None:
        """Decide whether the server will be stubborn with this message, and until when."""
        if random.random() < conditions.stubborn:
            until = self._world.now + random.uniform(0, 3 * conditions.visibility)
            for what in random.choice((("change",), ("delete",), ("change", "delete"))):
                self._stubborn[what][body] = until

    def relent(self) -> None:
        """Be stubborn no more."""
        for stubborn in self._stubborn.values():
            stubborn.clear()

    def watch(self) -> None:
        """Follow what the server does: receives, deletes, and visibility timeouts that end."""
        broker, queue = self._world.broker, self._world.queue()
        start, call = broker.start, broker.account.call
        take, advance, delete, change = queue.receive, queue.advance, queue.delete, queue.change_visibility
        receipts = list[str]()

        def start_and_note(operation: str, request: dict[str, Any]) -> Any:
            if operation == "DeleteMessageBatch":  # faults take entries out of it, and leave the rest of the request
                request = {**request, "Receipts": [entry["ReceiptHandle"] for entry in request["Entries"]]}
            return start(operation, request)

        def call_and_note(operation: str, request: dict[str, Any], now: float) -> Any:
            receipts[:] = request.get("Receipts", ())
            return call(operation, request, now)

        def receive(most: int, visibility: float, now: float) -> list[Stored]:
            taken = take(most, visibility, now)
            for message in taken:
                self.received[message.content.body, message.receives] = self._world.now
                self._seconds[message.content.body] = visibility
            return taken

        def advance_and_tell(now: float) -> None:
            for message in queue.contents() if queue.next_due() <= now else ():
                if message.place is Place.IN_FLIGHT and message.due <= now:
                    self._on_lapse(message)
            advance(now)

        def delete_and_check(handle: str, now: float) -> None:
            found = {receipt: queue.find(receipt)[0] for receipt in receipts}
            message = found.get(handle)
            self._refuse_if_stubborn("delete", message)
            delete(handle, now)
            if message is not None and message.place is Place.GONE:
                bodies = {each.content.body for each in found.values() if each is not None}
                self._record.removed(self._world.now, message.content.body, bodies, self._given_up)

        def change_if_willing(handle: str, timeout: int, now: float) -> None:
            message = queue.find(handle)[0]
            self._refuse_if_stubborn("change", message)
            change(handle, timeout, now)
            if message is not None:
                self._seconds[message.content.body] = timeout

        vars(broker).update(start=start_and_note)
        vars(broker.account).update(call=call_and_note)
        vars(queue).update(
            receive=receive, advance=advance_and_tell, delete=delete_and_check, change_visibility=change_if_willing
        )

    def _refuse_if_stubborn(self, what: str, message: Stored | None) -> None:
        if message is not None and self._world.now < self._stubborn[what].get(message.content.body, 0.0):
            raise refusals.unavailable()

    def _given_up(self, body: str) -> bool:
        messages = [message for message in self._world.queue().contents() if message.content.body == body]
        return not any(_holds(running, message) for message in messages for running in self._consumers)

    def _on_lapse(self, message: Stored) -> None:
        """Tell whose lease ended; a consumer gives up its own a second early, and then it may have been anyone's."""
        record, now, body = self._record, self._world.now, message.content.body
        holders = [index for index, running in enumerate(self._consumers) if _holds(running, message)]
        if not holders and self._seconds[body] >= self._visibility:
            holders = [ANYONE]
        for index in holders:
            record.lapsed(now, index, body)


def _holds(running: Running, message: Stored) -> bool:
    row = running.rows.get(message.id)
    return row is not None and row.state in HELD and not running.task.done()
