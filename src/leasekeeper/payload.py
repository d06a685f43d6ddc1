"""Payloads outside of their messages: what a handler may take (`Payload`), and how reading one can fail.

The ground floor of `leasekeeper.payloads`, which fetches and stores them. A body that stands for a payload that is not
fetched yet is a ticket: only this process can write one, because its number cannot be guessed.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, Protocol, get_args

from leasekeeper.errors import Unusable
from leasekeeper.message import Received
from leasekeeper.outcomes import Reject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from concurrent.futures import Future

    from leasekeeper.api import Credentials, CredentialsProvider

CHUNK = 1_048_576
"""Bytes of a piece of a payload, unless a handler asks for another size."""
TICKET = "leasekeeper.Payload"


class PayloadGone(Reject):
    """The object that a message points to does not exist: the message is rejected, because no retry brings it back."""


class PayloadUnavailable(Unusable):
    """A payload cannot be read or written now: access denied, S3 unavailable, or damaged. The message is retried."""


class PayloadsDown(PayloadUnavailable):
    """What keeps payloads cannot be reached, is throttled, or fails: no fault of the message, and no attempt."""


class Reader(Protocol):
    """Reads one payload, piece by piece, on the loop that it belongs to."""

    loop: asyncio.AbstractEventLoop
    bucket: str
    key: str
    size: int | None

    def pieces(self, size: int) -> AsyncIterator[bytes]:
        """The payload in pieces of at most that many bytes."""
        ...


class Payload:
    """A payload that is read when the handler asks for it, in pieces: annotate the handler with `Message[Payload]`.

    Read it while the handler runs. It works for small messages too, which bring their payload along.

    Attributes:
        size: bytes, as the message states them; None if it does not.
        bucket: where the object is; empty if the message brought the payload along.
        key: of the object.
    """

    __slots__ = ("_reader", "_text", "bucket", "key", "size")

    def __init__(self, reader: Reader | None, text: bytes = b"") -> None:
        self._reader = reader
        self._text = text
        self.size = len(text) if reader is None else reader.size
        self.bucket = "" if reader is None else reader.bucket
        self.key = "" if reader is None else reader.key

    async def read(self) -> bytes:
        """The whole payload, in memory. `read_blocking` is for `def` handlers.

        Raises:
            PayloadGone: the object does not exist. Unless the handler catches it, the message is rejected.
            PayloadUnavailable: it cannot be read now.
        """
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self, size: int = CHUNK) -> AsyncIterator[bytes]:
        """The payload in pieces of at most `size` bytes: `async for piece in payload.pieces()`. Raises as `read`."""
        if self._reader is None:
            for start in range(0, len(self._text), size):
                yield self._text[start : start + size]
            return
        pieces = self._reader.pieces(size)
        while (piece := await asyncio.wrap_future(self._next(pieces))) is not None:
            yield piece

    def read_blocking(self) -> bytes:
        """The whole payload, for `def` handlers. Raises as `read`."""
        return b"".join(self.pieces_blocking())

    def pieces_blocking(self, size: int = CHUNK) -> Iterator[bytes]:
        """The payload in pieces, for `def` handlers: `for piece in payload.pieces_blocking()`. Raises as `read`."""
        if self._reader is None:
            for start in range(0, len(self._text), size):
                yield self._text[start : start + size]
            return
        pieces = self._reader.pieces(size)
        while (piece := self._next(pieces).result()) is not None:
            yield piece

    def _next(self, pieces: AsyncIterator[bytes]) -> Future[bytes | None]:
        assert self._reader is not None
        return asyncio.run_coroutine_threadsafe(_piece(pieces), self._reader.loop)

    def __repr__(self) -> str:
        where = f"s3://{self.bucket}/{self.key}" if self.bucket else "in its message"
        return f"<Payload {where}, {'unknown size' if self.size is None else f'{self.size:,} bytes'}>"


async def _piece(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


class Offloaded(Received, frozen=True, kw_only=True):
    """A message with its payload in place of the pointer.

    Attributes:
        sent: the message as SQS sent it.
        bucket: where the payload is.
        key: of the object.
    """

    sent: Received
    bucket: str
    key: str

    @property
    def as_sent(self) -> Received:
        """The message as SQS sent it, with the pointer."""
        return self.sent

    def renewed(self, newer: Received) -> Received:
        """The same message with the payload, received again."""
        return Offloaded(
            message_id=newer.message_id,
            receipt=newer.receipt,
            body=self.body,
            system=newer.system,
            attributes=self.attributes,
            sent=newer,
            bucket=self.bucket,
            key=self.key,
        )


class PayloadsOption(Protocol):
    """What the option `payloads` takes: `leasekeeper.payloads.S3Payloads` is one."""

    bucket: str
    """The bucket that payloads are written to."""

    async def connect(
        self,
        *,
        region: str | None,
        profile: str | None,
        credentials: Credentials | CredentialsProvider | None,
    ) -> Any:
        """The store, for a consumer or sender with these settings."""
        ...


class Readers(Protocol):
    """Makes readers."""

    def reader(self, ticket: Mapping[str, Any]) -> Reader:
        """A reader for the payload of a ticket."""
        ...


_READERS: dict[str, Readers] = {}
"""What tickets were written by, by its number."""


def new_number() -> str:
    """A number that cannot be guessed."""
    return os.urandom(16).hex()


def register(number: str, readers: Readers) -> None:
    """From now on tickets with that number are valid."""
    _READERS[number] = readers


def forget(number: str) -> None:
    """Tickets with that number are not valid any more."""
    _READERS.pop(number, None)


def ticket(number: str, bucket: str, key: str, size: int | None) -> str:
    """The body of a message with a payload that is read later."""
    return json.dumps([TICKET, {"number": number, "bucket": bucket, "key": key, "size": size}])


def payload_of(body: str | bytes) -> Payload:
    """The payload that a body is, or stands for."""
    text = body if isinstance(body, str) else body.decode(errors="replace")
    if text.startswith(f'["{TICKET}"'):
        try:
            _, fields = json.loads(text)
            return Payload(_READERS[fields["number"]].reader(fields))
        except (ValueError, TypeError, KeyError):
            pass  # the number is none of ours: it is a body like any other
    return Payload(None, body.encode() if isinstance(body, str) else body)


def takes_payload(body_type: Any) -> bool:
    """Whether an annotation is `Payload`, or has it in its brackets."""
    return body_type is Payload or any(map(takes_payload, get_args(body_type)))
