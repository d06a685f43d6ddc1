"""`leasekeeper peek`: look at messages without consuming them: receive them, show them, give them back at once.

Owned by the command line. It promises to give back what it received, and to say that a look counts as a receive.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
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
from leasekeeper.cli.origins import REASON, RECEIVE_COUNT, SOURCE, Origin
from leasekeeper.cli.policy import RedrivePolicy
from leasekeeper.cli.words import counted, printable_lines
from leasekeeper.errors import SqsError
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from leasekeeper.message import Received

HIDDEN = 20
"""Seconds that the messages stay hidden if they cannot be given back."""
LOOKING = 10.0
"""Seconds after which no more are received: the first must be given back before they become visible again."""
WAIT = 1
"""Seconds that a receive waits: a long poll asks all of SQS's servers, a short poll only some."""


def peek(
    queue: QueueArgument,
    *,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="NUMBER", help="The most messages to show.")
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each message.")] = False,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Look at messages: receive them, show them, give them back at once. SQS counts each look as a receive."""
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    raise Stopped(asyncio.run(_peek(connection, count, as_json=as_json)))


async def _peek(connection: Connection, count: int, *, as_json: bool) -> Exit:
    from rich.console import Console

    async with opened(connection) as queue:
        messages: list[Received] = []
        try:
            await look(queue, count, messages)
        finally:
            given_back = await give_back(queue, messages)
        policy = await _redrive_policy(queue)
    console = Console(highlight=False)
    for message in messages:
        if as_json:
            print(json.dumps(as_object(message)))
        else:
            show(message, console)
    if not messages:
        say(f"queue {queue.name} has no visible message now")
        return Exit.CLEAN
    most = policy.max_receives if policy else None
    limit = f": after {counted(most, 'receive')} SQS moves a message to {policy.name}" if policy and most else ""
    say(f"{counted(len(messages), 'message')} received and {given_back} given back. Each look is a receive{limit}")
    if given_back < len(messages):
        say(f"the others are visible again after {HIDDEN} s")
    return Exit.CLEAN


async def look(queue: OpenQueue, count: int, messages: list[Received]) -> None:
    """Receive into the list until it holds that many, or no more come."""
    until = time.monotonic() + LOOKING
    while len(messages) < count and time.monotonic() < until:
        more = await queue.client.receive(
            queue.url, maximum=min(BATCH, count - len(messages)), wait=WAIT, visibility=HIDDEN
        )
        if not more:
            return
        messages += more


async def give_back(queue: OpenQueue, messages: Sequence[Received]) -> int:
    """Make the messages visible again and count them. The last goes first, which keeps the order of a FIFO queue."""
    given_back, receipts = 0, [(message.receipt, 0) for message in reversed(messages)]
    for start in range(0, len(receipts), BATCH):
        batch = receipts[start : start + BATCH]
        try:
            answers = await queue.client.change_visibility_batch(queue.url, batch)
        except SqsError as error:
            say(f"messages could not be given back: {error}")
            continue
        given_back += sum(answer is None for answer in answers)
    return given_back


async def _redrive_policy(queue: OpenQueue) -> RedrivePolicy | None:
    try:
        return RedrivePolicy.read(await queue.client.queue_attributes(queue.url, ["RedrivePolicy"]))
    except SqsError:
        return None  # often denied; it is only a remark


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
    if origin := _origin(Origin.of(message)):
        console.print(Text(f"  {printable(origin)}", style="yellow"), soft_wrap=True)
    for name, attribute in message.attributes.items():
        if name not in {REASON, SOURCE, RECEIVE_COUNT}:
            line = f"  {printable(name)} = {attribute.value!r} ({printable(attribute.data_type)})"
            console.print(Text(line, style="magenta"), soft_wrap=True)
    console.print(_body(message.body), soft_wrap=True)
    console.print()


def _origin(origin: Origin) -> str:
    """Where a dead letter came from, in a few words; empty for a message that is none."""
    if origin.reason:
        where = f" by a consumer of {origin.queue}" if origin.queue else ""
        receives = f" at receive {origin.receives}" if origin.receives else ""
        return f"rejected{where}{receives}: {origin.reason}"
    return f"dead letter of {origin.queue}" if origin.queue else ""


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
