"""What keeps payloads: the calls of S3 that Leasekeeper makes, as a type.

`leasekeeper.payloads.s3.S3Client` makes them over HTTP. Tests and programs may give another store to `S3Payloads`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Part(NamedTuple):
    """A part of an object."""

    data: bytes | bytearray
    size: int
    """Bytes of the whole object."""
    etag: str = ""
    sha256: str = ""
    """Of the whole object, in hexadecimal digits, if it was stored with one."""


class ObjectStore(Protocol):
    """Keeps objects in buckets, on one event loop."""

    async def get(self, bucket: str, key: str, *, start: int, length: int, etag: str = "") -> Part:
        """A part of an object.

        Args:
            bucket: its bucket.
            key: its key.
            start: the first byte.
            length: bytes at most.
            etag: of the object that is meant; empty: any.

        Raises:
            PayloadGone: there is no such object.
            PayloadsDown: no object can be read now, as far as is known. So does an OSError.
            PayloadUnavailable: it cannot be read now, or it is another object by now.
        """
        ...

    async def put(self, bucket: str, key: str, data: bytes, *, sha256: str) -> None:
        """Store an object.

        Raises:
            PayloadUnavailable: it may not be stored.
        """
        ...

    async def delete(self, bucket: str, keys: Sequence[str]) -> Mapping[str, str]:
        """Delete up to 1,000 objects; those that could not be deleted, with the reason.

        Raises:
            PayloadUnavailable: none may be deleted.
        """
        ...

    async def close(self) -> None:
        """Close the connections. May be called twice."""
        ...
