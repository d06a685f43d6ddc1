"""`leasekeeper send`: send messages from the command line, a file of lines, or standard input.

Owned by the command line. It promises to say how many SQS accepted, and why it refused the others.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import os
import sys
import uuid
from contextlib import AsyncExitStack, suppress
from pathlib import Path  # noqa: TC003 - typer reads the annotations when the program starts
from typing import TYPE_CHECKING, Annotated, TextIO, TypeVar

import typer

from leasekeeper.api import BATCH, MAX_BYTES, EntryFailure, Outgoing, Sent
from leasekeeper.cli import interrupts
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
from leasekeeper.cli.words import counted
from leasekeeper.errors import ConfigurationError
from leasekeeper.exit_codes import Exit
from leasekeeper.message import MessageAttribute
from leasekeeper.sizes import size_of
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from leasekeeper.sqs.address import QueueAddress

T = TypeVar("T")
PARALLEL = 8
"""Batches sent at the same time; for a FIFO queue one, to keep the order."""
ENCODING = "utf-8-sig"
"""UTF-8; a byte order mark, as editors and PowerShell write it, is not part of the first body."""
SHOWN = 5
"""Refused messages that are reported one by one."""

GroupOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Message group: for order on FIFO queues, for fairness on others.")
]
PayloadsOption = Annotated[
    str | None,
    typer.Option(metavar="s3://BUCKET[/FOLDER]", help="Where bodies go that are too large for a message."),
]


def send(
    queue: QueueArgument,
    body: Annotated[
        str | None, typer.Argument(metavar="[BODY]", help="The body; unset, read --file or standard input.")
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Send each line as a body; - is standard input.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            "-a",
            metavar="NAME[:TYPE]=VALUE",
            help="Message attribute; may be repeated. TYPE is String, Number or Binary (in base64).",
        ),
    ] = None,
    delay: Annotated[
        int | None, typer.Option(min=0, max=900, metavar="SECONDS", help="Time until it can be received, 0 to 900.")
    ] = None,
    group_id: GroupOption = None,
    deduplication_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="For FIFO queues; unset, each message gets a new one.")
    ] = None,
    payloads: PayloadsOption = None,
    count: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Send each body this many times.")] = 1,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Send one message, or one for each line of a file or of standard input."""
    attributes = _attributes(attribute or ())
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    address = connection.settings().queue
    assert address is not None
    _check_kind(address, group_id, delay, deduplication_id)
    messages = (
        Outgoing(
            body=text,
            delay=delay,
            attributes=attributes,
            group_id=group_id,
            deduplication_id=_deduplication_id(deduplication_id, repeat, count) if address.fifo else None,
        )
        for text in bodies(body, file)
        for repeat in range(count)
    )
    raise Stopped(interrupts.run(_send(connection, messages, payloads)))


def _check_kind(address: QueueAddress, group_id: str | None, delay: int | None, deduplication_id: str | None) -> None:
    """Refuse what this kind of queue needs and was not given, or does not have."""
    wrong = []
    if address.fifo and group_id is None:
        wrong.append(f"queue {address.name} is FIFO: give --group-id")
    if address.fifo and delay is not None:
        wrong.append(
            f"--delay='{delay}': messages of a FIFO queue have no delay for each, and {address.name} is one; "
            "leave it out"
        )
    if not address.fifo and deduplication_id is not None:
        wrong.append(
            f"--deduplication-id for queue {address.name}: only FIFO queues have deduplication ids; leave it out"
        )
    if wrong:
        raise ConfigurationError(*wrong)


def _deduplication_id(given: str | None, repeat: int, count: int) -> str:
    if given is None:
        return uuid.uuid4().hex
    return given if count == 1 else f"{given}-{repeat}"


def _attributes(given: Sequence[str]) -> dict[str, MessageAttribute]:
    found: dict[str, MessageAttribute] = {}
    for each in given:
        name, attribute = parse_attribute(each)
        if name in found:
            raise ConfigurationError(f"--attribute={each!r}: {name} is given twice; a message has one of each name")
        found[name] = attribute
    return found


def parse_attribute(given: str) -> tuple[str, MessageAttribute]:
    """Read `tenant=acme`, `priority:Number=3` or `blob:Binary=aGk=`."""
    left, equals, value = given.partition("=")
    name, _, kind = left.partition(":")
    kind = kind or "String"
    if not (name and equals and value) or kind.partition(".")[0] not in {"String", "Number", "Binary"}:
        raise ConfigurationError(
            f"--attribute={given!r}: must be NAME=VALUE or NAME:TYPE=VALUE, TYPE one of String, Number, Binary"
        )
    if not kind.startswith("Binary"):
        return name, MessageAttribute(data_type=kind, string_value=value)
    try:
        return name, MessageAttribute(data_type=kind, binary_value=base64.b64decode(value, validate=True))
    except binascii.Error as error:
        raise ConfigurationError(f"--attribute={given!r}: the value is not base64 ({error})") from None


def bodies(body: str | None, file: Path | None) -> Iterator[str]:
    """The bodies to send, in order; empty lines are left out.

    Raises:
        ConfigurationError: at the call, when there is nothing to send or a body and a file are given; while iterating,
            when the file is not UTF-8 text.
    """
    if body is not None and file is not None:
        raise ConfigurationError("both a BODY and --file are given: give one of them")
    if body is not None:
        if not body:
            raise ConfigurationError("the BODY is empty: SQS accepts no empty message")
        return iter((_as_utf8(body),))
    if file is None and sys.stdin.isatty():
        raise ConfigurationError("nothing to send: give a BODY or --file, or pipe lines into standard input")
    if file is None or str(file) == "-":
        if isinstance(sys.stdin, io.TextIOWrapper) and not sys.stdin.isatty():
            sys.stdin.reconfigure(encoding=ENCODING, errors="strict")
        return _lines(sys.stdin, "standard input")
    try:
        return _lines(file.open(encoding=ENCODING), f"--file={str(file)!r}")
    except OSError as error:
        raise ConfigurationError(f"--file={str(file)!r} cannot be read: {error.strerror}; give another path") from error


def _as_utf8(body: str) -> str:
    """The body as it was typed, where the locale is not UTF-8 (`LANG=C`) and the shell has passed UTF-8."""
    try:
        body.encode()
    except UnicodeEncodeError:  # bytes that the locale could not read
        with suppress(UnicodeError):
            return os.fsencode(body).decode()
    return body


def _lines(lines: TextIO, source: str) -> Iterator[str]:
    with lines:
        try:
            for line in lines:
                body = line.rstrip("\r\n")
                if body:
                    yield body
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{source} is not UTF-8 text: {error}") from error


def size_of_message(message: Outgoing) -> int:
    """Bytes that SQS counts: the body, and names, types and values of the attributes."""
    try:
        return size_of(message.body, message.attributes)
    except UnicodeEncodeError as error:  # the shell gave bytes that are not UTF-8
        raise ConfigurationError(f"the body {message.body[:40]!r} is not UTF-8 text: {error}") from error


def batches(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Messages in batches that SQS accepts; raises `ConfigurationError` for one that is too large."""
    position = 0

    def size(message: Outgoing) -> int:
        nonlocal position
        position += 1
        size = size_of_message(message)
        if size > MAX_BYTES:
            raise ConfigurationError(
                f"message {position} has {size:,} bytes with its attributes, SQS accepts at most {MAX_BYTES:,}: give "
                "--payloads s3://BUCKET to keep large bodies in S3"
            )
        return size

    return within_size(messages, size)


def within_size(items: Iterable[T], size: Callable[[T], int], most: int = BATCH) -> Iterator[list[T]]:
    """Items in batches that SQS accepts: at most `most`, and at most a megabyte together."""
    batch: list[T] = []
    filled = 0
    for item in items:
        more = size(item)
        if batch and (len(batch) == most or filled + more > MAX_BYTES):
            yield batch
            batch, filled = [], 0
        batch.append(item)
        filled += more
    if batch:
        yield batch


async def _send(connection: Connection, messages: Iterable[Outgoing], payloads: str | None) -> Exit:
    results = _Results()
    try:
        async with AsyncExitStack() as stack:
            queue = await stack.enter_async_context(opened(connection))
            if payloads is not None:
                from leasekeeper.cli.storing_client import storing

                queue, messages = await storing(stack, queue, connection, payloads, messages)
            ready: list[list[Outgoing]] = []
            parallel = 1 if queue.address.fifo else PARALLEL
            for batch in batches(messages):
                ready.append(batch)
                if len(ready) == parallel:
                    await results.send(queue, ready)
                    ready = []
            await results.send(queue, ready)
    except BaseException:
        if results.sent:
            say(f"{counted(results.sent, 'message')} sent before the error that follows")
        raise
    return results.report(queue.name)


class _Results:
    """What SQS accepted and what it refused."""

    def __init__(self) -> None:
        self.sent = 0
        self.last_id = ""
        self.refused: list[EntryFailure] = []

    async def send(self, queue: OpenQueue, batches: Sequence[list[Outgoing]]) -> None:
        """Send batches at the same time."""
        answers = await asyncio.gather(
            *(queue.client.send_batch(queue.url, batch) for batch in batches), return_exceptions=True
        )
        for answer in answers:
            if not isinstance(answer, BaseException):
                self._note(answer)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    def _note(self, answer: Sequence[Sent | EntryFailure]) -> None:
        for entry in answer:
            if isinstance(entry, EntryFailure):
                self.refused.append(entry)
            else:
                self.sent += 1
                self.last_id = entry.message_id

    def report(self, queue: str) -> Exit:
        """Say how it went."""
        for failure in self.refused[:SHOWN]:
            say(f"not sent: {failure.code}: {failure.message}")
        if self.refused:
            total = counted(len(self.refused) + self.sent, "message")
            say(f"{len(self.refused):,} of {total} not sent to {queue}")
        elif self.sent == 1:
            print(f"sent {printable(self.last_id)} to {queue}")
        else:
            print(f"sent {counted(self.sent, 'message')} to {queue}")
        return Exit.FAILED if self.refused else Exit.CLEAN
