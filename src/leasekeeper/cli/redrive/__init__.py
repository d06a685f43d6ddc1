"""`leasekeeper redrive`: move messages of a dead-letter queue back to where they came from, or to another queue.

Owned by the command line. SQS moves all of them (`move_tasks.py`), or we send those that are chosen (`chosen.py`). It
promises to say what goes where before it starts, and to start nothing that SQS would leave half done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from leasekeeper.cli import interrupts
from leasekeeper.cli.causes import DeadLetter
from leasekeeper.cli.connection import (
    Connection,
    EndpointOption,
    ProfileOption,
    QueueArgument,
    RegionOption,
    opened,
)
from leasekeeper.cli.errors import Stopped, say
from leasekeeper.cli.holding import Holding
from leasekeeper.cli.redrive import move_tasks
from leasekeeper.cli.redrive.chosen import send_chosen
from leasekeeper.cli.redrive.copying import CopyPlan, Destination
from leasekeeper.cli.redrive.dead_letter_queue import DeadLetterQueue, arn_of, dead_letter_queue_of, target_at
from leasekeeper.cli.redrive.filters import Filters
from leasekeeper.cli.redrive_policy import number
from leasekeeper.cli.words import counted, listed
from leasekeeper.errors import ConfigurationError, SqsError, Verdict
from leasekeeper.exit_codes import Exit

LOOKED_AT = 20
"""Seconds that the messages of a first look stay hidden if they cannot be given back."""
FILTERS = "Which messages"


ToOption = Annotated[
    str | None, typer.Option("--to", metavar="QUEUE", help="Move to this queue; unset, back to the source.")
]
RateOption = Annotated[int | None, typer.Option(min=1, max=500, metavar="NUMBER", help="Messages a second, 1 to 500.")]
CopyOption = Annotated[
    bool | None,
    typer.Option(
        "--copy/--task",
        help="Send messages one by one, or let a task of SQS move all; unset: a task, or copies when you choose "
        "messages.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be moved, and move nothing.")]
StatusOption = Annotated[bool, typer.Option("--status", help="Show the last tasks and start none.")]
CancelOption = Annotated[bool, typer.Option("--cancel", help="Stop the running task; what was moved stays moved.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Show the progress until the end.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Only messages with this error, message, reason, queue or attribute.NAME; * stands for any text. May be "
        "repeated: of several values of one key one must match.",
        rich_help_panel=FILTERS,
    ),
]
SentAfterOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only messages first sent since then: 2026-11-28T09:00 (UTC), or a time ago, e.g. 90min, 2h, 3d.",
        rich_help_panel=FILTERS,
    ),
]
SentBeforeOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only messages first sent before then.", rich_help_panel=FILTERS)
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, metavar="NUMBER", help="At most so many messages.", rich_help_panel=FILTERS)
]


def redrive(
    queue: QueueArgument,
    *,
    to: ToOption = None,
    where: WhereOption = None,
    sent_after: SentAfterOption = None,
    sent_before: SentBeforeOption = None,
    limit: LimitOption = None,
    rate: RateOption = None,
    copy: CopyOption = None,
    dry_run: DryRunOption = False,
    status: StatusOption = False,
    cancel: CancelOption = False,
    wait: WaitOption = True,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Move the messages of a dead-letter queue back. QUEUE is the dead-letter queue, or the queue it belongs to.

    To SQS a moved message is new: it has a new id, a receive count of 0 and its full retention.
    """
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    plan = CopyPlan(filters=Filters.read(where or (), sent_after, sent_before), limit=limit, rate=rate, dry_run=dry_run)
    wish = Wish(to=to, plan=plan, copy=copy, status=status, cancel=cancel, wait=wait)
    wish.check()
    raise Stopped(interrupts.run(_redrive(connection, wish)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line asks for."""

    to: str | None
    plan: CopyPlan
    copy: bool | None
    status: bool
    cancel: bool
    wait: bool

    @property
    def copies(self) -> bool:
        """Whether we send the messages: only so they can be chosen."""
        return self.copy or bool(self.plan.filters) or self.plan.limit is not None

    def check(self) -> None:
        """Refuse flags that contradict each other; raises `ConfigurationError`."""
        if self.status and self.cancel:
            raise ConfigurationError("--status and --cancel are both given: give one of them")
        if self.copies and (self.status or self.cancel):
            raise ConfigurationError("--status and --cancel are about tasks of SQS: give them without other choices")
        if self.copies and self.copy is False:
            raise ConfigurationError(
                "--task moves all messages: SQS cannot choose. Leave --task out, or --where, --sent-after, "
                "--sent-before and --limit"
            )
        if self.copies and not self.wait:
            raise ConfigurationError("--no-wait is for tasks of SQS: messages that are chosen are sent from here")


async def _redrive(connection: Connection, wish: Wish) -> Exit:
    async with opened(connection) as given:
        dead = await dead_letter_queue_of(given, any_queue=wish.copies and wish.to is not None)
        if wish.status:
            return await move_tasks.print_tasks(dead)
        if wish.cancel:
            return await move_tasks.cancel(dead)
        attributes = await dead.queue.client.queue_attributes(
            dead.queue.url, ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )
        waiting = number(attributes.get("ApproximateNumberOfMessages")) or 0
        hidden = number(attributes.get("ApproximateNumberOfMessagesNotVisible")) or 0
        target = await target_at(dead, wish.to) if wish.to else None
        if not waiting:
            print(f"{dead.name} is empty: there is nothing to move")
            _say_hidden(dead.name, hidden)
            return Exit.CLEAN
        if wish.copies:
            code = await send_chosen(connection, dead, target, wish.plan, waiting)
            _say_hidden(dead.name, hidden)
            return code
        return await _start_task(connection, dead, target, wish, waiting)


def _say_hidden(name: str, hidden: int) -> None:
    if hidden:
        say(
            f"about {counted(hidden, 'message')} of {name} were hidden at the start, held by a consumer or by a "
            "redrive that was killed: run the command again when they are visible, for a redrive in a minute"
        )


async def _start_task(
    connection: Connection, dead: DeadLetterQueue, target: Destination | None, wish: Wish, waiting: int
) -> Exit:
    """Let SQS move all messages."""
    client = dead.queue.client
    target = target or await _only_target(connection, dead, by_sqs=wish.copy is False)
    destination = await arn_of(client, target) if target else None
    where = target.name if target else "where they came from"
    if wish.plan.dry_run:
        print(f"would move about {counted(waiting, 'message')} from {dead.name} to {where}")
        return Exit.CLEAN
    print(f"moving about {counted(waiting, 'message')} from {dead.name} to {where}", flush=True)
    await client.start_message_move_task(dead.arn, destination_arn=destination, per_second=wish.plan.rate)
    if not wish.wait:
        print(f"SQS is moving them. See how far it is:\n  {connection.command('redrive', dead.name, '--status')}")
        return Exit.CLEAN
    task = await move_tasks.watch(connection, dead, waiting)
    if task.failure_reason == move_tasks.NO_SOURCE:
        say(
            "SQS stopped at a message that it did not move there itself, such as one that a consumer sent: it does not "
            "know where it came from. The others are still there. Send each to the queue that it names, or all to one:",
            connection.command("redrive", dead.name, "--copy"),
            connection.command("redrive", dead.name, "--to", next(iter(dead.sources), "QUEUE")),
        )
    return Exit.CLEAN if task.status == "COMPLETED" else Exit.FAILED


async def _only_target(connection: Connection, dead: DeadLetterQueue, *, by_sqs: bool) -> Destination | None:
    """The one queue that a task moves all to; None: each message goes where SQS took it from, as `--task` asks.

    SQS does not know where a copy came from, which a consumer sent: without a destination its task stops half-way. So
    a dead-letter queue that serves one queue always gets that as the destination.

    Raises:
        Stopped: nothing says where to; the choices have been printed.
    """
    only = dead.only_source
    if only is None:
        if by_sqs:
            return None
        _say_choices(connection, dead)
        raise Stopped(Exit.USAGE)
    others = await other_queues(dead, only.name)
    if others:
        say(
            f"{dead.name} is the dead-letter queue of {only.name} only, but also holds messages of "
            f"{listed(others)}. Nothing was moved. Move those of {only.name}, those of the other queue, or all:",
            connection.command("redrive", dead.name, "--where", f"queue={only.name}"),
            *(connection.command("redrive", dead.name, "--where", f"queue={name}", "--to", name) for name in others),
            connection.command("redrive", dead.name, "--to", only.name),
        )
        raise Stopped(Exit.USAGE)
    return only


async def other_queues(dead: DeadLetterQueue, name: str) -> list[str]:
    """The names of other queues in the first messages."""
    holding = Holding(dead.queue.client, dead.queue.url, LOOKED_AT)
    try:
        messages = await holding.receive()
    except SqsError as error:
        if error.verdict is not Verdict.DENIED:  # then the task will say what is denied
            raise
        return []
    finally:
        await holding.give_back()
    return sorted({DeadLetter.of(message).queue for message in messages or ()} - {"", name})


def _say_choices(connection: Connection, dead: DeadLetterQueue) -> None:
    names = sorted(dead.sources)
    if not names:
        say(
            f"nothing was moved: the queues that {dead.name} serves are not known, because "
            "sqs:ListDeadLetterSourceQueues is not allowed. Say where all messages go, or let SQS find it out, which "
            "stops at a message that a consumer sent there:",
            connection.command("redrive", dead.name, "--to", "QUEUE"),
            connection.command("redrive", dead.name, "--task"),
        )
        return
    say(
        f"nothing was moved: {dead.name} is the dead-letter queue of {listed(names)}, and SQS stops half-way at "
        f"a message that a consumer sent there ({move_tasks.NO_SOURCE}). Send each message to its own queue, those of "
        "one queue only, or move all to one queue:",
        connection.command("redrive", dead.name, "--copy"),
        *(connection.command("redrive", dead.name, "--where", f"queue={name}") for name in names),
        *(connection.command("redrive", dead.name, "--to", name) for name in names[:1]),
    )
