"""`leasekeeper redrive`: move messages of a dead-letter queue back to where they came from, or elsewhere.

Owned by the command line; SQS does the moving (StartMessageMoveTask). It promises to say what goes where before it
starts, and that Ctrl-C leaves the task running and says how to stop it.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

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
from leasekeeper.errors import ConfigurationError, SqsError, Verdict
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from leasekeeper.sqs.codec import MoveTask

LOOK_EVERY = 0.5
RUNNING = ("RUNNING", "CANCELLING")
NO_SOURCE = "CouldNotDetermineMessageSource"
"""Why SQS gives up on messages that it did not move to the dead-letter queue itself."""


def redrive(
    queue: QueueArgument,
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="QUEUE", help="Where to; unset, where each message came from.")
    ] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", min=1, max=500, metavar="NUMBER", help="Messages a second, 1 to 500.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show the last tasks, and start none.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Stop the running task; what was moved stays moved.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show the progress until it is done.")] = True,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Move the messages of a dead-letter queue back. QUEUE is the dead-letter queue, or the queue it belongs to.

    Moved messages are new to SQS: their ids, their receive counts and their retention begin anew.
    """
    if status and cancel:
        raise ConfigurationError("--status and --cancel are given: give one of them")
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    raise Stopped(asyncio.run(_redrive(connection, to, rate, status=status, cancel=cancel, wait=wait)))


async def _redrive(
    connection: Connection, to: str | None, rate: int | None, *, status: bool, cancel: bool, wait: bool
) -> Exit:
    async with opened(connection) as given:
        dead, sources = await dead_letters_of(given)
        arn = (await dead.client.queue_attributes(dead.url, ["QueueArn"]))["QueueArn"]
        if status:
            return _tell_tasks(dead.name, await dead.client.list_message_move_tasks(arn))
        if cancel:
            return await _cancel(dead, arn)
        destination = await _arn_of(dead, to) if to else None
        waiting = int(
            (await dead.client.queue_attributes(dead.url, ["ApproximateNumberOfMessages"]))[
                "ApproximateNumberOfMessages"
            ]
        )
        if not waiting:
            print(f"{dead.name} is empty: there is nothing to move")
            return Exit.CLEAN
        where = to or ", ".join(sources) or "where they came from"
        print(f"moving about {waiting:,} messages of {dead.name} to {where}", flush=True)
        await dead.client.start_message_move_task(arn, destination_arn=destination, per_second=rate)
        if not wait:
            print(f"SQS moves on; look with: leasekeeper redrive {dead.name} --status")
            return Exit.CLEAN
        return await _watch(dead, arn, waiting)


async def dead_letters_of(given: OpenQueue) -> tuple[OpenQueue, list[str]]:
    """The dead-letter queue that is meant, and the names of the queues whose dead letters it takes.

    A queue that is nobody's dead-letter queue, but has one, stands for it.
    """
    try:
        sources = [QueueAddress.parse(url).name for url in await given.client.list_dead_letter_sources(given.url)]
    except SqsError as error:
        if error.verdict is not Verdict.DENIED:
            raise
        return given, []
    if sources:
        return given, sources
    policy = json.loads(
        (await given.client.queue_attributes(given.url, ["RedrivePolicy"])).get("RedrivePolicy") or "{}"
    )
    target = policy.get("deadLetterTargetArn")
    if not target:
        raise ConfigurationError(
            f"queue {given.name} is no dead-letter queue and has none: SQS moves messages only out of such queues. "
            "Give the dead-letter queue, or set a redrive policy (leasekeeper doctor shows how)"
        )
    address = QueueAddress.parse(target)
    url = await given.client.queue_url(address.name, account=address.account)
    return OpenQueue(client=given.client, address=address, url=url), [given.name]


async def _arn_of(beside: OpenQueue, reference: str) -> str:
    address = QueueAddress.parse(reference)
    url = address.url or await beside.client.queue_url(address.name, account=address.account)
    return (await beside.client.queue_attributes(url, ["QueueArn"]))["QueueArn"]


async def _cancel(dead: OpenQueue, arn: str) -> Exit:
    for task in await dead.client.list_message_move_tasks(arn):
        if task.status == "RUNNING" and task.task_handle:
            moved = await dead.client.cancel_message_move_task(task.task_handle)
            print(f"stopped; about {moved:,} messages had been moved, the others stay in {dead.name}")
            return Exit.CLEAN
    say(f"no task moves messages of {dead.name} now")
    return Exit.FAILED


def _tell_tasks(name: str, tasks: list[MoveTask]) -> Exit:
    if not tasks:
        print(f"no task has moved messages of {name} lately")
    for task in tasks:
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(task.started_timestamp / 1000))
        print(f"{began}  {said(task)}")
    return Exit.CLEAN


def said(task: MoveTask) -> str:
    """A task in a few words."""
    most = task.approximate_number_of_messages_to_move
    target = f" to {QueueAddress.parse(task.destination_arn).name}" if task.destination_arn else ""
    why = f": {task.failure_reason}" if task.failure_reason else ""
    whole = f" of about {most:,}" if most is not None else ""
    return f"{task.status.lower()}{target}, moved {task.approximate_number_of_messages_moved:,}{whole}{why}"


async def _watch(dead: OpenQueue, arn: str, waiting: int) -> Exit:
    """Show the progress of the newest task until it ends."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    columns = (TextColumn("moved"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
            shown = progress.add_task("moved", total=waiting)
            while (task := (await dead.client.list_message_move_tasks(arn))[0]).status in RUNNING:
                progress.update(shown, completed=task.approximate_number_of_messages_moved)
                await asyncio.sleep(LOOK_EVERY)
    except asyncio.CancelledError:
        say(f"SQS moves on without us; stop it with: leasekeeper redrive {dead.name} --cancel")
        raise
    print(said(task))
    if task.failure_reason == NO_SOURCE:
        say(
            f"SQS knows where a message came from only if it moved it to {dead.name} itself, not of copies of rejected "
            "messages: say where to, with --to QUEUE"
        )
    return Exit.CLEAN if task.status == "COMPLETED" else Exit.FAILED
