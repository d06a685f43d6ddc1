"""The inbox: the key of a message and the rows of its handler commit in one transaction of Postgres.

Given to a consumer as `idempotency=`. The handler takes the connection as a parameter. A lost lease does no harm: of
two runs one commits, and the other is rolled back.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.envelopes.opening import NothingToHandle
from leasekeeper.errors import ConfigurationError
from leasekeeper.idempotency.api import KeyMissing, StoreUnavailable
from leasekeeper.idempotency.committing import check_open, ends_well
from leasekeeper.idempotency.connections import IdleConnections
from leasekeeper.idempotency.keys import check_keep, check_key, digest, key_function, why_missing
from leasekeeper.idempotency.outage import NOT_RUN, Outage, has_answered
from leasekeeper.idempotency.postgres import CLEAN, CLEANING, check_psycopg, checked_table, for_table, missing_table
from leasekeeper.idempotency.terms import Counts
from leasekeeper.outcomes import NotNow
from leasekeeper.schedules import Exponential
from leasekeeper.texts import one_line

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from leasekeeper.core.idempotency_statistics import IdempotencyStatistics
    from leasekeeper.idempotency.keys import Key
    from leasekeeper.lanes.signature import Signature
    from leasekeeper.message import Message

DEFINITION = """
CREATE TABLE IF NOT EXISTS {table} (key text PRIMARY KEY, expires timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS {table}_expires ON {table} (expires);
"""
# Another transaction that has the key lets us wait for nothing: its lock says so. A key that was committed after our
# snapshot conflicts nevertheless, because unique indexes know no snapshots.
CLAIM = """
WITH lock AS (SELECT pg_try_advisory_xact_lock(hashtextextended(%(key)s, 0)) AS free),
inserted AS (
  INSERT INTO {table} AS k (key, expires)
  SELECT %(key)s, now() + %(keep)s * interval '1 second' FROM lock WHERE free
  ON CONFLICT (key) DO UPDATE SET expires = excluded.expires WHERE k.expires <= now()
  RETURNING 1
)
SELECT free, EXISTS (SELECT FROM inserted) FROM lock
"""
AGAIN = Exponential(base=5.0, maximum=60.0)
"""Seconds until a message comes again while another transaction holds its key, by its receives; half as many may be
added. SQS counts each of them, and a long handler must not take its duplicate to the dead-letter queue."""
CLAIM_TIMEOUT = 10.0
"""Seconds that connecting and claiming may take, for `async def` handlers."""

_transaction: ContextVar[Any] = ContextVar("leasekeeper_inbox")


class PostgresInbox:
    """Runs each handler in a transaction that also holds the key of its message: exactly one run commits.

    The handler takes the connection as a parameter annotated with `psycopg.AsyncConnection`, or `psycopg.Connection` if
    it is a `def`, and does not commit itself. It is committed when the handler has returned, and rolled back when it
    raises, is cancelled, returns `Retry` or `Reject`, or has called `message.retry()`. Connections are used again: what
    a handler sets beyond its transaction stays (use `SET LOCAL`).

    Args:
        dsn: a connection string or URL, as psycopg has it.
        key: as `Idempotency` has it.
        keep: as `Idempotency` has it.
        table: of the keys. `create_table()` makes it.

    Raises:
        ConfigurationError: psycopg is not installed, or an argument is wrong.
    """

    def __init__(
        self, dsn: str, *, key: Key, keep: timedelta = timedelta(days=8), table: str = "leasekeeper_inbox"
    ) -> None:
        check_psycopg("PostgresInbox")
        check_key("PostgresInbox", key)
        check_keep("PostgresInbox", keep)
        self._arguments: dict[str, Any] = {
            "key": key,
            "keep": keep,
            "table": checked_table(table, example="leasekeeper_inbox"),
        }
        self._dsn = dsn
        self._key = key_function(key)
        self._missing = why_missing(key)
        self._table = table
        self._claim = for_table(CLAIM, table)
        self._idle = IdleConnections(dsn)
        self._runs = 0
        self.keep = keep.total_seconds()
        """Seconds for which a key is remembered."""
        self.counts = Counts()
        """The counters."""

    @property
    def definition(self) -> str:
        """The DDL of the table, which may be run again."""
        return for_table(DEFINITION, self._table)

    def create_table(self) -> None:
        """Create the table if it is not there; blocks."""
        import psycopg

        with psycopg.connect(self._dsn) as connection:
            connection.execute(self.definition)

    async def check(self) -> None:
        """Ask the database once whether it takes a key, which is rolled back: a standby answers, and takes none.

        Raises:
            ConfigurationError: the table does not exist.
            StoreUnavailable: the database cannot be reached, or answers with an error.
        """
        import psycopg

        connecting = psycopg.AsyncConnection.connect(self._dsn, autocommit=True, **self._idle.limits)
        key = {"key": f"leasekeeper:check:{os.urandom(16).hex()}", "keep": 1.0}
        try:
            async with (
                asyncio.timeout(CLAIM_TIMEOUT),
                await connecting as connection,
                connection.transaction(force_rollback=True),
            ):
                await connection.execute(self._claim, key)
        except (psycopg.Error, TimeoutError) as error:
            if missing := missing_table(error, self, "inbox", self._table):
                raise missing from error
            raise StoreUnavailable(f"{self!r}: {type(error).__name__}: {one_line(error)}") from error

    probe = check

    def statistics(self, queue: str | None = None) -> IdempotencyStatistics:
        """What became of the messages so far: those of a queue, by its name, or of all."""
        return self.counts.statistics(queue)

    def close_idle(self) -> None:
        """Close the connections that no handler uses; consumers call it at their end."""
        self._idle.close()

    # Around the handler

    def for_handler(self, name: str, *, is_coroutine: bool, timeout: float | None) -> Callable[[Any, Any], Any]:
        """What is called around one handler; as every `MiddlewareMaker`."""
        outage = Outage(name, time.monotonic)
        within = CLAIM_TIMEOUT if timeout is None else min(CLAIM_TIMEOUT, timeout / 2)

        async def run(message: Message[Any], call_next: Callable[[Any], Any]) -> Any:
            import psycopg

            key, result = self._key_of(message, name), None
            with self._down(outage, message):
                async with asyncio.timeout(within):
                    connection, stack, row = await self._begin(key)
            try:
                async with stack:
                    self._check(row, message)
                    with _given(connection):
                        result = await call_next(message)
                    if not ends_well(message, result, name):
                        raise psycopg.Rollback
                    check_open(connection, name)
                if self._cleans():
                    with suppress(psycopg.Error):
                        await connection.execute(for_table(CLEAN, self._table))
            finally:
                self._idle.give(connection, asyncio.get_running_loop())
            return result

        def run_blocking(message: Message[Any], call_next: Callable[[Any], Any]) -> Any:
            import psycopg

            key, result = self._key_of(message, name), None
            with self._down(outage, message):
                connection, stack, row = self._begin_blocking(key)
            try:
                with stack:
                    self._check(row, message)
                    with _given(connection):
                        result = call_next(message)
                    if not ends_well(message, result, name):
                        raise psycopg.Rollback
                    check_open(connection, name)
                if self._cleans():
                    with suppress(psycopg.Error):
                        connection.execute(for_table(CLEAN, self._table))
            finally:
                self._idle.give(connection, None)
            return result

        return run if is_coroutine else run_blocking

    async def _begin(self, key: str) -> tuple[Any, AsyncExitStack, Any]:
        """A connection in a transaction, and what became of the claim. One that was closed while idle is replaced."""
        import psycopg

        while True:
            connection = self._idle.take(asyncio.get_running_loop())
            reused = connection is not None
            if connection is None:
                connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, **self._idle.limits)
            stack = AsyncExitStack()
            try:
                await stack.enter_async_context(connection.transaction())
                cursor = await connection.execute(self._claim, {"key": key, "keep": self.keep})
                return connection, stack, await cursor.fetchone()
            except BaseException as error:
                await connection.close()
                if not reused or not isinstance(error, psycopg.OperationalError):
                    raise

    def _begin_blocking(self, key: str) -> tuple[Any, ExitStack, Any]:
        import psycopg

        while True:
            connection = self._idle.take(None)
            reused = connection is not None
            if connection is None:
                connection = psycopg.connect(self._dsn, autocommit=True, **self._idle.limits)
            stack = ExitStack()
            try:
                stack.enter_context(connection.transaction())
                cursor = connection.execute(self._claim, {"key": key, "keep": self.keep})
                return connection, stack, cursor.fetchone()
            except BaseException as error:
                connection.close()
                if not reused or not isinstance(error, psycopg.OperationalError):
                    raise

    def _key_of(self, message: Message[Any], handler: str) -> str:
        key = self._key(message)
        if key is None or key == "":
            self.counts.add(message.queue, "missing")
            raise KeyMissing(f"message {message.id} has no idempotency key for handler {handler}: {self._missing}")
        return f"{message.queue}:{handler}:{digest(key)}"

    @contextmanager
    def _down(self, outage: Outage, message: Message[Any]) -> Iterator[None]:
        """A database that does not answer is no failure of the message: it comes again, and nothing was run."""
        import psycopg

        try:
            yield
        except (psycopg.Error, TimeoutError) as error:
            missing = missing_table(error, self, "inbox", self._table)
            self.counts.add(message.queue, "store_errors")
            answered = missing is None and has_answered(error)
            raise NotNow(outage.failed(missing or error, NOT_RUN), missing or error, answered=answered) from error
        outage.over()

    def _check(self, row: Any, message: Message[Any]) -> None:
        free, inserted = row
        if not free:
            self.counts.add(message.queue, "running")
            after = AGAIN.ceiling(message.receive_count) * random.uniform(1, 1.5)  # noqa: S311 - jitter, not a secret
            raise NotNow(after)
        self.counts.add(message.queue, "claimed" if inserted else "done")
        if not inserted:
            raise NothingToHandle("its work was done before, by its idempotency key")

    def _cleans(self) -> bool:
        """Whether it is time to delete keys that are over."""
        self._runs += 1
        return self._runs % CLEANING == 0

    # What gives the connection to the handler

    def gives(self, parameter: inspect.Parameter) -> bool:
        """As `Injector.gives`: a connection of psycopg."""
        import psycopg

        kind = getattr(parameter.annotation, "__origin__", parameter.annotation)
        return kind in (psycopg.AsyncConnection, psycopg.Connection)

    def check_handler(self, signature: Signature) -> None:
        """Refuse a handler that asks for the other kind of connection: it could not use the one that it gets.

        Raises:
            ConfigurationError: it does.
        """
        import psycopg

        kind = psycopg.AsyncConnection if signature.is_coroutine else psycopg.Connection
        for each in filter(self.gives, signature.injected):
            if getattr(each.annotation, "__origin__", each.annotation) is not kind:
                what = "async def" if signature.is_coroutine else "def"
                raise ConfigurationError(
                    f"handler {signature.name} is `{what}`: annotate {each.name} with psycopg.{kind.__name__}"
                )

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

    def __reduce__(self) -> Any:
        """For worker processes, which open connections themselves."""
        return partial(PostgresInbox, **self._arguments), (self._dsn,)

    def __repr__(self) -> str:
        return f"<PostgresInbox, table {self._table}>"  # the DSN may have a password


@contextmanager
def _given(connection: Any) -> Iterator[None]:
    before = _transaction.set(connection)
    try:
        yield
    finally:
        _transaction.reset(before)
