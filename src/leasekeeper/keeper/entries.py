"""Entries: what the engine writes about its messages into the table.

Owned by the ledger, used on the engine's loop, but for RUNNING: the lane writes that in its own thread. It promises
that a slot is written completely before its state says so, and that what the keeper writes late about a slot that is
used again is ignored, because the slot's generation is another one then.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

import msgspec

from leasekeeper.core.delivery import Delivery
from leasekeeper.core.group import GroupedDelivery
from leasekeeper.keeper.layout import (
    AT_STOOD_IN,
    BLOCK,
    FREE,
    HEAD,
    MESSAGES,
    NOWHERE,
    OVER,
    RUNNING,
    SEPARATOR,
    STATES,
    TEXTS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.keeper.table import Table
    from leasekeeper.message import Received

COUNT = "ApproximateReceiveCount"
EMPTY = bytes((FREE,)) * MESSAGES
"""The states of a block that can be used again."""
FILLED = [[(bytes((state,)) * count).ljust(MESSAGES, EMPTY[:1]) for count in range(MESSAGES + 1)] for state in range(5)]
"""The states of a block, by state and by how many messages are in it, from the first slot on."""
LOOKS = 2
"""Blocks that are looked at before one is used that was never in use: of those in use at least half hold messages."""
_GENERATIONS = 0xFFFF_FFFF
_write_head = HEAD.pack_into


class KeptDelivery(Delivery, eq=False):
    """A message of a standard queue, with its slot in the keeper's table."""

    slot: int = NOWHERE


class KeptGroupedDelivery(GroupedDelivery, eq=False):
    """A message of a FIFO queue, with its slot in the keeper's table."""

    slot: int = NOWHERE


Kept = KeptDelivery | KeptGroupedDelivery


class Block:
    """A block of the table: which slots it has, and where in the memory its parts are.

    Attributes:
        slots: of its messages, in their order.
        states: where the states of its slots are.
        head: where its head begins, with the notes.
        texts: where its texts begin.
    """

    __slots__ = ("head", "slots", "states", "texts")

    def __init__(self, slot: int, head: int) -> None:
        self.slots = list(range(slot, slot + MESSAGES))
        self.states = slice(slot, slot + MESSAGES)
        self.head = head
        self.texts = head + HEAD.size


class Entries:
    """The blocks of a table, and their slots.

    The states alone say whether a block is in use, so nothing else is kept about the messages that are in it. What is
    done for each message here costs CPU at every message: decision 63 says what was measured.

    Args:
        table: where to write.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._blocks = deque[Block]()
        """Those that were ever in use; the one that was looked at last is the last."""
        self._reserved = deque[int]()
        """Slots for the rows that the ledger is about to make."""
        self._generation = 0
        """Of the block that was written last."""
        self._stood_in = 0
        self._taken_over: dict[int, float] = {}
        """The end of the keeper's extension that was taken over last, by slot."""
        self._use_another()

    def row_type(self, base: type[Delivery]) -> type[Delivery]:
        """The class of the ledger's rows: each takes a reserved slot when it is made.

        To set the slot afterwards takes three times as long, because structs of `msgspec` are slow to change.
        """
        slot = ("slot", int, msgspec.field(default_factory=self._reserved.popleft))
        return cast("type[Delivery]", msgspec.defstruct(base.__name__, [slot], bases=(base,), eq=False))

    def reserve(self, count: int) -> Block | None:
        """Reserve a block for the messages of a receive, before their rows are made; None: no block is free."""
        reserved = self._reserved
        if reserved:  # fewer rows were made than messages came
            reserved.clear()
        block = self._block() if count <= MESSAGES else None
        reserved.extend([NOWHERE] * count if block is None else block.slots)
        return block

    def enter(self, rows: Sequence[Kept], received: Sequence[Received], state: int) -> None:
        """Write messages that were received together, or one whose receipt is another one now, in other slots."""
        block, half = self._block(), len(rows) // 2
        if block is not None and len(rows) <= MESSAGES and self.write(block, rows[0], received, state):
            for slot, row in zip(block.slots, rows, strict=False):
                row.slot = slot
        elif block is not None and half:  # they do not fit into one block
            self.enter(rows[:half], received[:half], state)
            self.enter(rows[half:], received[half:], state)
        else:
            for row in rows:
                row.slot = NOWHERE

    def write(self, block: Block | None, row: Delivery, received: Sequence[Received], state: int) -> bool:
        """Write messages that share the lease of this row into a block; False if they do not fit."""
        # As text, and back-offs by the count in the keeper: to do more about each message here would take longer.
        texts = [each.receipt for each in received]
        count = len(texts)
        for each in received:
            if each.system.get(COUNT, "1") != "1":
                texts += [each.system.get(COUNT, "1") for each in received]
                break
        text = SEPARATOR.join(texts).encode()
        length = len(text)
        if block is None or length > TEXTS:
            return False
        table, lease, at = self.table, row.lease, block.texts
        self._generation = generation = (self._generation + 1) & _GENERATIONS
        _write_head(
            table.memory, block.head, lease.deadline, row.requested_at, lease.seconds, generation, count, length
        )
        table.memory[at : at + length] = text
        table.states[block.states] = FILLED[state][count]
        return True

    def _block(self) -> Block | None:
        """A block without messages; None: there is none."""
        blocks = self._blocks
        blocks.rotate(-1)
        block = blocks[-1]
        return block if self.table.states[block.states] == EMPTY else self._another()

    def _another(self) -> Block | None:
        """One of the next blocks, or one that was never in use; None: there is none."""
        blocks, states = self._blocks, self.table.states
        full = len(blocks) == self.table.blocks
        for _ in range(1, len(blocks) if full else min(len(blocks), LOOKS)):
            blocks.rotate(-1)
            if states[blocks[-1].states] == EMPTY:
                return blocks[-1]
        return None if full else self._use_another()

    def _use_another(self) -> Block:
        """Take a block that was never in use."""
        table, number = self.table, len(self._blocks)
        block = Block(STATES + number * MESSAGES, table.first + number * BLOCK)
        self._blocks.append(block)
        table.note_used(number + 1)
        return block

    def leave(self, rows: Sequence[Kept]) -> None:
        """Free the slots of messages that are not held any more."""
        states = self.table.states
        for row in rows:
            slot, row.slot = row.slot, NOWHERE
            states[slot] = FREE

    def leave_deleted(self, rows: Sequence[Kept]) -> None:
        """Free the slots of messages that have run and are deleted: no lane writes about them any more."""
        states = self.table.states
        for row in rows:
            states[row.slot] = FREE

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
        stood_in = self.table.numbers[AT_STOOD_IN]
        if stood_in == self._stood_in:
            return False
        self._stood_in = stood_in
        return True

    def until(self, row: Kept) -> float:
        """When the keeper's extension of this message ends, if it made one that was not taken over yet; else 0.0."""
        if row.slot == NOWHERE:
            return 0.0
        until = self.table.until(row.slot, self.table.generation(row.slot))
        if until == self._taken_over.get(row.slot, 0.0):
            return 0.0
        self._taken_over[row.slot] = until
        return until

    def __repr__(self) -> str:
        return f"<Entries {len(self._blocks)} blocks of {self.table!r}>"
