"""Receives of a FIFO queue with a keeper: those without an answer are in the table, with their attempt ids.

Stands between `engine.attempt_ids` and the client. If the process dies before it has read an answer, the keeper makes
the receive again under its id, gets the same messages, and gives them back. Otherwise their groups would stand still.
A standard queue has no such ids.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.errors import SqsError, Verdict
from leasekeeper.keeper.layout import MOST_RECEIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.keeper.table import Table
    from leasekeeper.message import Received


class NotedReceives:
    """Receives, and notes in the table which of them have no answer.

    Args:
        client: the SQS client.
        table: the consumer's.
        clock: seconds, monotonic.
    """

    def __init__(self, client: SqsApi, table: Table, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._free = list(range(MOST_RECEIVES))
        self._places: dict[str, int] = {}

    async def receive(
        self,
        queue_url: str,
        *,
        maximum: int,
        wait: float,
        visibility: int,
        attribute_names: Sequence[str] = ("All",),
        attempt_id: str | None = None,
    ) -> list[Received]:
        """As `SqsApi.receive`."""
        if attempt_id is not None and attempt_id not in self._places and self._free:
            place = self._places[attempt_id] = self._free.pop()
            self._table.write_receive(place, self._clock(), visibility, maximum, attempt_id)
        answered = True
        try:
            return await self._client.receive(
                queue_url,
                maximum=maximum,
                wait=wait,
                visibility=visibility,
                attribute_names=attribute_names,
                attempt_id=attempt_id,
            )
        except SqsError as error:
            answered = bool(error.status) or error.verdict is not Verdict.UNAVAILABLE
            raise
        except asyncio.CancelledError:
            answered = False
            raise
        finally:
            if answered and attempt_id is not None:
                # Not before its messages have slots: the ledger takes them in before the loop's next callback.
                asyncio.get_running_loop().call_soon(self._clear, attempt_id)

    def _clear(self, attempt_id: str) -> None:
        place = self._places.pop(attempt_id, None)
        if place is not None:
            self._table.clear_receive(place)
            self._free.append(place)

    def __repr__(self) -> str:
        return f"<NotedReceives, {len(self._places)} without an answer>"
