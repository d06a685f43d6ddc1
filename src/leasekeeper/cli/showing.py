"""Messages and causes as a person reads them, and as JSON.

Used by `peek` and `redrive`. It promises that what others wrote is neither markup nor a control character.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.cli.causes import DeadLetter
from leasekeeper.cli.words import counted, printable_lines
from leasekeeper.failure import FAILURE
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from leasekeeper.cli.causes import Cause
    from leasekeeper.message import Received


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
