"""What commands say of a database of Postgres that cannot be used: which flag or variable is meant, and what to do."""

from __future__ import annotations

from typing import Any

from leasekeeper.texts import one_line


def trouble(error: Exception, dsn: str, variable: str, create: str) -> str:
    """The sentence for an error of psycopg.

    Args:
        error: the error.
        dsn: the connection string that was given; empty if none was.
        variable: in which it may be.
        create: the command that creates the table.
    """
    kind, text = type(error).__name__, one_line(error)
    if kind == "UndefinedTable":
        return f"the table does not exist; run `{create}`"
    if kind == "ProgrammingError":  # libpq cannot read it
        return f"--dsn or {variable} is no connection string: {text}"
    return text if dsn else f"{text.rstrip('.')}; give --dsn or set {variable}"


def exists(connection: Any, table: str) -> bool:
    """Whether a table is there."""
    return connection.execute("SELECT to_regclass(%s)", [table]).fetchone()[0] is not None
