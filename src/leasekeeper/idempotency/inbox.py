"""The inbox: the key of a message and the rows of its handler commit in one transaction of Postgres.

Given to a consumer as `idempotency=`. The handler takes the connection as a parameter. A lost lease does no harm: of
two runs one commits, and the other is rolled back.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from leasekeeper.envelopes.opening import NothingToHandle
from leasekeeper.errors import ConfigurationError
from leasekeeper.idempotency.api import KeyMissing
from leasekeeper.idempotency.keys import digest, key_function
from leasekeeper.idempotency.postgres import check_psycopg, checked_table
from leasekeeper.lanes.failures import outcome_of_result
from leasekeeper.outcomes import NotNow

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from leasekeeper.idempotency.keys import Key
    from leasekeeper.message import Message

DEFINITION = """
CREATE TABLE IF NOT EXISTS {table} (key text PRIMARY KEY, expires timestamptz NOT NULL);
"""
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
INSERT = """
INSERT INTO {table} AS k (key, expires) VALUES (%s, now() + %s * interval '1 second')
ON CONFLICT (key) DO UPDATE SET expires = excluded.expires WHERE k.expires <= now() RETURNING 1
"""
AGAIN = 5.0
"""Seconds after which a message comes again whose key another transaction holds, plus up to half as many."""

_transaction: ContextVar[Any] = ContextVar("leasekeeper_inbox")


class _RolledBack(Exception):
    """Ends a transaction without its changes."""


class PostgresInbox:
    """Runs each handler in a transaction that also holds the key of its message: exactly one run commits.

    The handler takes the connection as a parameter annotated with `psycopg.AsyncConnection`, or `psycopg.Connection` if
    it is a `def`, and does not commit itself. It is committed when the handler has returned, and rolled back when it
    raises, is cancelled, or returns `Retry` or `Reject`. Each run has a connection.

    Args:
        dsn: a connection string or URL, as psycopg has it.
        key: as `Idempotency` has it.
        keep: as `Idempotency` has it.
        table: of the keys. `create_table()` makes it.

    Raises:
        ConfigurationError: psycopg is not installed, or an argument is wrong.
    """

    def __init__(
        self, dsn: str, *, key: Key, keep: timedelta = timedelta(days=4), table: str = "leasekeeper_inbox"
    ) -> None:
        check_psycopg("PostgresInbox")
        if keep < timedelta(seconds=1):
            raise ConfigurationError(f"PostgresInbox(keep={keep!r}): must be a timedelta of a second or more")
        self._dsn = dsn
        self._key = key_function(key)
        self._keep = keep.total_seconds()
        self._table = checked_table(table)

    @property
    def definition(self) -> str:
        """The DDL of the table, which may be run again."""
        return DEFINITION.replace("{table}", self._table)

    def create_table(self) -> None:
        """Create the table if it is not there; blocks."""
        import psycopg

        with psycopg.connect(self._dsn) as connection:
            connection.execute(self.definition)

    # Around the handler

    def for_handler(self, name: str, *, is_coroutine: bool, timeout: float | None) -> Callable[[Any, Any], Any]:  # noqa: ARG002 - of every `MiddlewareMaker`
        """What is called around one handler; as every `MiddlewareMaker`."""

        async def run(message: Message[Any], call_next: Callable[[Any], Any]) -> Any:
            import psycopg

            key, result = self._key_of(message, name), None
            try:
                async with await psycopg.AsyncConnection.connect(self._dsn) as connection:
                    _check(await (await connection.execute(LOCK, [key])).fetchone())
                    inserted = await connection.execute(INSERT.replace("{table}", self._table), [key, self._keep])
                    _check_fresh(await inserted.fetchone(), message)
                    with _given(connection):
                        result = await call_next(message)
                    _check_good(result, name)
            except _RolledBack:
                pass
            return result

        def run_blocking(message: Message[Any], call_next: Callable[[Any], Any]) -> Any:
            import psycopg

            key, result = self._key_of(message, name), None
            try:
                with psycopg.connect(self._dsn) as connection:
                    _check(connection.execute(LOCK, [key]).fetchone())
                    inserted = connection.execute(INSERT.replace("{table}", self._table), [key, self._keep])
                    _check_fresh(inserted.fetchone(), message)
                    with _given(connection):
                        result = call_next(message)
                    _check_good(result, name)
            except _RolledBack:
                pass
            return result

        return run if is_coroutine else run_blocking

    def _key_of(self, message: Message[Any], handler: str) -> str:
        key = self._key(message)
        if key is None:
            raise KeyMissing(f"message {message.id} has no idempotency key for handler {handler}: give it one")
        return f"{message.queue}:{handler}:{digest(key)}"

    # What gives the connection to the handler

    def gives(self, parameter: inspect.Parameter) -> bool:
        """As `Injector.gives`: a connection of psycopg."""
        import psycopg

        kind = getattr(parameter.annotation, "__origin__", parameter.annotation)
        return kind in (psycopg.AsyncConnection, psycopg.Connection)

    @contextmanager
    def scope(self, _: Any, /) -> Iterator[Callable[[inspect.Parameter], Any]]:
        """As `Injector.scope`."""
        yield lambda _: _transaction.get()

    @asynccontextmanager
    async def scope_async(self, _: Any, /) -> AsyncIterator[Any]:
        """As `Injector.scope_async`."""

        async def get(_: inspect.Parameter) -> Any:
            return _transaction.get()

        yield get

    def override(self, kind: Any, value: Any) -> AbstractContextManager[object]:  # noqa: ARG002 - of every `Injector`
        """As `Injector.override`: nothing else depends on the connection."""
        return nullcontext()

    def __repr__(self) -> str:
        return f"<PostgresInbox, table {self._table}>"  # the DSN may have a password


@contextmanager
def _given(connection: Any) -> Iterator[None]:
    before = _transaction.set(connection)
    try:
        yield
    finally:
        _transaction.reset(before)


def _check(row: Any) -> None:
    if not row[0]:
        raise NotNow(AGAIN * random.uniform(1, 1.5))  # noqa: S311 - jitter, not a secret


def _check_fresh(row: Any, message: Message[Any]) -> None:
    if row is None:
        raise NothingToHandle(f"the work of message {message.id} is done already, by its idempotency key")


def _check_good(result: Any, handler: str) -> None:
    if result is not None and outcome_of_result(result, handler) is not None:
        raise _RolledBack
