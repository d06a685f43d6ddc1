"""What commands say of a database of Postgres that cannot be used: which flag or variable is meant, and what to do."""

from __future__ import annotations

from typing import Any

import typer

from leasekeeper.errors import ConfigurationError, LeasekeeperError, NotFound, Unusable
from leasekeeper.texts import one_line


def dsn_option(variable: str) -> Any:
    """The flag `--dsn`, as typer reads it, with the variable that it may come from."""
    return typer.Option(
        metavar="DSN",
        help="Connection string or URL of Postgres; unset, the variables of libpq count, such as PGHOST.",
        envvar=variable,
    )


def trouble(what: str, error: Exception, dsn: str, variable: str, create: str = "") -> LeasekeeperError:
    """An error of psycopg as ours.

    Args:
        what: what cannot be used, in words.
        error: the error.
        dsn: the connection string that was given; empty if none was.
        variable: in which it may be.
        create: the command that creates the table.
    """
    kind, text = type(error).__name__, one_line(error)
    if kind == "UndefinedTable":
        return NotFound(f"{what}: the table does not exist; run `{create}`")
    if kind == "ProgrammingError":  # libpq cannot read it
        return ConfigurationError(f"{what}: --dsn or {variable} is no connection string: {text}")
    return Unusable(f"{what}: " + (text if dsn else f"{text.rstrip('.')}; give --dsn or set {variable}"))


def exists(connection: Any, table: str) -> bool:
    """Whether a table is there."""
    return connection.execute("SELECT to_regclass(%s)", [table]).fetchone()[0] is not None
