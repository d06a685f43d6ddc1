"""Connections to Postgres between two runs of handlers.

Owned by an inbox. A connection of asyncio is used on its loop only.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, finalize

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

IDLE = 60.0
"""Seconds after which a connection is not used again: something on the way may have closed it."""
CONNECT_TIMEOUT = 5
"""Seconds to connect, where the connection string says nothing."""


class IdleConnections:
    """Those that no handler uses now, by loop; None for those of `def` handlers, which any thread may take.

    Attributes:
        limits: arguments for new connections.
    """

    def __init__(self, dsn: str) -> None:
        from psycopg.conninfo import conninfo_to_dict

        self.limits: dict[str, Any] = {}
        if "connect_timeout" not in conninfo_to_dict(dsn):
            self.limits["connect_timeout"] = CONNECT_TIMEOUT
        self._lock = threading.Lock()
        self._of_threads: list[tuple[Any, float]] = []
        self._of_loops: WeakKeyDictionary[AbstractEventLoop, list[tuple[Any, float]]] = WeakKeyDictionary()

    def _of(self, loop: AbstractEventLoop | None) -> list[tuple[Any, float]]:
        if loop is None:
            return self._of_threads
        if (idle := self._of_loops.get(loop)) is None:
            idle = self._of_loops[loop] = []
            finalize(loop, _close_all, idle)
        return idle

    def take(self, loop: AbstractEventLoop | None) -> Any:
        """A connection; None if there is none. The one that was used last comes first, so that the others age."""
        now = time.monotonic()
        with self._lock:
            idle = self._of(loop)
            while idle and idle[0][1] < now - IDLE:
                _close(idle.pop(0)[0])
            return idle.pop()[0] if idle else None

    def give(self, connection: Any, loop: AbstractEventLoop | None) -> None:
        """Take it back; it is closed if its handler has left it in the middle of something."""
        from psycopg.pq import TransactionStatus
        from psycopg.rows import tuple_row

        if connection.closed:
            return
        if connection.info.transaction_status is not TransactionStatus.IDLE or not connection.autocommit:
            _close(connection)
            return
        connection.row_factory = tuple_row
        with self._lock:
            self._of(loop).append((connection, time.monotonic()))

    def close(self) -> None:
        """Close all of them, from any thread."""
        with self._lock:
            for idle in (self._of_threads, *self._of_loops.values()):
                _close_all(idle)


def _close_all(idle: list[tuple[Any, float]]) -> None:
    while idle:
        _close(idle.pop()[0])


def _close(connection: Any) -> None:
    """Close one of either kind, without its loop: nothing uses it."""
    connection._closed = True  # noqa: SLF001 - what `close()` does, which is a coroutine for one kind
    connection.pgconn.finish()
