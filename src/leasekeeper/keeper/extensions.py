"""Extensions: which leases the keeper extends in place of the engine, decided without I/O.

Owned by the keeper, one for each table. It promises that it extends a lease only while the engine's heartbeat is
overdue and less than a quarter of the lease is left, and never that of a message that the engine is giving back: it
takes the claim on the slot first, and looks at the state again under the claim.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from leasekeeper.keeper.calls import is_lost
from leasekeeper.keeper.layout import FINISHED, RUNNING, WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.keeper.claims import Claims
    from leasekeeper.keeper.table import Table

BATCH = 10
PART = 0.25
"""The part of a lease that is left when the keeper extends it: the engine extends at half of it."""
GRACE = 0.02
"""Seconds that a heartbeat may be late."""
LIFETIME = 43_200.0 - 1.0
"""Seconds from a receive to the end of what extensions can reach, less a second (AWS SQS quotas)."""
PAUSE = 0.5
"""Seconds until an extension that failed is tried again."""


class Extension(NamedTuple):
    """One lease that is extended now, with its claim taken."""

    slot: int
    generation: int
    receipt: str
    seconds: int


class Extensions:
    """The leases of one table that are extended while its engine does not do it.

    Args:
        table: the engine's.
        claims: on the table's slots.
        say: tells people one sentence.

    Attributes:
        extended: leases extended so far.
        calling: the slots that a call is out for, or is about to be.
    """

    def __init__(self, table: Table, claims: Claims, *, say: Callable[[str], object]) -> None:
        self._table = table
        self._claims = claims
        self._say = say
        self.calling: set[int] = set()
        self._failed: dict[int, tuple[int, float]] = {}
        """Slots whose extension failed, with their generation and the time of the next try."""
        self._given_up = False
        self._stopped = False
        self.extended = 0

    def due(self, now: float) -> list[list[int]]:
        """The slots whose leases must be extended now, in batches: none while the engine's heartbeat is in time."""
        table = self._table
        if self._stopped or table.closed or not table.last_sign or now <= table.next_beat + GRACE:
            return []
        silence = now - table.last_sign
        if silence > table.keep_for:
            self._give_up(silence)
            return []
        self._given_up = False
        due = sorted(
            (left, slot) for slot in table.occupied() if (left := self._left(slot, now)) and slot not in self.calling
        )
        slots = [slot for _, slot in due]
        self.calling.update(slots)
        return [slots[first : first + BATCH] for first in range(0, len(slots), BATCH)]

    def _give_up(self, silence: float) -> None:
        if not self._given_up:
            self._given_up = True
            self._say(
                f"no sign of life for {silence:.0f} s (keep_for={self._table.keep_for:g} s): its leases are not kept "
                "any more, and others may receive its messages"
            )

    def _left(self, slot: int, now: float) -> float:
        """Seconds left of a lease that is to be extended now; 0.0 if it is not."""
        table = self._table
        state = table.states[slot]
        if state not in {WAITING, RUNNING, FINISHED}:
            return 0.0
        deadline, asked, seconds, _, generation = table.head(slot)
        left = max(deadline, table.until(slot, generation)) - now
        if not 0 < left < seconds * PART or asked + LIFETIME - now < left + 1:
            return 0.0
        failed, again = self._failed.get(slot, (0, 0.0))
        return 0.0 if failed == generation and now < again else left

    def begin(self, slots: Sequence[int], now: float) -> list[Extension]:
        """Take the claims, and look again: what to extend by one call. `end` has to follow, whatever the call does.

        Race: the engine writes RELEASING and then takes the claim. If we have the claim and still read another state,
        it has not come to its claim, and waits until ours is given back.
        """
        table, extensions = self._table, []
        for slot in slots:
            if not self._claims.take(slot):
                self.calling.discard(slot)
                continue
            if self._stopped or not self._left(slot, now):
                self._let_go(slot)
                continue
            head, receipt = table.head(slot), table.receipt(slot)
            if not receipt:
                self._let_go(slot)
                continue
            seconds = min(head.seconds, head.asked + LIFETIME - now)
            extensions.append(Extension(slot, head.generation, receipt, int(seconds)))
        return extensions

    def end(self, extensions: Sequence[Extension], codes: Sequence[str] | None, *, sent: float, now: float) -> None:
        """Write what the call's answer says, and give back the claims.

        Args:
            extensions: what `begin` returned.
            codes: the answer; None: the call failed.
            sent: when the call was made.
            now: when it was answered.
        """
        extended = 0
        for number, each in enumerate(extensions):
            code = codes[number] if codes is not None else "NoAnswer"
            if not code:
                self._table.extended(each.slot, each.generation, sent + each.seconds)
                extended += 1
            elif is_lost(code):  # deleted meanwhile, or another consumer has it: the engine will hear so itself
                self._failed[each.slot] = (each.generation, math.inf)
            else:
                self._failed[each.slot] = (each.generation, now + PAUSE)
        if extended:
            self.extended += extended
            self._table.note_stood_in()
        for each in extensions:
            self._let_go(each.slot)

    def stop(self) -> list[set[int]]:
        """Extend nothing any more, because the engine is dead. Returns the slots to settle: at once, and later.

        Later are those that a call of ours is out for. Race: an extension that takes effect after the back-off would
        undo it, and that call can take five seconds.
        """
        self._stopped = True
        occupied, later = set(self._table.occupied()), set(self.calling)
        return [occupied - later, occupied & later]

    def _let_go(self, slot: int) -> None:
        self._claims.give_back(slot)
        self.calling.discard(slot)

    def __repr__(self) -> str:
        return f"<Extensions of {self._table!r}, {self.extended} leases extended>"
