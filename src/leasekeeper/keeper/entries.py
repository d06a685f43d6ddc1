"""Entries: what the engine writes about its messages into the table.

Owned by the ledger, used on the engine's loop, but for RUNNING: the lane writes that in its own thread. It promises
that a slot is written completely before its state says so, and that what the keeper writes late about a slot that is
used again is ignored, because the slot's generation is another one then.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

from leasekeeper.core.delivery import Delivery
from leasekeeper.core.group import GroupedDelivery
from leasekeeper.keeper.layout import BLOCK, FREE, HEAD, MESSAGES, NOWHERE, OVER, RUNNING, SEPARATOR, STATES, TEXTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.keeper.table import Table
    from leasekeeper.message import Received

COUNT = "ApproximateReceiveCount"
EMPTY = bytes((FREE,)) * MESSAGES
"""The states of a block that can be used again."""
FULL = tuple(bytes((state,)) * MESSAGES for state in range(5))
PART = BLOCK // MESSAGES
LOOKS = 2
"""Blocks that are looked at before one is used that was never in use: of those in use at least half hold messages."""
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
    """The blocks of a table, and their slots.

    The states alone say whether a block is in use, so nothing else is kept about the messages that are in it.

    Args:
        table: where to write.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._blocks = deque[int]()
        """Those that were ever in use; the one that was looked at last is the last."""
        self._start = table.first - STATES * PART
        """A block begins here, and `PART` bytes for each slot before its first one."""
        self._left = 0
        """The first slot of the block that a message has left last; 0 before the first."""
        self._generation = 0
        """Of the block that was written last."""
        self._stood_in = 0

    def enter(self, rows: Sequence[Kept], received: Sequence[Received], state: int) -> None:
        """Write messages that were received together, or one whose receipt is another one now."""
        # As text, and back-offs by the count in the keeper: to do more about each message here would take longer.
        texts = [each.receipt for each in received]
        texts += [each.system.get(COUNT, "1") for each in received]
        text = SEPARATOR.join(texts).encode()
        count, length = len(rows), len(text)
        if length > TEXTS or count > MESSAGES:
            self._enter_parts(rows, received, state)
            return
        slot = self._block()
        row = rows[0]
        if slot == NOWHERE:
            for row in rows:
                row.slot = NOWHERE
            return
        table, lease, at = self.table, row.lease, self._start + slot * PART
        self._generation = generation = (self._generation + 1) & _GENERATIONS
        head = HEAD.pack(lease.deadline, row.requested_at, lease.seconds, generation, count, length)
        table.memory[at : at + HEAD.size + length] = head + text
        table.states[slot : slot + count] = FULL[state][:count]
        for number, row in enumerate(rows, slot):
            row.slot = number

    def _enter_parts(self, rows: Sequence[Kept], received: Sequence[Received], state: int) -> None:
        """Write messages that do not fit into one block."""
        half = len(rows) // 2
        if half:
            self.enter(rows[:half], received[:half], state)
            self.enter(rows[half:], received[half:], state)
        else:
            rows[0].slot = NOWHERE

    def _block(self) -> int:
        """The first slot of a block without messages; `NOWHERE`: there is none, and the keeper does not know these."""
        blocks, states = self._blocks, self.table.states
        first = self._left
        if first and states[first : first + MESSAGES] == EMPTY:  # so the memory that is used is the same
            return first
        used, total = len(blocks), self.table.blocks
        for _ in range(used if used == total else min(used, LOOKS)):
            blocks.rotate(-1)
            first = STATES + blocks[-1] * MESSAGES
            if states[first : first + MESSAGES] == EMPTY:
                return first
        if used == total:
            return NOWHERE
        blocks.append(used)
        self.table.note_used(used + 1)
        return STATES + used * MESSAGES

    def leave(self, rows: Sequence[Kept]) -> None:
        """Free the slots of messages that are not held any more."""
        states, slot = self.table.states, NOWHERE
        for row in rows:
            slot, row.slot = row.slot, NOWHERE
            states[slot] = FREE
        self._left_from(slot)

    def leave_deleted(self, rows: Sequence[Kept]) -> None:
        """Free the slots of messages that have run and are deleted: no lane writes about them any more."""
        states = self.table.states
        for row in rows:
            states[row.slot] = FREE
        self._left_from(row.slot)

    def _left_from(self, slot: int) -> None:
        if slot != NOWHERE:
            self._left = slot - (slot - STATES) % MESSAGES

    def leave_while_starting(self, row: Kept) -> None:
        """Free the slot of a message that a lane may start in this very moment.

        Race: the lane's thread may have read the slot, and write RUNNING after this. Without a deadline the slot means
        nothing then, and its block is not used again.
        """
        if row.slot != NOWHERE:
            self.table.move(row.slot, OVER)
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
        if row.slot != NOWHERE:
            self.table.move(row.slot, row.lease.deadline)

    def releasing(self, row: Kept, state: int) -> None:
        """Write when a message becomes visible, and then its state."""
        if row.slot != NOWHERE:
            self.table.write_visible_at(row.slot, row.visible_at)
            self.table.states[row.slot] = state

    def news(self) -> bool:
        """Whether the keeper has extended leases since the last time this was asked."""
        stood_in = self.table.stood_in()
        if stood_in == self._stood_in:
            return False
        self._stood_in = stood_in
        return True

    def until(self, row: Kept) -> float:
        """When the keeper's extension of this message ends, if it made one that was not taken over yet; else 0.0."""
        if row.slot == NOWHERE:
            return 0.0
        until = self.table.until(row.slot, self.table.generation(row.slot))
        if until == row.until:
            return 0.0
        row.until = until
        return until

    def __repr__(self) -> str:
        return f"<Entries {len(self._blocks)} blocks of {self.table!r}>"
