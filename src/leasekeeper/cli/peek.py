"""`leasekeeper peek`: look at messages without consuming them: receive them, show them, give them back at once.

Owned by the command line. Of a dead-letter queue it shows the causes, of another queue the messages. It promises to
give back what it received, and to say what the look cost.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from leasekeeper.api import BATCH
from leasekeeper.cli import interrupts
from leasekeeper.cli.causes import Cause, Causes, DeadLetter
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
from leasekeeper.cli.holding import PARALLEL, WAIT, Holding
from leasekeeper.cli.policy import RedrivePolicy, number
from leasekeeper.cli.words import counted, printable_lines
from leasekeeper.errors import SqsError
from leasekeeper.failure import FAILURE
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from leasekeeper.message import Received

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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for each cause or message.")
    ] = False,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Look at messages: receive them, show them, give them back at once. SQS counts each look as a receive."""
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    raise Stopped(interrupts.run(_peek(connection, count, causes=causes, as_json=as_json)))


async def _peek(connection: Connection, count: int | None, *, causes: bool | None, as_json: bool) -> Exit:
    from rich.console import Console

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
        dead_letters: whether it is a dead-letter queue.
        policy: its redrive policy.
    """

    waiting: int | None
    dead_letters: bool
    policy: RedrivePolicy | None


async def _facts_of(queue: OpenQueue) -> _Facts:
    try:
        attributes = await queue.client.queue_attributes(queue.url, ["RedrivePolicy", "ApproximateNumberOfMessages"])
    except SqsError:
        attributes = {}
    try:
        sources = await queue.client.list_dead_letter_sources(queue.url)
    except SqsError:
        sources = []
    return _Facts(
        waiting=number(attributes.get("ApproximateNumberOfMessages")),
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
        say(f"queue {name} has no visible message now")
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
        why = ": of a message group SQS shows at most ten, until these are gone" if holding.fifo else ": give --count"
        say(f"about {waiting - seen:,} more {verb} in {name}{why}")


def show_causes(causes: Sequence[Cause], console: Console) -> None:
    """Print the causes, the most frequent first: on a terminal two lines each, else one line that is never wrapped."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    width = max((len(f"{cause.count:,}") for cause in causes), default=0)
    for cause in causes:
        queues = ", ".join(
            printable(name) + (f" ({count:,})" if len(cause.queues) > 1 else "")
            for name, count in cause.queues.most_common()
        )
        facts = f"{queues}, {_when(cause)}"
        if console.is_terminal:
            table.add_row(Text(f"{cause.count:,}", style="bold"), Text(cause.title, style="yellow"))
            table.add_row("", Text(facts, style="dim"))
        else:
            console.print(Text(f"{cause.count:>{width},}  {cause.title}  ({facts})"), soft_wrap=True)
    if console.is_terminal:
        console.print(table)


def _when(cause: Cause) -> str:
    """The times of the first and the last, of the failures if they are known."""
    verb, span = ("failed", cause.failed) if cause.failed else ("sent", cause.sent)
    if span is None:
        return "at an unknown time"
    first, last = (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment)) for moment in span)
    if first == last:
        return f"{verb} {first} UTC"
    return f"{verb} {first} to {last[11:] if first[:10] == last[:10] else last} UTC"


def as_object(message: Received) -> dict[str, Any]:
    """The message as JSON shows it."""
    return {
        "id": message.message_id,
        "body": message.body,
        "attributes": {
            name: {
                "type": attribute.data_type,
                "value": base64.b64encode(attribute.value).decode()
                if isinstance(attribute.value, bytes)
                else attribute.value,
            }
            for name, attribute in message.attributes.items()
        },
        "system": message.system,
    }


def show(message: Received, console: Console) -> None:
    """Print a message: what others wrote is neither markup nor control characters."""
    from rich.text import Text

    system = message.system
    facts = [f"receive {system.get('ApproximateReceiveCount', '?')}"]
    facts += [f"sent {_ago(time.time() - message.sent_at)} ago"] if message.sent_at else []
    facts += [f"group {system['MessageGroupId']}"] if "MessageGroupId" in system else []
    header = Text.assemble((printable(message.message_id), "bold cyan"), ("  " + printable(", ".join(facts)), "dim"))
    console.print(header, soft_wrap=True)
    letter = DeadLetter.of(message)
    if origin := _origin(letter):
        console.print(Text(f"  {printable(origin)}", style="yellow"), soft_wrap=True)
    if letter.error or letter.text:
        what = ": ".join(filter(None, (letter.error, letter.text)))
        console.print(Text(f"  {printable(what)}", style="yellow"), soft_wrap=True)
    if letter.failure and letter.failure.trace:
        trace = printable_lines(letter.failure.trace).replace("\n", "\n    ")
        console.print(Text(f"    {trace}", style="dim"), soft_wrap=True)
    for name, attribute in message.attributes.items():
        if name != FAILURE:
            line = f"  {printable(name)} = {attribute.value!r} ({printable(attribute.data_type)})"
            console.print(Text(line, style="magenta"), soft_wrap=True)
    console.print(_body(message.body), soft_wrap=True)
    console.print()


def _origin(letter: DeadLetter) -> str:
    """Where a dead letter came from, in a few words; empty for a message that is none."""
    if letter.failure is None:
        return f"dead letter of {letter.queue}, moved by SQS" if letter.moved else ""
    failure = letter.failure
    where = f" by a consumer of {letter.queue}" if letter.queue else ""
    host = f" on {failure.host}" if failure.host else ""
    attempts = f" after {counted(failure.attempts, 'attempt')}" if failure.attempts else ""
    at = f" at {failure.at}" if failure.at else ""
    return f"{failure.reason or 'copied'}{where}{host}{attempts}{at}"


def _body(body: str) -> Any:
    """The body to print: JSON objects and arrays are indented, with every number and key as it was sent."""
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    if body.lstrip()[:1] in {"{", "["}:
        try:
            indented = msgspec.json.format(body, indent=2)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            pass  # no JSON, or nested too deep: shown as it is
        else:
            return JSONHighlighter()(Text(printable_lines(indented)))
    return Text(printable_lines(body))


def _ago(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
