"""A store in Postgres: one statement a verb, in a table of keys. Time is the server's.

Its connections belong to the event loop of the store, and are made when they are needed.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError
from leasekeeper.extras import needs
from leasekeeper.idempotency.api import CLAIMED, Completed, Found, Running, TableMissing
from leasekeeper.loggers import safe_logger
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.idempotency.api import Extension

log = safe_logger("leasekeeper.idempotency")

DEFINITION = """
CREATE TABLE IF NOT EXISTS {table} (
  key text PRIMARY KEY,
  token text NOT NULL,
  done boolean NOT NULL,
  fingerprint text NOT NULL,
  result bytea,
  expires timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS {table}_expires ON {table} (expires);
"""
# A key whose time is over counts as absent. What another transaction has just claimed may be in neither part: then
# there is no row, and the question is asked again.
CLAIM = """
WITH claimed AS (
  INSERT INTO {table} AS k (key, token, done, fingerprint, expires)
  VALUES (%(key)s, %(token)s, false, '', now() + %(seconds)s * interval '1 second')
  ON CONFLICT (key) DO UPDATE
  SET token = excluded.token, done = false, fingerprint = '', result = NULL, expires = excluded.expires
  WHERE k.expires <= now() OR (NOT k.done AND k.token = excluded.token)
  RETURNING 1
)
SELECT true, false, '', NULL::bytea, 0::float8 FROM claimed
UNION ALL
SELECT false, done, fingerprint, result, extract(epoch FROM expires - now())::float8
FROM {table} WHERE key = %(key)s AND NOT EXISTS (SELECT FROM claimed)
"""
EXTEND = """
UPDATE {table} AS k SET expires = now() + asked.seconds * interval '1 second'
FROM unnest(%(keys)s::text[], %(tokens)s::text[], %(seconds)s::float8[]) AS asked (key, token, seconds)
WHERE k.key = asked.key AND k.token = asked.token AND NOT k.done AND k.expires > now()
RETURNING k.token
"""
COMPLETE = """
INSERT INTO {table} AS k (key, token, done, fingerprint, result, expires)
VALUES (%(key)s, %(token)s, true, %(fingerprint)s, %(result)s, now() + %(seconds)s * interval '1 second')
ON CONFLICT (key) DO UPDATE
SET token = excluded.token, done = true, fingerprint = excluded.fingerprint, result = excluded.result,
  expires = excluded.expires
WHERE k.expires <= now() OR k.token = excluded.token
RETURNING 1
"""
RELEASE = """
DELETE FROM {table} WHERE key = %(key)s AND token = %(token)s AND NOT done AND expires > now() RETURNING 1
"""
CLEAN = """
DELETE FROM {table} WHERE key IN (
  SELECT key FROM {table} WHERE expires <= now() LIMIT 2000 FOR UPDATE SKIP LOCKED
)
"""
CLEANING = 1000
"""Claims after which keys that are over are deleted, at most twice as many."""
TRIES = 3
"""Questions about a key that other transactions are just changing."""
LONGEST_TABLE = 50
"""Bytes of the name of a table. Postgres cuts names at 63 bytes, and then two indexes may have the same one."""
CONNECTIONS = 8
"""Connections of a store at most."""


def checked_table(table: str, what: str = "table=", example: str = "leasekeeper_keys") -> str:
    """The name of a table that may stand in a statement; `what` begins the sentence of an error.

    Raises:
        ConfigurationError: it needs quotes.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", table):
        raise ConfigurationError(f"{what}{table!r}: must be a name of letters, digits and _, e.g. {example!r}")
    if len(table.rpartition(".")[2].encode()) > LONGEST_TABLE:
        raise ConfigurationError(
            f"{what}{table!r}: must have at most {LONGEST_TABLE} bytes: its indexes have longer names"
        )
    return table


def for_table(statement: str, table: str) -> str:
    """A statement with the name of a table in it; an index has no schema in its name."""
    index = f"{table.rpartition('.')[2]}_expires"
    return statement.replace("{table}_expires", index).replace("{table}", table)


def check_psycopg(what: str) -> None:
    """Refuse if psycopg is not installed."""
    try:
        import psycopg  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ConfigurationError(needs(what, "psycopg 3", "postgres")) from error


def missing_table(error: BaseException, store: object, kind: str, table: str) -> TableMissing | None:
    """What an error of psycopg says of a table that does not exist, or has other columns; None: something else."""
    name = type(error).__name__
    if name not in ("UndefinedTable", "UndefinedColumn", "InvalidSchemaName"):
        return None
    if name == "UndefinedColumn":
        missing = TableMissing(f"{store!r}: table {table} has other columns: it is the table of something else")
    else:
        missing = TableMissing(
            f"{store!r}: table {table} does not exist: run `leasekeeper store create {kind} --table {table} --dsn ...`"
        )
    return missing


class PostgresStore:
    """Keeps idempotency keys in a table of Postgres; needs the extra `postgres`.

    Args:
        dsn: a connection string or URL, as psycopg has it.
        table: the table's name, with or without a schema. `definition` is its DDL, and `create_table()` runs that.

    Raises:
        ConfigurationError: psycopg is not installed, or the name of the table needs quotes.
    """

    inline = False
    connections = CONNECTIONS

    def __init__(self, dsn: str, *, table: str = "leasekeeper_keys") -> None:
        check_psycopg("PostgresStore")
        self._dsn = dsn
        self._table = checked_table(table)
        self._loop: object = None
        self._idle: list[Any] = []
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._claims = 0

    @property
    def definition(self) -> str:
        """The DDL of the table, which may be run again."""
        return for_table(DEFINITION, self._table)

    def create_table(self) -> None:
        """Create the table if it is not there; blocks."""
        import psycopg

        with psycopg.connect(self._dsn) as connection:
            connection.execute(self.definition)

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:  # noqa: ARG002 - Store's
        """As `Store.claim`."""
        self._claims += 1
        if self._claims % CLEANING == 0:
            await self._run(CLEAN)
        for _ in range(TRIES):
            rows = await self._run(CLAIM, key=key, token=token, seconds=lease)
            if rows:
                claimed, done, known, result, left = rows[0]
                if claimed:
                    return CLAIMED
                # Race: the row is older than what another transaction has made of it meanwhile. Its time is over then.
                if left > 0:
                    return Completed(known, result) if done else Running(left)
        return Running(1.0)

    async def extend(self, extensions: Sequence[Extension]) -> Sequence[bool]:
        """As `Store.extend`: one statement for all."""
        keys, tokens, seconds = (list(each) for each in zip(*extensions, strict=True)) if extensions else ([], [], [])
        rows = await self._run(EXTEND, keys=keys, tokens=tokens, seconds=seconds)
        extended = {token for (token,) in rows}
        return [token in extended for token in tokens]

    async def complete(self, key: str, token: str, fingerprint: str, result: bytes | None, keep: float) -> bool:
        """As `Store.complete`."""
        values = {"key": key, "token": token, "fingerprint": fingerprint, "result": result, "seconds": keep}
        return bool(await self._run(COMPLETE, **values))

    async def release(self, key: str, token: str) -> bool:
        """As `Store.release`."""
        return bool(await self._run(RELEASE, key=key, token=token))

    async def close(self) -> None:
        """As `Store.close`."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _run(self, statement: str, **values: Any) -> list[Any]:
        import psycopg

        async with self._slot():
            connection = self._idle.pop() if self._idle else None
            if connection is not None:
                try:
                    return await self._execute(connection, statement, values)
                except psycopg.OperationalError as error:
                    # The server, or something on the way, has closed it while it was idle. All verbs may be made
                    # twice: they say the same to their token again.
                    log.debug("a connection to Postgres has ended, another is opened: %s", safe_str(error, 300))
            connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True)
            return await self._execute(connection, statement, values)

    async def _execute(self, connection: Any, statement: str, values: dict[str, Any]) -> list[Any]:
        try:
            cursor = await connection.execute(statement.replace("{table}", self._table), values or None)
            rows = await cursor.fetchall() if cursor.description else []
        except BaseException as error:
            await connection.close()
            if missing := missing_table(error, self, "postgres", self._table):
                raise missing from error
            raise
        self._idle.append(connection)
        return rows

    def _slot(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # the thread of the store is another one, also in a forked child
            self._loop, self._idle, self._slots = loop, [], asyncio.Semaphore(CONNECTIONS)
        return self._slots

    def __reduce__(self) -> Any:
        """For worker processes, which open connections themselves."""
        return partial(PostgresStore, table=self._table), (self._dsn,)

    def __repr__(self) -> str:
        return f"<PostgresStore, table {self._table}>"  # the DSN may have a password
