"""Fetching: from a pointer to the payload, in parts, checked against what its message and its object state.

Used by the lane for payloads that are fetched before the handler runs, and by the handler for those that it reads in
pieces. Only the buckets that the option names are read.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from leasekeeper.core.patience import Patience
from leasekeeper.outcomes import Reject
from leasekeeper.payload import PayloadGone, PayloadsDown, PayloadUnavailable
from leasekeeper.sqs.blocking import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from leasekeeper.payloads.api import ObjectStore, Part

PART = 8 * 1_048_576
"""Bytes that are asked for at once: a part that breaks off is asked for again, and not the whole."""
QUICK = 1_048_576
"""The digest of at most this many bytes is computed on the loop; of more, in a thread."""

SHORTEST_FETCH = 0.1
"""Seconds that a fetch may take at least while other objects come, and some do not."""
SLOWEST = 1_048_576
"""Bytes in a second at which an object may come in then."""
CUT = 1_000
"""Objects that did not come which are remembered, at most."""


class Fetcher:
    """Fetches payloads.

    Args:
        store: keeps the objects.
        buckets: from which may be fetched.
        most: bytes of the largest payload that is fetched as a whole.
    """

    def __init__(self, store: ObjectStore, buckets: Collection[str], most: int) -> None:
        self._store = store
        self._buckets = buckets
        self._most = most
        self.loop = asyncio.get_running_loop()
        self._patience = Patience(SHORTEST_FETCH, self.loop.time)
        self._cut: dict[tuple[str, str], bool] = {}
        """Objects that did not come; the oldest first."""

    def check(self, bucket: str, size: int | None) -> None:
        """Refuse a payload that must not be fetched.

        Raises:
            Reject: its bucket is not on the list, or it is too large.
        """
        if bucket not in self._buckets:
            raise Reject(
                f"its payload is in bucket {bucket[:63]!r}, from which nothing is fetched here: if that is right, add "
                "it to buckets= of S3Payloads"
            )
        if size is not None and size > self._most:
            raise Reject(
                f"its payload has {size:,} bytes, and max_payload={self._most}: raise it, or annotate the handler with "
                "Message[Payload], which reads in pieces"
            )

    async def size(self, bucket: str, key: str) -> int:
        """Bytes of an object, where the message does not state them."""
        async with self._in_time(bucket, key, 0):
            return (await self._store.get(bucket, key, start=0, length=1)).size

    async def probe(self, bucket: str, key: str) -> None:
        """Ask for an object that does not exist, to see whether the store answers. This is never cut short.

        Raises:
            PayloadsDown: it does not.
            OSError: the same, from a store of a user.
        """
        with self._patience.call():
            try:
                await self._store.get(bucket, key, start=0, length=1)
            except PayloadsDown:
                raise
            except (PayloadGone, PayloadUnavailable):  # S3 denies missing objects unless we may list the bucket
                pass

    @asynccontextmanager
    async def _in_time(self, bucket: str, key: str, size: int) -> AsyncIterator[None]:
        """Cut a fetch short that takes far longer than others do, if some objects come and others do not."""
        again, transfer = self._cut.pop((bucket, key), False), size / SLOWEST
        limit = self._patience.limit(math.inf, again=again) + transfer
        try:
            async with asyncio.timeout(None if limit == math.inf else limit):
                with self._patience.call(transfer):
                    yield
        except (PayloadsDown, OSError):
            self._cut[bucket, key] = True
            if len(self._cut) > CUT:
                del self._cut[next(iter(self._cut))]
            raise

    async def fetch(self, bucket: str, key: str, size: int) -> bytearray:
        """The payload, which must have that many bytes.

        Raises:
            PayloadGone: there is no such object.
            PayloadUnavailable: it cannot be read now.
            TimeoutError: it does not come, while others do.
            Reject: it has another size.
        """
        async with self._in_time(bucket, key, size):
            return await self._fetch(bucket, key, size)

    async def _fetch(self, bucket: str, key: str, size: int) -> bytearray:
        part = await self._store.get(bucket, key, start=0, length=min(size + 1, PART))
        check_size(bucket, key, part.size, size)
        data, etag, digest = bytearray(part.data), part.etag, part.sha256
        while len(data) < size:
            part = await self._next(bucket, key, len(data), min(size - len(data), PART), etag)
            data += part.data
        if digest:
            found = sha256(data).hexdigest() if size <= QUICK else await in_thread(lambda: sha256(data).hexdigest())
            check_digest(bucket, key, found, digest)
        return data

    async def _next(self, bucket: str, key: str, start: int, length: int, etag: str) -> Part:
        part = await self._store.get(bucket, key, start=start, length=length, etag=etag)
        if not part.data:
            raise PayloadUnavailable(f"s3://{bucket}/{key} ended after {start:,} bytes")
        return part

    def reader(self, ticket: Mapping[str, Any]) -> PieceReader:
        """A reader for the payload of a ticket."""
        return PieceReader(self, ticket["bucket"], ticket["key"], ticket["size"])

    async def pieces(self, bucket: str, key: str, stated: int | None, length: int) -> AsyncIterator[bytes]:
        """The payload in pieces. Raises as `fetch`."""
        part = await self._store.get(bucket, key, start=0, length=length)
        size, etag = part.size, part.etag
        check_size(bucket, key, size, size if stated is None else stated)
        digest, have = sha256(part.data), len(part.data)
        expected = part.sha256
        yield bytes(part.data)
        while have < size:
            part = await self._next(bucket, key, have, min(size - have, length), etag)
            digest.update(part.data)
            have += len(part.data)
            yield bytes(part.data)
        if expected:
            check_digest(bucket, key, digest.hexdigest(), expected)


class PieceReader:
    """Reads one payload in pieces, on the loop that it was made for."""

    def __init__(self, fetcher: Fetcher, bucket: str, key: str, size: int | None) -> None:
        self._fetcher = fetcher
        self.loop: asyncio.AbstractEventLoop = fetcher.loop
        self.bucket = bucket
        self.key = key
        self.size = size

    def pieces(self, size: int) -> AsyncIterator[bytes]:
        """The payload in pieces of at most that many bytes."""
        return self._fetcher.pieces(self.bucket, self.key, self.size, size)


def check_size(bucket: str, key: str, found: int, stated: int) -> None:
    """Refuse a payload of another size than its message states; S3 shows every object as it was written last."""
    if found != stated:
        raise Reject(f"its payload s3://{bucket}/{key} has {found:,} bytes, and the message states {stated:,}")


def check_digest(bucket: str, key: str, found: str, stated: str) -> None:
    """Refuse a payload that is not what was stored."""
    if found != stated:
        raise PayloadUnavailable(f"s3://{bucket}/{key} does not have the SHA-256 that it was stored with")
