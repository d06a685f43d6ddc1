"""`leasekeeper outbox`: create the table of an outbox, relay its rows, show what waits, retry what was set aside.

Owned by the command line. `create --print` needs neither a database nor psycopg.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasekeeper.cli import logs
from leasekeeper.cli.connection import EndpointOption, ProfileOption, RegionOption  # noqa: TC001 - typer reads them
from leasekeeper.cli.databases import dsn_option, exists, trouble
from leasekeeper.cli.run import FormatOption, LevelOption  # noqa: TC001
from leasekeeper.cli.words import counted, printable_lines
from leasekeeper.idempotency.postgres import check_psycopg, checked_table
from leasekeeper.outbox import Outbox, Relay
from leasekeeper.outbox.statements import AGAIN, ASIDE, BRING_BACK, COUNTED, FRESH, QUEUES, STATISTICS, TROUBLE
from leasekeeper.payloads import S3Payloads
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 20
"""Rows with errors that `status` shows."""


class Action(StrEnum):
    """What is to be done."""

    CREATE = "create"
    RELAY = "relay"
    STATUS = "status"
    RETRY = "retry"


ActionArgument = Annotated[
    Action, typer.Argument(metavar="create|relay|status|retry", help="What to do.", show_choices=False)
]
VARIABLE = "LEASEKEEPER_OUTBOX_DSN"
DsnOption = Annotated[str, dsn_option(VARIABLE)]
TableOption = Annotated[
    str, typer.Option(metavar="NAME", help="The table, also with its schema.", envvar="LEASEKEEPER_OUTBOX_TABLE")
]
PrintOption = Annotated[bool, typer.Option("--print", help="create: print the DDL, and do nothing.")]
NotifyOption = Annotated[
    bool, typer.Option("--notify/--no-notify", help="create: with a trigger that wakes relays; relay: listen.")
]
QueueOption = Annotated[str | None, typer.Option(metavar="QUEUE", help="retry: only rows of this queue.")]
PollOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="relay: time between looks when no notification comes, 0.01 to 3600.")
]
PayloadsOption = Annotated[
    str | None,
    typer.Option(
        metavar="s3://BUCKET[/FOLDER]",
        help="relay: where payloads go that are too large for a message; needs s3:PutObject there.",
    ),
]


def outbox(
    action: ActionArgument,
    *,
    dsn: DsnOption = "",
    table: TableOption = "leasekeeper_outbox",
    show: PrintOption = False,
    notify: NotifyOption = True,
    queue: QueueOption = None,
    poll: PollOption = 1.0,
    payloads: PayloadsOption = None,
    log_level: LevelOption = "info",
    log_format: FormatOption = "plain",
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Create the table of an outbox in Postgres, send its rows, show what waits, or retry what was set aside."""
    checked_table(table, "--table ", "leasekeeper_outbox")
    place = None if payloads is None else S3Payloads.from_url(payloads)
    box = Outbox(dsn, table=table, notify=notify, payloads=place)
    if action is Action.CREATE and show:
        print(box.definition, end="")
        return
    if action is Action.RELAY:
        logs.check(log_level, log_format)
        logs.set_up(log_level, log_format, None)
        Relay(box, poll=poll, endpoint_url=endpoint_url, region=region, profile=profile).run()
        return
    check_psycopg("leasekeeper outbox")
    import psycopg

    try:
        with psycopg.connect(dsn) as connection:
            _act(box, action, queue, connection)
    except psycopg.Error as error:
        raise trouble(f"outbox {box.table}", error, dsn, VARIABLE, box.creates) from error


def _act(box: Outbox, action: Action, queue: str | None, connection: Any) -> None:
    if action is Action.CREATE:
        there = exists(connection, box.table)
        connection.execute(box.definition.encode())
        print(f"{box.table} is there already" if there else f"created {box.table}")
    elif action is Action.RETRY:
        rows = connection.execute(box.statement(BRING_BACK), {"queue": queue}).rowcount
        tried = f"{counted(rows, 'row')} {'is' if rows == 1 else 'are'} tried again"
        aside = "" if rows else f": no row{f' for {printable(queue)}' if queue else ''} is set aside"
        print(tried + aside)
    else:
        _show(box, connection)


def _show(box: Outbox, connection: Any) -> None:
    queues: set[str] = set()
    for part in (FRESH, AGAIN, ASIDE):
        found = connection.execute(box.statement(QUEUES).replace("{part}", part)).fetchall()
        queues.update(name for (name,) in found)
    if not queues:
        print(f"{box.table} is empty")
        return
    rows = connection.execute(box.statement(STATISTICS), {"queues": sorted(queues)}).fetchall()
    lines = [("queue", "waiting", "scheduled", "set aside", "oldest")]
    lines += [
        (printable(name), _count(waiting), _count(later), _count(aside), f"{max(0.0, oldest or 0.0):,.1f} s")
        for name, waiting, later, aside, oldest in rows
    ]
    _print_table(lines)
    for number, name, group, attempts, age, aside, error in connection.execute(
        box.statement(TROUBLE), {"most": SHOWN}
    ).fetchall():
        whose = f"{number} for {name}" + (f", group {group}" if group else "")
        what = "set aside" if aside else f"waits for {age:,.0f} s"
        tries = f"{attempts:,} {'try' if attempts == 1 else 'tries'}"
        print(printable_lines(f"{what}: {whose}, {tries}: {error}"))


def _count(number: int) -> str:
    return f"{number:,}" if number < COUNTED else f"{COUNTED:,}+"


def _print_table(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *rest in lines:
        print("  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]))
