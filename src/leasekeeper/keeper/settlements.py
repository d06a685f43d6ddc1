"""Settlements: what the keeper does about the messages of a dead engine, decided without I/O.

Asked by the keeper, one time for each table. A message whose lease has ended is left alone: another consumer may have
it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from leasekeeper.keeper.calls import is_lost
from leasekeeper.keeper.extensions import BATCH
from leasekeeper.keeper.layout import FINISHED, FREE, MESSAGES, RELEASING, STATES, WAITING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from leasekeeper.keeper.table import Table

LONGEST_REPEAT = 290.0
"""Seconds for which a receive can be repeated: SQS forgets its attempt id after five minutes."""


class SettlingCall(NamedTuple):
    """One call that settles messages of a dead consumer."""

    operation: Literal["delete", "release", "receive again"]
    entries: Sequence[tuple[str, float]]
    """Receipts, or one attempt id; and when each becomes visible, or the visibility timeout of the receive."""
    maximum: int = BATCH


def settlements(table: Table, now: float, slots: Iterable[int]) -> list[SettlingCall]:
    """What there is to do after the death of the engine about the messages in these slots, in this order.

    Finished messages are deleted, and those that had not started become visible at once. Then those that ran: each
    after its back-off, so that a message that kills its process comes back ever later. What the engine was giving back
    becomes visible when it wanted that.
    """
    deletes: list[tuple[str, float]] = []
    at_once: list[tuple[str, float]] = []
    later: list[tuple[str, float]] = []
    back_offs = table.settings().back_offs
    by_count = {str(count): seconds for count, seconds in enumerate(back_offs, 1)}
    block, texts = -1, list[tuple[str, str]]()
    for slot in sorted(slots):
        if (slot - STATES) // MESSAGES != block:
            block = (slot - STATES) // MESSAGES
            texts = table.texts(block)
        number = (slot - STATES) % MESSAGES
        if number >= len(texts):
            continue
        state, (receipt, count) = table.states[slot], texts[number]
        deadline, _, _, visible_at, generation = table.head(slot)
        if state == FINISHED:
            deletes.append((receipt, now))
        elif max(deadline, table.until(slot, generation)) <= now or state == FREE:
            continue  # its lease is over: others may have it
        elif state == WAITING:
            at_once.append((receipt, now))
        elif state == RELEASING:
            (later if visible_at > now else at_once).append((receipt, visible_at))
        else:
            later.append((receipt, now + by_count.get(count, back_offs[-1])))
    calls = [SettlingCall("delete", part) for part in _parts(deletes)]
    return calls + [SettlingCall("release", part) for part in (*_parts(at_once), *_parts(later))]


def repeats(table: Table, now: float) -> list[SettlingCall]:
    """The receives of a FIFO queue whose answers the dead engine has not read: made again, their messages go back."""
    return [
        SettlingCall("receive again", [(attempt_id, visibility)], maximum)
        for sent, visibility, maximum, attempt_id in table.open_receives()
        if now - sent < LONGEST_REPEAT
    ]


def seconds_until(visible_at: float, now: float) -> int:
    """The visibility timeout that makes a message visible at that time."""
    return max(0, math.ceil(visible_at - now - 1e-6))


def unsettled(entries: Sequence[tuple[str, float]], codes: Sequence[str]) -> list[tuple[str, float]]:
    """The entries of a call to try again."""
    return [entry for entry, code in zip(entries, codes, strict=True) if code and not is_lost(code)]


def _parts(entries: list[tuple[str, float]]) -> list[list[tuple[str, float]]]:
    return [entries[first : first + BATCH] for first in range(0, len(entries), BATCH)]
