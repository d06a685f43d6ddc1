"""The payloads that are here: the bytes that each takes, and those that stay while their message waits for its key.

Owned by the lane of payloads, used on its loop. It promises that they have no more bytes than the budget, unless a
single one has more, and that one which is only kept for later makes room for any other.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec

from leasekeeper.core.states import State
from leasekeeper.payload import Offloaded
from leasekeeper.payloads.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.core.delivery import Delivery


class Held:
    """Payloads in memory.

    Args:
        most: bytes in all.

    Attributes:
        budget: the bytes.
    """

    def __init__(self, most: int) -> None:
        self.budget = Budget(most)
        self._bytes: dict[Delivery, int] = {}
        """Bytes that are taken for the payload of a message, from before it is fetched until its handler has ended."""
        self._kept: dict[Delivery, None] = {}
        """Messages that wait until they run again, with their payloads here."""

    async def take(self, sizes: Mapping[Delivery, int]) -> None:
        """Take the bytes of these payloads, all at once: who holds a part and waits for more may wait for ever."""
        # The bytes of a payload are there twice while they become text.
        taken = 2 * sum(sizes.values())
        if not self.budget.has(taken):
            for unit in list(self._kept):
                self.drop(unit)
        await self.budget.take(taken)
        self._bytes.update((unit, 2 * size) for unit, size in sizes.items())

    def came(self, unit: Delivery, size: int, body: str) -> None:
        """A payload has come and is text now, unless its message was recalled."""
        if unit in self._bytes:
            self._bytes[unit] = sys.getsizeof(body)
            self.budget.give_back(2 * size - self._bytes[unit])

    def drop(self, unit: Delivery) -> None:
        """Its payload is not needed any more."""
        self._kept.pop(unit, None)
        if (size := self._bytes.pop(unit, None)) is not None:
            self.budget.give_back(size)
            received = unit.received
            if isinstance(received, Offloaded):
                unit.received = msgspec.structs.replace(received, body=received.sent.body)

    # While a message waits until it runs again

    def keep(self, unit: Delivery) -> None:
        """It is settled in this turn of the loop. If it waits then, its payload stays until another needs the bytes."""
        if self.budget.is_asked:
            self.drop(unit)
        elif unit in self._bytes:
            self._kept[unit] = None
            asyncio.get_running_loop().call_soon(self._drop_settled)

    def was_kept(self, unit: Delivery) -> bool:
        """Whether the payload of a message that runs again is here; it is not only kept from now on."""
        return bool(self._kept) and self._kept.pop(unit, 0) is None

    def _drop_settled(self) -> None:
        """Drop the payloads of messages that do not wait any more."""
        for unit in [each for each in self._kept if each.state is not State.WAITING]:
            self.drop(unit)

    def __repr__(self) -> str:
        return f"<Held {len(self._bytes)} payloads, {len(self._kept)} of them kept, {self.budget!r}>"
