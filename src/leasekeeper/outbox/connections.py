"""Connections to the database of an outbox: made when they are needed, kept while they work.

Owned by a relay, used on its loop. It promises that a connection which was in use when something failed is closed, so
that its transaction and its locks end.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECT = 10.0
"""Seconds that connecting may take."""


class Connections:
    """At most `most` connections at once; others wait."""

    def __init__(self, dsn: str, most: int) -> None:
        self._dsn = dsn
        self._slots = asyncio.Semaphore(most)
        self._idle: list[Any] = []

    async def connect(self) -> Any:
        """A connection for the caller, which closes it."""
        import psycopg

        # No prepared statements: poolers in front of a database may give each transaction another connection.
        connecting = psycopg.AsyncConnection.connect(self._dsn, autocommit=True, prepare_threshold=None)
        async with asyncio.timeout(CONNECT):
            connection = await connecting
        # A statement must see all that is committed by then, also where the default of the database is another level.
        await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        return connection

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Any]:
        """A connection for the block."""
        async with self._slots:
            connection = self._idle.pop() if self._idle else None
            if connection is None or connection.closed:
                connection = await self.connect()
            try:
                yield connection
            except BaseException:
                await connection.close()
                raise
            self._idle.append(connection)

    async def close(self) -> None:
        """Close those that are idle."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()
