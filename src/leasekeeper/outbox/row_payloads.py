"""The payloads of rows on their way to S3, before the messages that point to them are sent.

Owned by a relay, one for each queue. It promises that a row points to its payload only when S3 has confirmed it, and
that a relay which dies in between leaves no litter: the next one stores the payload under the same key.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError
from leasekeeper.outbox.outbox import attributes_as_json
from leasekeeper.outbox.row_delivery import Delivered
from leasekeeper.outbox.rows import pointer_of
from leasekeeper.outbox.statements import POINT, SESSION, TAKE_LARGE
from leasekeeper.payload import PayloadUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.outbox.connections import Connections
    from leasekeeper.outbox.outbox import Outbox
    from leasekeeper.outbox.rows import Row
    from leasekeeper.payloads.api import ObjectStore
    from leasekeeper.sending.outgoing import TargetQueue

TIME = 120
"""Seconds that a transaction may take, which holds one row while its payload is stored."""
TOGETHER = 10
"""Payloads that are stored before the relay looks at small messages again."""
_NAMES = uuid.UUID("0b9a0f52-6a5c-4c2e-9d0e-6b3f1c7de1a4")
"""The namespace of the names of objects."""


class RowPayloads:
    """Stores the payloads of one queue's rows.

    Args:
        outbox: the table.
        connections: to its database.
        store: where payloads go.
    """

    def __init__(self, outbox: Outbox, connections: Connections, store: ObjectStore) -> None:
        self._outbox = outbox
        self._connections = connections
        self._store = store

    async def store(self, rows: Sequence[Row], target: TargetQueue) -> Delivered:
        """Store the first payloads of these rows, one after the other; what became of those that S3 did not take.

        After an error the others are not tried, and have the same one.
        """
        stored = Delivered()
        for at, row in enumerate(rows[:TOGETHER]):
            try:
                async with asyncio.timeout(TIME):
                    await self._store_one(row, target)
            except (PayloadUnavailable, TimeoutError) as error:
                sentence = str(error) or f"the payload was not stored within {TIME} s"
                stored.again = [(each, sentence) for each in rows[at:]]
                break
            except ConfigurationError as error:
                stored.refused.append((row, str(error)))
        return stored

    async def _store_one(self, row: Row, target: TargetQueue) -> None:
        statement = self._outbox.statement
        async with self._connections.taken() as connection, connection.transaction():
            await connection.execute(SESSION.format(seconds=2 * TIME))
            cursor = await connection.execute(statement(TAKE_LARGE), {"id": row.id})
            found = await cursor.fetchone()
            if found is None:  # another relay works on it
                return
            body, attributes, due = found
            # Race: since this relay has read the row, another may have stored its payload.
            now = row._replace(attributes=attributes)
            pointer = pointer_of(now, body, target, self._name(row, body, due))
            if pointer is not None:
                await pointer.store(self._store)
                values = {"id": row.id, "body": pointer.body, "attributes": attributes_as_json(pointer.attributes)}
                await connection.execute(statement(POINT), values)

    def _name(self, row: Row, body: str, due: str) -> str:
        """The same for each try, and no other row's: ids of rows begin again in another database."""
        parts = (self._outbox.table, str(row.id), row.deduplication_id, due, body)
        return str(uuid.uuid5(_NAMES, "\0".join(parts)))
