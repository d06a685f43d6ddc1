"""`leasekeeper peek`: look at messages without consuming them: receive them, show them, give them back at once.

Owned by the command line. Of a dead-letter queue it shows the causes, of another queue the messages. It promises to
give back what it received, and to say what the look cost.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.api import BATCH
from leasekeeper.cli import interrupts
from leasekeeper.cli.causes import Cause, Causes
from leasekeeper.cli.connection import (
    Connection,
    EndpointOption,
    OpenQueue,
    ProfileOption,
    QueueArgument,
    RegionOption,
    opened,
)
from leasekeeper.cli.errors import Stopped, say
from leasekeeper.cli.holding import PARALLEL, WAIT, Holding
from leasekeeper.cli.redrive_policy import RedrivePolicy, number
from leasekeeper.cli.showing import as_object, show, show_causes
from leasekeeper.cli.words import counted
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.message import Received

VISIBLE, IN_FLIGHT, DELAYED = (f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed"))
"""The attributes that count a queue's messages."""
HIDDEN = 20
"""Seconds that the messages stay hidden if they cannot be given back."""
LOOKING = 10.0
"""Seconds after which no more are received: the first must be given back before they become visible again."""
MESSAGES, CAUSES = 10, 1_000
"""The most messages that are shown one by one, and that are put in groups, by default."""


def peek(
    queue: QueueArgument,
    *,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", "-n", min=1, metavar="NUMBER", help="The most messages to look at: 10, or 1,000 for causes."
        ),
    ] = None,
    causes: Annotated[
        bool | None,
        typer.Option(
            "--causes/--messages",
            help="Show groups of one cause, or the messages; unset: causes for a dead-letter queue.",
        ),
    ] = None,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Look at the queue that its redrive policy names, in place of it.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for each cause or message.")
    ] = False,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Look at messages: receive them, show them, give them back at once. SQS counts each look as a receive."""
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    raise Stopped(interrupts.run(_peek(connection, count, dead_letters, causes=causes, as_json=as_json)))


async def _of_dead_letters(connection: Connection) -> Connection:
    """The connection to the dead-letter queue of a queue."""
    async with opened(connection) as queue:
        policy = RedrivePolicy.read(await queue.client.queue_attributes(queue.url, ["RedrivePolicy"]))
    if policy is None:
        raise ConfigurationError(
            f"queue {queue.name} has no redrive policy that names a dead-letter queue. Give the name of the queue that "
            f"has the dead letters: leasekeeper peek QUEUE"
        )
    return replace(connection, queue=policy.name)


async def _peek(
    connection: Connection, count: int | None, dead_letters: bool, *, causes: bool | None, as_json: bool
) -> Exit:
    from rich.console import Console

    if dead_letters:
        connection = await _of_dead_letters(connection)
    console, groups = Console(highlight=False), Causes()
    messages: list[Received] = []
    async with opened(connection) as queue:
        facts = await _facts_of(queue)
        by_cause = facts.dead_letters if causes is None else causes
        most = count or (CAUSES if by_cause else MESSAGES)
        holding, stop = Holding(queue.client, queue.url, HIDDEN), asyncio.Event()
        note = groups.add if by_cause else messages.append
        try:
            interrupted = await interrupts.finished(
                look(holding, most, note, waiting=facts.waiting, stop=stop), stop.set
            )
        finally:
            given_back = await holding.give_back()
    found = groups.sorted()
    if as_json:
        for shown in found or messages:
            print(json.dumps(shown.as_object() if isinstance(shown, Cause) else as_object(shown)))
    elif by_cause:
        show_causes(found, console)
    else:
        for message in messages:
            show(message, console)
    _say_cost(queue.name, holding, facts, given_back)
    if interrupted:
        say("interrupted: there may be more")
        return Exit.INTERRUPTED
    if by_cause and found:
        where = [word for value in found[0].where for word in ("--where", value)]
        say(
            "to move those of the first cause back, look at first what would be moved:",
            connection.command("redrive", queue.name, *where, "--dry-run"),
        )
    return Exit.CLEAN


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What is known of the queue without a receive; often some of it is denied.

    Attributes:
        waiting: visible messages, about; None when unknown.
        in_flight: messages that some consumer holds, about; 0 also when unknown.
        delayed: messages that are not yet visible, about; 0 also when unknown.
        dead_letters: whether it is a dead-letter queue.
        policy: its redrive policy.
    """

    waiting: int | None
    in_flight: int
    delayed: int
    dead_letters: bool
    policy: RedrivePolicy | None


async def _facts_of(queue: OpenQueue) -> _Facts:
    try:
        attributes = await queue.client.queue_attributes(queue.url, ["RedrivePolicy", VISIBLE, IN_FLIGHT, DELAYED])
    except SqsError:
        attributes = {}
    try:
        sources = await queue.client.list_dead_letter_sources(queue.url)
    except SqsError:
        sources = []
    return _Facts(
        waiting=number(attributes.get(VISIBLE)),
        in_flight=number(attributes.get(IN_FLIGHT)) or 0,
        delayed=number(attributes.get(DELAYED)) or 0,
        dead_letters=bool(sources),
        policy=RedrivePolicy.read(attributes),
    )


async def look(
    holding: Holding,
    most: int,
    note: Callable[[Received], None],
    *,
    waiting: int | None,
    stop: asyncio.Event | None = None,
) -> None:
    """Receive messages and note them, until there are that many, no more come, or the first were hidden for long.

    Args:
        holding: receives and holds them.
        most: how many to look at.
        note: called with each.
        waiting: how many the queue says that it has. When all of them are seen, no receive waits for more.
        stop: no receive begins after it is set.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    until, left = loop.time() + LOOKING, most
    batches = (min(most, waiting or 1) + BATCH - 1) // BATCH

    async def work() -> None:
        nonlocal left
        while left > 0 and loop.time() < until and not stop.is_set():
            wanted = min(BATCH, left)
            left -= wanted
            messages = await holding.receive(wanted, 0 if holding.seen >= (waiting or most) else WAIT)
            if messages is None:
                left = 0
                return
            left += wanted - len(messages)
            for message in messages:
                note(message)

    ends = await asyncio.gather(*(work() for _ in range(max(1, min(PARALLEL, batches)))), return_exceptions=True)
    for end in ends:
        if end is not None:
            raise end


def _say_cost(name: str, holding: Holding, facts: _Facts, given_back: int) -> None:
    """Say what the look cost, and what it did not show."""
    seen, waiting = holding.seen, facts.waiting or 0
    if not seen:
        say(f"queue {name} has no visible message now{_hidden(facts)}")
        return
    limit = ""
    if facts.policy is not None and facts.policy.max_receives:
        limit = f"; after {counted(facts.policy.max_receives, 'receive')} SQS moves a message to {facts.policy.name}"
    say(
        f"{counted(seen, 'message')} received and {given_back:,} given back, hidden for at most "
        f"{holding.hidden:.1f} s, in {counted(holding.calls, 'call')}. Each look is a receive{limit}"
    )
    if given_back < seen:
        say(f"the others are visible again after {HIDDEN} s")
    if seen < waiting:
        verb = "is" if waiting - seen == 1 else "are"
        why = ": SQS shows no more of a message group while others of it are held" if holding.fifo else ": give --count"
        say(f"about {waiting - seen:,} more {verb} in {name}{why}")
    if hidden := _hidden(facts):
        say(f"not shown{hidden}")


def _hidden(facts: _Facts) -> str:
    """The messages that no look can show: `: about 2 messages in flight, received by a consumer`."""
    parts = [
        f"about {counted(facts.in_flight, 'message')} in flight, received by a consumer" if facts.in_flight else "",
        f"about {counted(facts.delayed, 'message')} delayed" if facts.delayed else "",
    ]
    return ": " + "; ".join(filter(None, parts)) if any(parts) else ""
