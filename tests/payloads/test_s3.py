"""The client of S3 against answers that S3 gives rarely, or that another server gives in its place."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING

import pytest

from leasekeeper.api import Credentials
from leasekeeper.payload import PayloadGone, PayloadUnavailable
from leasekeeper.payloads import S3Payloads
from leasekeeper.payloads.fetching import Fetcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from leasekeeper.payloads.api import ObjectStore


def on_a_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run a test with `async`."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


@asynccontextmanager
async def s3_that_says(status: str, body: str = "", *headers: str) -> AsyncIterator[ObjectStore]:
    """A client of a server that gives one answer to every call."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
        writer.write("\r\n".join(lines).encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        credentials = Credentials(access_key="a", secret_key="b")
        payloads = S3Payloads("bucket", endpoint_url=f"http://127.0.0.1:{port}", region="eu-west-1")
        store = await payloads.connect(region=None, profile=None, credentials=credentials)
        try:
            yield store
        finally:
            await store.close()


@on_a_loop
async def test_only_s3_can_say_that_an_object_is_gone() -> None:
    async with s3_that_says("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>") as store:
        with pytest.raises(PayloadGone, match="NoSuchKey"):
            await store.get("bucket", "k", start=0, length=10)
    for body in ("<html>no such page</html>", "<Error><Code>NoSuchBucket</Code></Error>"):
        async with s3_that_says("404 Not Found", body) as store:
            with pytest.raises(PayloadUnavailable):
                await store.get("bucket", "k", start=0, length=10)


@on_a_loop
async def test_a_payload_is_not_made_of_parts_that_were_not_asked_for() -> None:
    async with s3_that_says("206 Partial Content", "hel", "Content-Range: bytes 0-2/6") as store:
        with pytest.raises(PayloadUnavailable, match="not the part that was asked for"):
            await Fetcher(store, ["bucket"], 100).fetch("bucket", "k", 6)
    async with s3_that_says("206 Partial Content", "hello") as store:
        with pytest.raises(PayloadUnavailable, match="not the part that was asked for"):
            await Fetcher(store, ["bucket"], 100).fetch("bucket", "k", 5)
    async with s3_that_says("200 OK", "hello") as store:  # a server that knows no parts
        assert await Fetcher(store, ["bucket"], 100).fetch("bucket", "k", 5) == b"hello"


@on_a_loop
async def test_a_payload_counts_as_stored_only_if_s3_names_the_object() -> None:
    async with s3_that_says("200 OK", "", 'ETag: "x"') as store:
        await store.put("bucket", "k", b"payload", sha256="")
    async with s3_that_says("200 OK", "<html>please log in</html>") as store:
        with pytest.raises(PayloadUnavailable, match="PUT"):
            await store.put("bucket", "k", b"payload", sha256="")


@on_a_loop
async def test_objects_that_were_not_deleted_are_named() -> None:
    error = "<Error><Key>it&apos;s &quot;&amp;&quot;</Key><Code>AccessDenied</Code></Error>"
    async with s3_that_says("200 OK", f"<DeleteResult>{error}</DeleteResult>") as store:
        assert await store.delete("bucket", ["gone", 'it\'s "&"']) == {'it\'s "&"': "AccessDenied"}
    async with s3_that_says("200 OK", "<Error><Code>InternalError</Code></Error>") as store:
        with pytest.raises(PayloadUnavailable, match="InternalError"):
            await store.delete("bucket", ["k"])


@on_a_loop
async def test_a_redirect_is_not_followed() -> None:
    moved = ("Location: http://127.0.0.1:1/", "x-amz-bucket-region: us-west-2")
    async with s3_that_says("301 Moved", "<Error><Code>PermanentRedirect</Code></Error>", *moved) as store:
        with pytest.raises(PayloadUnavailable, match="set region='us-west-2'"):
            await store.get("bucket", "k", start=0, length=10)
