"""`leasekeeper store`: create what a store of idempotency keys, or an inbox, needs; or print it.

Owned by the command line. `--print` needs neither a server nor its driver.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from leasekeeper.cli.connection import EndpointOption, ProfileOption, RegionOption  # noqa: TC001 - typer reads them
from leasekeeper.cli.databases import dsn_option, exists, trouble
from leasekeeper.idempotency import inbox, postgres
from leasekeeper.idempotency.dynamodb import DynamoDbStore


class Action(StrEnum):
    """What is to be done."""

    CREATE = "create"


class Kind(StrEnum):
    """What keeps keys."""

    POSTGRES = "postgres"
    INBOX = "inbox"
    DYNAMODB = "dynamodb"
    REDIS = "redis"


ActionArgument = Annotated[Action, typer.Argument(metavar="create", help="What to do.", show_choices=False)]
KindArgument = Annotated[
    Kind,
    typer.Argument(
        metavar="postgres|inbox|dynamodb|redis",
        help="PostgresStore, PostgresInbox, DynamoDbStore, or RedisStore, which needs no table.",
        show_choices=False,
    ),
]
VARIABLE = "LEASEKEEPER_STORE_DSN"
DsnOption = Annotated[str, dsn_option(VARIABLE)]
TableOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The table, in Postgres also with its schema.", show_default="leasekeeper_keys"),
]
PrintOption = Annotated[bool, typer.Option("--print", help="Print the DDL or the calls, and do nothing.")]


def store(
    action: ActionArgument,  # noqa: ARG001 - there is one
    kind: KindArgument,
    *,
    dsn: DsnOption = "",
    table: TableOption = None,
    show: PrintOption = False,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Create the table of a store of idempotency keys, or of an inbox; nothing happens if it is there."""
    if kind is Kind.REDIS:
        print("a RedisStore needs no table: there is nothing to create")
        return
    default = "leasekeeper_inbox" if kind is Kind.INBOX else "leasekeeper_keys"
    name = table or default
    if kind is Kind.DYNAMODB:
        made = DynamoDbStore(name, region=region, endpoint_url=endpoint_url, profile=profile)
        if show:
            print(json.dumps({"CreateTable": made.definition, "UpdateTimeToLive": made.time_to_live}, indent=2))
            return
        there = not made.create_table()
    else:
        template = inbox.DEFINITION if kind is Kind.INBOX else postgres.DEFINITION
        definition = postgres.for_table(template, postgres.checked_table(name, "--table ", default))
        if show:
            print(definition.strip())
            return
        there = _create(dsn, definition, name)
    print(f"{name} is there already" if there else f"created {name}")


def _create(dsn: str, definition: str, table: str) -> bool:
    """Create it; whether it was there already."""
    postgres.check_psycopg("leasekeeper store")
    import psycopg

    try:
        with psycopg.connect(dsn) as connection:
            there = exists(connection, table)
            connection.execute(definition.encode())
    except psycopg.Error as error:
        raise trouble(f"table {table} cannot be created", error, dsn, VARIABLE) from error
    return there
