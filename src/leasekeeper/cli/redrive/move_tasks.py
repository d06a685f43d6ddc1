"""SQS's own move of dead letters: start a task, watch it, stop it, and say what it did.

Owned by `leasekeeper redrive`. It promises that Ctrl-C leaves the task running and says how to stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from leasekeeper.cli.errors import say
from leasekeeper.cli.redrive_policy import name_in
from leasekeeper.cli.words import counted
from leasekeeper.errors import LeasekeeperError
from leasekeeper.exit_codes import Exit
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from leasekeeper.cli.connection import Connection
    from leasekeeper.cli.redrive.dead_letter_queue import DeadLetterQueue
    from leasekeeper.sqs.codec import MoveTask

LOOK_EVERY = 0.5
"""Seconds between two looks at a task."""
LISTED_WITHIN = 10
"""Looks within which SQS must list a task that it has started."""
RUNNING = ("RUNNING", "CANCELLING")
NO_SOURCE = "CouldNotDetermineMessageSource"
"""The reason of SQS when it did not move a message to the dead-letter queue itself."""


async def cancel(dead: DeadLetterQueue) -> Exit:
    """Stop the running task."""
    client = dead.queue.client
    for task in await client.list_message_move_tasks(dead.arn):
        if task.status == "RUNNING" and task.task_handle:
            moved = await client.cancel_message_move_task(task.task_handle)
            print(f"stopped: about {counted(moved, 'message')} moved, the others stay in {dead.name}")
            return Exit.CLEAN
    say(f"no task is moving messages of {dead.name} now")
    return Exit.FAILED


async def print_tasks(dead: DeadLetterQueue) -> Exit:
    """Show the last tasks, the newest first."""
    tasks = await dead.queue.client.list_message_move_tasks(dead.arn)
    if not tasks:
        print(f"no task has moved messages of {dead.name} lately")
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


async def watch(connection: Connection, dead: DeadLetterQueue, waiting: int) -> MoveTask:
    """Show the progress of the newest task until it ends; the task as it ended."""
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
    return task


async def _newest(dead: DeadLetterQueue) -> MoveTask | None:
    tasks = await dead.queue.client.list_message_move_tasks(dead.arn)
    return tasks[0] if tasks else None
