"""Entries: what the engine writes about its messages into the table.

Owned by the ledger, used on the engine's loop, but for RUNNING: the lane writes that in its own thread. It promises
that a slot is written completely before its state says so, and that what the keeper writes late about a slot that is
used again is ignored, because the slot's generation is another one then.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

from leasekeeper.core.delivery import Delivery
from leasekeeper.core.group import GroupedDelivery
from leasekeeper.keeper.table import FREE, HEAD, HEAD_SIZE, LONGEST_RECEIPT, RUNNING, SLOT, TIMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.keeper.table import Table

NOWHERE = -1
"""The slot of a message that has none: its state goes to the last byte of the states, which the keeper never reads."""
VISIBLE_AT = 2
"""The place of that time among the eight numbers of a head."""
COUNT = "ApproximateReceiveCount"
COUNTED = 33
"""The receive count from which on the back-off does not grow."""
_GENERATIONS = 0xFFFF_FFFF


class KeptDelivery(Delivery, eq=False):
    """A message of a standard queue, with its slot in the keeper's table."""

    slot: int = NOWHERE
    until: float = 0.0
    """The end of the keeper's extension that was taken over last."""


class KeptGroupedDelivery(GroupedDelivery, eq=False):
    """A message of a FIFO queue, with its slot in the keeper's table."""

    slot: int = NOWHERE
    until: float = 0.0


Kept = KeptDelivery | KeptGroupedDelivery


class Entries:
    """The slots of a table, handed out and taken back.

    Args:
        table: where to write.
        back_off: seconds that a message waits if its process dies while it runs, by its receive count.
    """

    def __init__(self, table: Table, back_off: Callable[[int], float]) -> None:
        self.table = table
        self._free: list[int] = []
        """The slot that came free last is used next, so no more memory is touched than was needed at once."""
        self._used = 0
        """Slots that were ever in use."""
        self._generation = 0
        """Of what was entered last: it tells a message from the next one in the same slot."""
        self._packs: dict[int, Callable[..., None]] = {}
        # By the count as SQS writes it: to parse it would take longer than all the rest.
        self._back_offs = {str(count): back_off(count) for count in range(1, COUNTED)}
        self._longest = back_off(COUNTED)
        self._stood_in = 0

    def enter(self, rows: Sequence[Kept], state: int) -> None:
        """Write messages that were received together, or one whose receipt is another one now."""
        if not rows:
            return
        table, lease, asked = self.table, rows[0].lease, rows[0].requested_at
        memory, states, first, free = table.memory, table.states, table.first, self._free
        self._generation = generation = (self._generation + 1) & _GENERATIONS
        known, length, head, pack = "", -1, b"", _nothing  # a head that the messages of one receive have in common
        for row in rows:
            received = row.received
            receipt, count = received.receipt.encode(), received.system.get(COUNT, "1")
            if count != known or len(receipt) != length:
                known, length = count, len(receipt)
                back_off = self._back_offs.get(count, self._longest)
                head = HEAD.pack(lease.deadline, asked, 0.0, lease.seconds, back_off, length, generation)
                pack = self._packs.get(length) or self._pack(length)
            slot = free.pop() if free else self._unused()
            if slot < 0 or length > LONGEST_RECEIPT:
                row.slot = NOWHERE
                if slot >= 0:
                    free.append(slot)
                continue
            # Head and receipt in one go; between them it clears what the keeper wrote about the message before.
            pack(memory, first + slot * SLOT, head, receipt)
            row.slot = slot
            states[slot] = state

    def _pack(self, length: int) -> Callable[..., None]:
        """What writes a slot with a receipt of this length; the receipts of a queue have few lengths."""
        gap = HEAD_SIZE - HEAD.size
        pack = self._packs[length] = struct.Struct(f"<{HEAD.size}s{gap}x{length}s").pack_into
        return pack

    def _unused(self) -> int:
        """A slot that was never used; `NOWHERE` when there is none left: then the keeper does not know the message."""
        slot = self._used
        if slot == self.table.slots:
            return NOWHERE
        self._used += 1
        self.table.note_used(slot + 1)
        return slot

    def leave(self, rows: Sequence[Kept]) -> None:
        """Free the slots of messages that are not held any more."""
        states, free = self.table.states, self._free
        for row in rows:
            slot = row.slot
            if slot >= 0:
                row.slot = NOWHERE
                states[slot] = FREE
                free.append(slot)

    def leave_while_starting(self, row: Kept) -> None:
        """Free the slot of a message that a lane may start in this very moment.

        Race: the lane's thread may have read the slot, and write RUNNING after this. Without a deadline the slot means
        nothing then, until it is used again.
        """
        if row.slot >= 0:
            self.table.times[row.slot * TIMES] = 0.0
            self.table.extended(row.slot, 0, 0.0)
        self.leave([row])

    def mark(self, rows: Sequence[Kept], state: int) -> None:
        """Write the state of messages."""
        states = self.table.states
        for row in rows:
            states[row.slot] = state

    def runs(self, row: Delivery) -> None:
        """Write that a message runs, for a lane that has no thread for it."""
        self.table.states[cast("Kept", row).slot] = RUNNING

    def moved(self, row: Kept) -> None:
        """Write the deadline of a lease that was extended."""
        if row.slot >= 0:
            self.table.times[row.slot * TIMES] = row.lease.deadline

    def releasing(self, row: Kept, state: int) -> None:
        """Write when a message becomes visible, and then its state."""
        if row.slot >= 0:
            self.table.times[row.slot * TIMES + VISIBLE_AT] = row.visible_at
            self.table.states[row.slot] = state

    def news(self) -> bool:
        """Whether the keeper has extended leases since the last time this was asked."""
        stood_in = self.table.stood_in
        if stood_in == self._stood_in:
            return False
        self._stood_in = stood_in
        return True

    def until(self, row: Kept) -> float:
        """When the keeper's extension of this message ends, if it made one that was not taken over yet; else 0.0."""
        if row.slot < 0:
            return 0.0
        until = self.table.until(row.slot, self.table.generation(row.slot))
        if until == row.until:
            return 0.0
        row.until = until
        return until

    def __repr__(self) -> str:
        return f"<Entries {self._used - len(self._free)} in {self.table!r}>"


def _nothing(*_: object) -> None:
    """Takes the place of what writes a slot, before the first."""
