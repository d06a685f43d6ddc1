"""The client of S3 against answers that S3 gives rarely, or that another server gives in its place."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager, closing
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer
from leasekeeper.api import Credentials
from leasekeeper.cli.connection import Connection
from leasekeeper.cli.doctor.facts import Level
from leasekeeper.cli.doctor.payloads import payloads as payloads_of
from leasekeeper.errors import ConfigurationError
from leasekeeper.local import LocalSqs
from leasekeeper.local.objects import Objects
from leasekeeper.options import Options
from leasekeeper.payload import PayloadGone, PayloadsDown, PayloadUnavailable
from leasekeeper.payloads import S3Payloads
from leasekeeper.payloads.fetching import Fetcher
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

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
async def test_a_store_that_is_down_is_told_from_an_object_that_may_not_be_read() -> None:
    for status, code, down in (
        ("503 Slow Down", "SlowDown", True),
        ("429 Too Many Requests", "", True),
        ("400 Bad Request", "ExpiredToken", True),
        ("403 Forbidden", "AccessDenied", False),
        ("404 Not Found", "NoSuchBucket", False),
    ):
        async with s3_that_says(status, f"<Error><Code>{code}</Code></Error>") as store:
            with pytest.raises(PayloadUnavailable) as raised:
                await store.get("bucket", "k", start=0, length=10)
            assert isinstance(raised.value, PayloadsDown) is down, status
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    credentials = Credentials(access_key="a", secret_key="b")
    payloads = S3Payloads("bucket", endpoint_url=f"http://127.0.0.1:{port}", region="eu-west-1")
    store = await payloads.connect(region=None, profile=None, credentials=credentials)
    with pytest.raises(PayloadsDown):  # nothing listens there
        await store.get("bucket", "k", start=0, length=10)
    await store.close()


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


@on_a_loop
async def test_a_bucket_that_does_not_exist_refuses_the_start() -> None:
    payloads = S3Payloads("bucket")
    async with s3_that_says("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>") as store:
        with pytest.raises(ConfigurationError) as refused:
            await payloads.check(store)
        where: Any = store
        assert str(refused.value) == (
            f"S3Payloads: bucket bucket does not exist at {where.endpoint_url}: create it, or check its name and S3's "
            "endpoint"
        )
    for status in ("200 OK", "403 Forbidden"):  # what exists may be closed to this question
        async with s3_that_says(status) as store:
            await payloads.check(store)


def test_s3_that_does_not_answer_is_a_warning_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    @on_a_loop
    async def look() -> None:
        async with s3_that_says("404 Not Found", "<html>no such page</html>") as store:
            await S3Payloads("bucket").check(store)

    look()
    (line,) = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert line.startswith("bucket bucket cannot be looked at, payloads may not be found: GET s3://bucket")


@on_a_loop
async def test_s3_that_has_to_answer_and_does_not_is_an_error() -> None:
    """As for `send --payloads`: the place was given, and nothing is sent before it works."""
    async with s3_that_says("404 Not Found", "<html>no such page</html>") as store:
        with pytest.raises(PayloadUnavailable, match="bucket bucket cannot be used: GET s3://bucket"):
            await S3Payloads("bucket").check(store, now=True)


@on_a_loop
async def test_a_consumer_looks_for_its_bucket_before_it_receives() -> None:
    class Empty(Objects):
        async def exists(self, bucket: str) -> bool:
            return bucket != "missing"

    with LocalSqs() as sqs:
        settings = ClientSettings(endpoint_url=sqs.endpoint_url, region="us-east-1")
        async with await SqsClient.connect(settings) as client:
            await client.create_queue("orders")
        consumer = Consumer(
            "orders",
            handle,
            payloads=S3Payloads("missing", client=Empty()),
            endpoint_url=sqs.endpoint_url,
            region="us-east-1",
        )
        with pytest.raises(ConfigurationError, match="bucket missing does not exist"):
            await consumer.start()


async def handle(body: str) -> None:
    raise AssertionError(body)


@on_a_loop
async def test_the_doctor_says_that_a_bucket_does_not_exist() -> None:
    async with s3_that_says("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>") as store:
        options = Options(payloads=S3Payloads("bucket", client=store))
        connection = Connection(queue="orders", region="eu-west-1")
        (finding,) = await payloads_of(options, connection)
    assert finding.level is Level.FAIL
    assert finding.message == "bucket bucket does not exist: create it, or check its name and the region"
