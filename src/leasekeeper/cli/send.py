"""`leasekeeper send`: put messages into a queue, from the command line, a file of lines, or standard input.

Owned by the command line. It promises to say how many were taken, and which were not and why.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import sys
import uuid
from pathlib import Path  # noqa: TC003 - typer reads the annotations when the program starts
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from leasekeeper.api import BATCH, MAX_BYTES, EntryFailure, Outgoing
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
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import MessageAttribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PARALLEL = 8
"""Batches on their way at once; to a FIFO queue one, for the order."""
SHOWN = 5
"""Refused messages that are told one by one."""


def send(
    queue: QueueArgument,
    body: Annotated[
        str | None, typer.Argument(metavar="[BODY]", help="The body; unset, from --file or the input.")
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Each line is a body; - is standard input.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            "-a",
            metavar="NAME[:TYPE]=VALUE",
            help="Message attribute; again for more. TYPE: String, Number or Binary (in base64).",
        ),
    ] = None,
    delay: Annotated[
        int | None, typer.Option(min=0, max=900, metavar="SECONDS", help="Time before it can be received, 0 to 900.")
    ] = None,
    group_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Message group: order on FIFO queues, tenant on others.")
    ] = None,
    deduplication_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="FIFO queues; unset, each message gets one of its own.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How often each body is sent.")] = 1,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Send messages: one body, or one for each line of a file or of standard input."""
    attributes = dict(map(parse_attribute, attribute or ()))
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    fifo = connection.settings().queue
    assert fifo is not None
    if fifo.fifo and (group_id is None or delay is not None):
        raise ConfigurationError(f"queue {fifo.name} is FIFO: give --group-id, and no --delay")
    messages = (
        Outgoing(
            body=each,
            delay=delay,
            attributes=attributes,
            group_id=group_id,
            deduplication_id=_deduplication_id(deduplication_id, repeat, count) if fifo.fifo else None,
        )
        for each in bodies(body, file)
        for repeat in range(count)
    )
    raise Stopped(asyncio.run(_send(connection, messages)))


def _deduplication_id(given: str | None, repeat: int, count: int) -> str:
    if given is None:
        return uuid.uuid4().hex
    return given if count == 1 else f"{given}-{repeat}"


def parse_attribute(said: str) -> tuple[str, MessageAttribute]:
    """Read `tenant=acme`, `priority:Number=3` or `blob:Binary=aGk=`."""
    left, equals, value = said.partition("=")
    name, _, kind = left.partition(":")
    kind = kind or "String"
    if not (name and equals and value) or kind.partition(".")[0] not in {"String", "Number", "Binary"}:
        raise ConfigurationError(
            f"--attribute {said!r}: must be NAME=VALUE or NAME:TYPE=VALUE, TYPE one of String, Number, Binary"
        )
    if not kind.startswith("Binary"):
        return name, MessageAttribute(data_type=kind, string_value=value)
    try:
        return name, MessageAttribute(data_type=kind, binary_value=base64.b64decode(value, validate=True))
    except binascii.Error as error:
        raise ConfigurationError(f"--attribute {said!r}: the value is not base64 ({error})") from None


def bodies(body: str | None, file: Path | None) -> Iterator[str]:
    """The bodies to send, in order; empty lines are none.

    Raises:
        ConfigurationError: at once when there is nothing to send, or two things; while they are taken, when the file is
            no text.
    """
    if body is not None and file is not None:
        raise ConfigurationError("both a BODY and --file are given: give one of them")
    if body is not None:
        if not body:
            raise ConfigurationError("the BODY is empty: SQS takes no empty messages")
        return iter((body,))
    if file is None and sys.stdin.isatty():
        raise ConfigurationError("nothing to send: give a BODY, --file, or pipe lines into standard input")
    if file is None or str(file) == "-":
        return _lines(sys.stdin, "standard input")
    try:
        return _lines(file.open(encoding="utf-8"), f"--file {file}")
    except OSError as error:
        raise ConfigurationError(f"--file {file} cannot be read: {error.strerror}") from error


def _lines(lines: TextIO, source: str) -> Iterator[str]:
    with lines:
        try:
            for line in lines:
                body = line.rstrip("\r\n")
                if body:
                    yield body
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{source} is not UTF-8 text: {error}") from error


def size_of(message: Outgoing) -> int:
    """Bytes that SQS counts: the body, and names, types and values of the attributes."""
    try:
        size = len(message.body.encode())
    except UnicodeEncodeError as error:  # bytes that the shell or the pipe gave, and that are no UTF-8
        raise ConfigurationError(f"the body {message.body[:40]!r} is not UTF-8 text: {error}") from error
    for name, each in message.attributes.items():
        value = each.value if isinstance(each.value, bytes) else each.value.encode()
        size += len(name.encode()) + len(each.data_type) + len(value)
    return size


def batches(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Messages in batches that SQS takes: ten, and a megabyte together."""
    batch: list[Outgoing] = []
    filled = 0
    for position, message in enumerate(messages, 1):
        size = size_of(message)
        if size > MAX_BYTES:
            raise ConfigurationError(
                f"message {position} has {size:,} bytes with its attributes: SQS takes at most {MAX_BYTES:,}; put "
                "large bodies elsewhere (S3) and send where they are"
            )
        if batch and (len(batch) == BATCH or filled + size > MAX_BYTES):
            yield batch
            batch, filled = [], 0
        batch.append(message)
        filled += size
    if batch:
        yield batch


async def _send(connection: Connection, messages: Iterable[Outgoing]) -> Exit:
    tally = _Tally()
    try:
        async with opened(connection) as queue:
            ready: list[list[Outgoing]] = []
            parallel = 1 if queue.address.fifo else PARALLEL
            for batch in batches(messages):
                ready.append(batch)
                if len(ready) == parallel:
                    await tally.send(queue, ready)
                    ready = []
            await tally.send(queue, ready)
    except BaseException:
        if tally.sent:
            say(f"{tally.sent:,} messages were sent before this")
        raise
    return tally.tell(queue.name)


class _Tally:
    """What was taken and what was not."""

    def __init__(self) -> None:
        self.sent = 0
        self.last_id = ""
        self.refused: list[EntryFailure] = []

    async def send(self, queue: OpenQueue, batches: Sequence[list[Outgoing]]) -> None:
        """Send batches at once."""
        answers = await asyncio.gather(
            *(queue.client.send_batch(queue.url, each) for each in batches), return_exceptions=True
        )
        for answer in answers:
            if not isinstance(answer, BaseException):
                self._note(answer)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    def _note(self, answer: Sequence[object]) -> None:
        for each in answer:
            if isinstance(each, EntryFailure):
                self.refused.append(each)
            else:
                self.sent += 1
                self.last_id = getattr(each, "message_id", "")

    def tell(self, queue: str) -> Exit:
        """Say how it went."""
        for each in self.refused[:SHOWN]:
            say(f"not sent: {each.code}: {each.message}")
        if self.refused:
            say(f"{len(self.refused):,} of {len(self.refused) + self.sent:,} messages were not sent to {queue}")
        elif self.sent == 1:
            print(f"sent {self.last_id} to {queue}")
        else:
            print(f"sent {self.sent:,} messages to {queue}")
        return Exit.FAILED if self.refused else Exit.CLEAN
