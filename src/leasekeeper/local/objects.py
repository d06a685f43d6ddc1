"""Objects in memory: a model of S3 for tests and the local server.

Owned by a test or a server. It promises the answers of `leasekeeper.payloads.api.ObjectStore`, without a network.
"""

from __future__ import annotations

import asyncio
from hashlib import md5
from typing import TYPE_CHECKING, NamedTuple

from leasekeeper.payload import PayloadGone, PayloadUnavailable
from leasekeeper.payloads.api import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Stored(NamedTuple):
    """An object."""

    data: bytes
    sha256: str
    etag: str


class Objects:
    """Buckets with objects.

    Attributes:
        stored: the objects, by bucket and key.
        calls: operation, bucket and key or number of keys, in order.
        latency: seconds that a call takes.
        fault: asked before each call, with the operation, the bucket and the key; it may raise.
    """

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Stored] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.latency = 0.0
        self.fault: Callable[[str, str, str], object] | None = None

    def add(self, bucket: str, key: str, data: bytes, *, sha256: str = "") -> None:
        """Store an object at once."""
        self.stored[bucket, key] = Stored(data, sha256, f'"{md5(data, usedforsecurity=False).hexdigest()}"')

    async def get(self, bucket: str, key: str, *, start: int, length: int, etag: str = "") -> Part:
        """As `ObjectStore.get`."""
        await self._begin("get", bucket, key)
        found = self.stored.get((bucket, key))
        if found is None:
            raise PayloadGone(f"its payload is gone: there is no object s3://{bucket}/{key} (NoSuchKey)")
        if etag not in {"", found.etag}:
            raise PayloadUnavailable(f"get s3://{bucket}/{key}: PreconditionFailed")
        return Part(found.data[start : start + length], len(found.data), found.etag, found.sha256)

    async def put(self, bucket: str, key: str, data: bytes, *, sha256: str) -> None:
        """As `ObjectStore.put`."""
        await self._begin("put", bucket, key)
        self.add(bucket, key, data, sha256=sha256)

    async def delete(self, bucket: str, keys: Sequence[str]) -> Mapping[str, str]:
        """As `ObjectStore.delete`."""
        await self._begin("delete", bucket, str(len(keys)))
        for key in keys:
            self.stored.pop((bucket, key), None)
        return {}

    async def close(self) -> None:
        """Nothing is open."""

    async def _begin(self, operation: str, bucket: str, key: str) -> None:
        self.calls.append((operation, bucket, key))
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.fault is not None:
            self.fault(operation, bucket, key)

    def __repr__(self) -> str:
        return f"<Objects {len(self.stored)}>"
