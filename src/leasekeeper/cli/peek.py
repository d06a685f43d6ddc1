"""`leasekeeper peek`: look at messages without consuming them; receives them, shows them, gives them back at once.

Owned by the command line. It promises to give back what it received, and says that looking counts as a receive.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

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
from leasekeeper.errors import SqsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.message import Received

HIDDEN = 20
"""Seconds the messages stay hidden should they not be given back."""
LOOKING = 10.0
"""Seconds after which no more are asked for: what was received first must be given back before it comes again."""
WAIT = 1
"""Seconds a receive waits: a long poll asks all of SQS's servers, a short one only some."""


def peek(
    queue: QueueArgument,
    *,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="NUMBER", help="The most messages to show.")
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a message, a line each.")] = False,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Look at messages: they are received, shown, and given back at once. SQS counts that as a receive."""
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    raise Stopped(asyncio.run(_peek(connection, count, as_json=as_json)))


async def _peek(connection: Connection, count: int, *, as_json: bool) -> Exit:
    async with opened(connection) as queue:
        seen: list[Received] = []
        try:
            await _look(queue, count, seen)
        finally:
            given_back = await _give_back(queue, seen)
        policy = await _redrive_policy(queue)
    for each in seen:
        if as_json:
            print(json.dumps(as_object(each)))
        else:
            _show(each)
    if not seen:
        say(f"no message of {queue.name} is visible now")
        return Exit.CLEAN
    limit = f", and after {policy['maxReceiveCount']} SQS moves a message to the dead-letter queue" if policy else ""
    some = "1 message" if len(seen) == 1 else f"{len(seen)} messages"
    say(f"{some} seen and {given_back} given back; looking counts as a receive{limit}")
    if given_back < len(seen):
        say(f"the others are visible again in {HIDDEN} s")
    return Exit.CLEAN


async def _look(queue: OpenQueue, count: int, seen: list[Received]) -> None:
    """Receive until there are enough, or no more come."""
    until = time.monotonic() + LOOKING
    while len(seen) < count and time.monotonic() < until:
        more = await queue.client.receive(
            queue.url, maximum=min(BATCH, count - len(seen)), wait=WAIT, visibility=HIDDEN
        )
        if not more:
            return
        seen += more


async def _give_back(queue: OpenQueue, seen: Sequence[Received]) -> int:
    """Make the messages visible again, the last first, which keeps a FIFO queue's order; how many are."""
    given_back, receipts = 0, [(each.receipt, 0) for each in reversed(seen)]
    for start in range(0, len(receipts), BATCH):
        batch = receipts[start : start + BATCH]
        try:
            answers = await queue.client.change_visibility_batch(queue.url, batch)
        except SqsError as error:
            say(f"giving messages back failed: {error}")
            continue
        given_back += sum(each is None for each in answers)
    return given_back


async def _redrive_policy(queue: OpenQueue) -> dict[str, Any]:
    try:
        found = await queue.client.queue_attributes(queue.url, ["RedrivePolicy"])
    except SqsError:
        return {}  # may be denied; it is a remark only
    policy: dict[str, Any] = json.loads(found.get("RedrivePolicy") or "{}")
    return policy


def as_object(message: Received) -> dict[str, Any]:
    """The message as JSON shows it."""
    return {
        "id": message.message_id,
        "body": message.body,
        "attributes": {
            name: {
                "type": each.data_type,
                "value": base64.b64encode(each.value).decode() if isinstance(each.value, bytes) else each.value,
            }
            for name, each in message.attributes.items()
        },
        "system": message.system,
    }


def _show(message: Received) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    system = message.system
    sent = int(system.get("SentTimestamp", "0")) / 1000
    said = [f"receive {system.get('ApproximateReceiveCount', '?')}", f"sent {_ago(time.time() - sent)} ago"]
    said += [f"group {system['MessageGroupId']}"] if "MessageGroupId" in system else []
    console.print(Text.assemble((message.message_id, "bold cyan"), (f"  {', '.join(said)}", "bright_black")))
    for name, each in message.attributes.items():
        console.print(Text(f"  {name} = {each.value!r} ({each.data_type})", style="magenta"), soft_wrap=True)
    try:
        parsed = json.loads(message.body)
    except ValueError:
        console.print(Text(message.body), soft_wrap=True)
    else:
        console.print_json(data=parsed, ensure_ascii=False) if isinstance(parsed, dict | list) else print(message.body)
    print()


def _ago(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
