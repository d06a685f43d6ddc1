"""`leasekeeper redrive` of chosen messages: run the copying, show how far it is, and say what it did.

Owned by `leasekeeper redrive`. It promises that Ctrl-C and SIGTERM end it after the messages that are being sent, with
a sentence of what was moved.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from leasekeeper.cli.connection import with_advice
from leasekeeper.cli.errors import say
from leasekeeper.cli.interrupts import finished
from leasekeeper.cli.redrive.copying import Copying, CopyPlan
from leasekeeper.cli.redrive.dead_letter_queue import DeadLetterQueue, OneTarget, ToSources
from leasekeeper.cli.showing import show_causes
from leasekeeper.cli.words import counted
from leasekeeper.exit_codes import Exit
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from leasekeeper.cli.connection import Connection
    from leasekeeper.cli.redrive.copying import Destination

SHOWN = 5
"""Refused messages that are reported one by one."""


async def send_chosen(
    connection: Connection, dead: DeadLetterQueue, target: Destination | None, plan: CopyPlan, waiting: int
) -> Exit:
    """Send the messages that are chosen to the target, or each to its own queue."""
    from rich.console import Console

    console = Console(highlight=False)
    copying = Copying(dead.queue.client, dead.queue.url, OneTarget(target) if target else ToSources(dead), plan)
    with console.status("looking") if console.is_terminal else contextlib.nullcontext() as status:
        if status is not None:
            copying.progress = lambda: status.update(
                f"moved {copying.moved.total():,}, looked at {copying.holding.seen:,} of about {waiting:,}"
            )
        interrupted = await finished(copying.run(), copying.stop)  # what is being sent then is deleted too
    if plan.dry_run:
        show_causes(copying.causes.sorted(), console)
    print(_summary(dead.name, copying, plan))
    code = report(connection, dead, copying)
    if interrupted:
        say(f"interrupted: the others are still in {dead.name}, the same command continues")
        return Exit.INTERRUPTED
    return code


def _summary(name: str, copying: Copying, plan: CopyPlan) -> str:
    """What was moved, in one line."""
    verb, moved = "would move" if plan.dry_run else "moved", copying.moved
    total = counted(moved.total(), "message")
    where = f" to {next(iter(moved))}" if len(moved) == 1 else ""
    if len(moved) > 1:
        where = ": " + ", ".join(f"{count:,} to {queue}" for queue, count in moved.most_common())
    return printable(f"{verb} {total} from {name}{where} ({copying.holding.seen:,} looked at)")


def report(connection: Connection, dead: DeadLetterQueue, copying: Copying) -> Exit:
    """Say what did not go well; the exit code."""
    if copying.behind:
        say(
            f"about {counted(copying.behind, 'message')} {_was(copying.behind)} not looked at: there are others before "
            "them in their message groups, and SQS shows no more of a group while these are held"
            f"{'. Messages that came back can be among them' if copying.returned else ''}"
        )
    if copying.strays:
        stay, they_name = ("stays", "it names") if len(copying.strays) == 1 else ("stay", "they name")
        names = Counter(name or "no queue" for name in copying.strays.values())
        named = ", ".join(f"{name}: {count:,}" for name, count in names.most_common(SHOWN))
        say(
            f"{counted(len(copying.strays), 'message')} {stay} in {dead.name}: {they_name} no queue that has it as its "
            f"dead-letter queue ({named}). Say where they go:",
            connection.command("redrive", dead.name, "--copy", "--to", "QUEUE"),
        )
    if copying.returned:
        say(
            f"{counted(len(copying.returned), 'message')} failed again and came back while this ran: looked at "
            f"twice, moved once, and still in {dead.name}"
        )
    for message_id, why in list(copying.refused.items())[:SHOWN]:
        say(f"message {message_id} was not sent: {why}")
    if copying.refused:
        say(f"{counted(len(copying.refused), 'message')} {_was(len(copying.refused))} not sent: still in {dead.name}")
    if copying.not_deleted:
        say(
            f"{counted(copying.not_deleted, 'message')} {_was(copying.not_deleted)} sent but could not be deleted: "
            f"still in {dead.name}, and the same command may send them again"
        )
    if copying.failure is not None:
        say(f"ended early: {with_advice(copying.failure)}. The same command continues")
    failed = copying.strays or copying.refused or copying.not_deleted or copying.failure
    if copying.holding.seen and not (copying.moved or copying.behind or copying.returned or failed):
        say("no message matches. To see the causes:", connection.command("peek", dead.name))
    return Exit.FAILED if failed else Exit.CLEAN


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
