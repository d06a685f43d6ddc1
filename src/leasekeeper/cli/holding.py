"""Messages that a command has received and hides until it gives them back: what `peek` looks at, what `redrive` reads.

Owned by one command. It promises to give back what it received, to receive no message twice while it holds it, and to
know what that cost: receives, calls, and the time for which the first message was hidden.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from leasekeeper.api import BATCH
from leasekeeper.cli.errors import say
from leasekeeper.cli.words import counted
from leasekeeper.errors import SqsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.message import Received

WAIT = 1
"""Seconds that a receive waits: a long poll asks all of SQS's servers, a short poll only some."""
PARALLEL = 8
"""Calls that give messages back at the same time."""


class Holding:
    """Messages that are held, by id.

    Args:
        client: the client of the queue.
        url: of the queue that they come from.
        visibility: seconds that they stay hidden when they are neither given back nor extended.

    Attributes:
        calls: how many API calls it made.
        hidden: seconds between the first receive and the last time that messages were given back, rounded up to 0.1 s.
    """

    def __init__(self, client: SqsApi, url: str, visibility: int) -> None:
        self._client = client
        self._url = url
        self._visibility = visibility
        self._held: dict[str, tuple[str, float]] = {}
        self._seen: set[str] = set()
        self._began: float | None = None
        self.calls = 0
        self.hidden = 0.0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def seen(self) -> int:
        """How many messages were received, each counted once."""
        return len(self._seen)

    @property
    def fifo(self) -> bool:
        """Whether the queue is a FIFO queue."""
        return self._url.endswith(".fifo")

    async def receive(self, maximum: int = BATCH, wait: float = WAIT) -> list[Received] | None:
        """Receive up to `maximum` messages and hold them; None when none came within `wait` seconds.

        A message that is held already is left out: SQS delivered it twice.
        """
        self.calls += 1
        now = _now()
        self._began = now if self._began is None else self._began
        messages = await self._client.receive(self._url, maximum=maximum, wait=wait, visibility=self._visibility)
        new = [message for message in messages if message.message_id not in self._held]
        for message in messages:  # of two receipts for one message, the newer counts
            self._held[message.message_id] = (message.receipt, now)
            self._seen.add(message.message_id)
        return new if messages else None

    def receipt(self, message: Received) -> str:
        """The newest receipt of a message that is held."""
        return self._held[message.message_id][0]

    def forget(self, message: Received) -> None:
        """Stop holding a message: it was deleted."""
        self._held.pop(message.message_id, None)

    async def keep(self) -> None:
        """Extend what has been hidden for half its time or longer."""
        now = _now()
        due = [(key, receipt) for key, (receipt, since) in self._held.items() if now - since > self._visibility / 2]
        for start in range(0, len(due), BATCH):
            batch = due[start : start + BATCH]
            # One that cannot be extended becomes visible and is received again; that does no harm.
            self._held.update({key: (receipt, now) for key, receipt in batch if key in self._held})
            await self._change([receipt for _, receipt in batch], self._visibility)

    async def give_back(self) -> int:
        """Make all that is held visible, and return how many became so.

        The last goes first, and on a FIFO queue one call follows the other: the order is kept.
        """
        receipts = [receipt for receipt, _ in reversed(self._held.values())]
        self._held.clear()
        batches = [receipts[start : start + BATCH] for start in range(0, len(receipts), BATCH)]
        together = 1 if self.fifo else PARALLEL
        given_back = 0
        for start in range(0, len(batches), together):
            calls = [self._change(batch, 0) for batch in batches[start : start + together]]
            given_back += sum(await asyncio.gather(*calls))
        self.hidden = 0.0 if self._began is None else max(1, math.ceil(10 * (_now() - self._began))) / 10
        return given_back

    async def _change(self, receipts: Sequence[str], seconds: int) -> int:
        self.calls += 1
        try:
            answers = await self._client.change_visibility_batch(self._url, [(each, seconds) for each in receipts])
        except SqsError as error:
            say(f"the visibility of {counted(len(receipts), 'message')} could not be changed: {error}")
            return 0
        return sum(answer is None for answer in answers)


def _now() -> float:
    return asyncio.get_running_loop().time()
