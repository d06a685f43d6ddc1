"""`leasekeeper redrive`: move messages of a dead-letter queue back to where they came from, or to another queue.

Owned by the command line; SQS moves them (StartMessageMoveTask). It promises to say what goes where before it starts,
and that Ctrl-C leaves the task running and says how to stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.api import BATCH
from leasekeeper.cli.connection import (
    Connection,
    EndpointOption,
    OpenQueue,
    ProfileOption,
    QueueArgument,
    RegionOption,
    opened,
)
from leasekeeper.cli.errors import Exit, Stopped, say
from leasekeeper.cli.origins import destinations
from leasekeeper.cli.peek import HIDDEN, WAIT, give_back
from leasekeeper.cli.policy import RedrivePolicy, account_in, name_in, number
from leasekeeper.cli.words import counted
from leasekeeper.errors import ConfigurationError, LeasekeeperError, SqsError, Verdict
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from leasekeeper.message import Received
    from leasekeeper.sqs.codec import MoveTask

LOOK_EVERY = 0.5
"""Seconds between two looks at a task."""
LISTED_WITHIN = 10
"""Looks within which SQS must list a task that it has started."""
RUNNING = ("RUNNING", "CANCELLING")
NO_SOURCE = "CouldNotDetermineMessageSource"
"""The reason of SQS when it did not move a message to the dead-letter queue itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """A dead-letter queue.

    Attributes:
        queue: the queue.
        arn: its ARN.
        sources: the names of the queues that have it as their dead-letter queue; empty when this may not be read.
    """

    queue: OpenQueue
    arn: str
    sources: tuple[str, ...]

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.queue.name


def redrive(
    queue: QueueArgument,
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="QUEUE", help="Move all to this queue; unset, back to the source.")
    ] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", min=1, max=500, metavar="NUMBER", help="Messages a second, 1 to 500.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show the last tasks and start none.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Stop the running task; what was moved stays moved.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show the progress until the end.")] = True,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Move the messages of a dead-letter queue back. QUEUE is the dead-letter queue, or the queue it belongs to.

    To SQS a moved message is new: it has a new id, a receive count of 0 and its full retention.
    """
    if status and cancel:
        raise ConfigurationError("--status and --cancel are both given: give one of them")
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    raise Stopped(asyncio.run(_redrive(connection, to, rate, status=status, cancel=cancel, wait=wait)))


async def _redrive(
    connection: Connection, to: str | None, rate: int | None, *, status: bool, cancel: bool, wait: bool
) -> Exit:
    async with opened(connection) as given:
        dead = await dead_letters_of(given)
        if status:
            return _print_tasks(dead.name, await given.client.list_message_move_tasks(dead.arn))
        if cancel:
            return await _cancel(dead)
        attributes = await given.client.queue_attributes(dead.queue.url, ["ApproximateNumberOfMessages"])
        waiting = number(attributes.get("ApproximateNumberOfMessages")) or 0
        if not waiting:
            print(f"{dead.name} is empty: there is nothing to move")
            return Exit.CLEAN
        destination = await _arn_of(dead, to) if to else await _destination(connection, dead)
        where = name_in(destination) if destination else " and ".join(dead.sources) or "where they came from"
        print(f"moving about {counted(waiting, 'message')} from {dead.name} to {where}", flush=True)
        await given.client.start_message_move_task(dead.arn, destination_arn=destination, per_second=rate)
        if not wait:
            print(f"SQS is moving them. See how far it is:\n  {connection.command('redrive', dead.name, '--status')}")
            return Exit.CLEAN
        return await _watch(connection, dead, waiting)


async def dead_letters_of(given: OpenQueue) -> DeadLetters:
    """The dead-letter queue that is meant: the given queue, or the one in its redrive policy."""
    client = given.client
    attributes = await client.queue_attributes(given.url, ["QueueArn", "RedrivePolicy"])
    sources = await _sources(given)
    if sources or sources is None:
        return DeadLetters(queue=given, arn=attributes["QueueArn"], sources=sources or ())
    policy = RedrivePolicy.read(attributes)
    if policy is None:
        raise ConfigurationError(
            f"queue {given.name} is not a dead-letter queue and has none. SQS moves messages only out of dead-letter "
            "queues: give one, or set a redrive policy (leasekeeper doctor shows how)"
        )
    url = await client.queue_url(policy.name, account=account_in(policy.target))
    queue = OpenQueue(client=client, address=QueueAddress(name=policy.name), url=url)
    return DeadLetters(queue=queue, arn=policy.target, sources=await _sources(queue) or ())


async def _sources(queue: OpenQueue) -> tuple[str, ...] | None:
    """The names of the queues that have it as their dead-letter queue; None when this may not be read."""
    try:
        return tuple(map(name_in, await queue.client.list_dead_letter_sources(queue.url)))
    except SqsError as error:
        if error.verdict is not Verdict.DENIED:
            raise
        return None


async def _arn_of(dead: DeadLetters, reference: str) -> str:
    client, address = dead.queue.client, QueueAddress.parse(reference)
    url = address.url or await client.queue_url(address.name, account=address.account)
    return (await client.queue_attributes(url, ["QueueArn"]))["QueueArn"]


async def _destination(connection: Connection, dead: DeadLetters) -> str | None:
    """The ARN to move to; None when SQS knows it of each message, because SQS moved it here.

    SQS does not know it of a copy, which a consumer sends when a handler rejects a message: its task stops at the
    first copy. So look at some messages first.
    """
    messages: list[Received] = []
    try:
        messages = await dead.queue.client.receive(dead.queue.url, maximum=BATCH, wait=WAIT, visibility=HIDDEN)
    except SqsError as error:
        if error.verdict is not Verdict.DENIED:  # then the task will say what is denied
            raise
    finally:
        await give_back(dead.queue, messages)
    names = destinations(messages, dead.sources)
    if names is None:
        return None
    if len(names) == 1:
        return dead.arn.rpartition(":")[0] + ":" + names.pop()
    _say_where(connection, dead, names)
    raise Stopped(Exit.USAGE)


def _say_where(connection: Connection, dead: DeadLetters, names: Collection[str]) -> None:
    say(
        f"{dead.name} holds messages that SQS did not move there, such as copies of rejected messages. SQS does not "
        "know where they came from. Say where all messages go:",
        *(connection.command("redrive", dead.name, "--to", name) for name in sorted(names) or ["QUEUE"]),
    )


async def _cancel(dead: DeadLetters) -> Exit:
    client = dead.queue.client
    for task in await client.list_message_move_tasks(dead.arn):
        if task.status == "RUNNING" and task.task_handle:
            moved = await client.cancel_message_move_task(task.task_handle)
            print(f"stopped: about {counted(moved, 'message')} moved, the others stay in {dead.name}")
            return Exit.CLEAN
    say(f"no task is moving messages of {dead.name} now")
    return Exit.FAILED


def _print_tasks(name: str, tasks: list[MoveTask]) -> Exit:
    if not tasks:
        print(f"no task has moved messages of {name} lately")
    for task in tasks:
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(task.started_timestamp / 1000))
        print(f"{began}  {described(task)}")
    return Exit.CLEAN


def described(task: MoveTask) -> str:
    """A task in a few words."""
    most = task.approximate_number_of_messages_to_move
    target = f" to {name_in(task.destination_arn)}" if task.destination_arn else ""
    why = f": {task.failure_reason}" if task.failure_reason else ""
    whole = f" of about {most:,}" if most is not None else ""
    return printable(f"{task.status.lower()}{target}, moved {task.approximate_number_of_messages_moved:,}{whole}{why}")


async def _watch(connection: Connection, dead: DeadLetters, waiting: int) -> Exit:
    """Show the progress of the newest task until it ends."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console()
    columns = (TextColumn("moved"), BarColumn(bar_width=None), MofNCompleteColumn())
    try:
        progress = Progress(*columns, console=console, transient=True)
        shown = progress.add_task("moved", total=waiting)
        looks = 0
        # Before Rich 14.3 a progress that is disabled prints an empty line.
        with progress if console.is_terminal else contextlib.nullcontext():
            while (task := await _newest(dead)) is None or task.status in RUNNING:
                looks += 1
                if task is not None:
                    progress.update(shown, completed=task.approximate_number_of_messages_moved)
                elif looks == LISTED_WITHIN:
                    raise LeasekeeperError(f"SQS took the task but does not list it; see what is in {dead.name}")
                await asyncio.sleep(LOOK_EVERY)
    except asyncio.CancelledError:
        say("SQS continues the move. Stop it:", connection.command("redrive", dead.name, "--cancel"))
        raise
    print(described(task))
    if task.failure_reason == NO_SOURCE:
        _say_where(connection, dead, dead.sources)
    return Exit.CLEAN if task.status == "COMPLETED" else Exit.FAILED


async def _newest(dead: DeadLetters) -> MoveTask | None:
    tasks = await dead.queue.client.list_message_move_tasks(dead.arn)
    return tasks[0] if tasks else None
