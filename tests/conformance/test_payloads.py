"""Payloads in S3: round trips with the extended client of AWS for Python, on moto and on our local server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import sqs_extended_client  # noqa: F401 - it changes the clients of boto3's sessions
from botocore.config import Config

from leasekeeper import Consumer, Message
from leasekeeper.api import Credentials
from leasekeeper.payloads import Payload, PayloadGone, PayloadUnavailable, S3Payloads
from leasekeeper.sending import Sender

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

several = pytest.mark.only("leasekeeper", "moto")
PATIENCE = 60.0
LARGE = "é" * 200_000
KEYS = ["a+b c/é.txt", "plain", "with 'quotes' & <brackets>", "tab\tin it"]


@pytest.fixture
def service(endpoint_url: str) -> Callable[[str], Any]:
    """A client of boto3 for a service of the server."""

    def make(name: str) -> Any:
        return boto3.session.Session().client(
            name,
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    return make


class Bucket:
    """A bucket on the server."""

    def __init__(self, s3: Any, endpoint_url: str) -> None:
        self.name = f"b-{uuid.uuid4().hex}"
        self.s3 = s3
        self.endpoint_url = endpoint_url
        s3.create_bucket(Bucket=self.name)

    def keys(self) -> list[str]:
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def payloads(self, **options: Any) -> S3Payloads:
        credentials = Credentials(access_key="test", secret_key="test")
        return S3Payloads(
            self.name, endpoint_url=self.endpoint_url, region="us-east-1", credentials=credentials, **options
        )


@pytest.fixture
def bucket(service: Callable[[str], Any], endpoint_url: str) -> Bucket:
    return Bucket(service("s3"), endpoint_url)


def extended(service: Callable[[str], Any], bucket: Bucket, *, legacy: bool = False) -> Any:
    """The extended client, with that bucket."""
    client = service("sqs")
    client.large_payload_support = bucket.name
    client.use_legacy_attribute = legacy
    client.s3_client = bucket.s3
    return client


def consume(queue: Any, handler: Callable[..., Any], count: int, **options: Any) -> list[Any]:
    """What the handler returned for the first `count` messages; the queue is empty then."""
    seen: list[Any] = []
    enough = threading.Event()

    def handle(message: Any) -> None:
        seen.append(handler(message))
        if len(seen) >= count:
            enough.set()

    handle.__annotations__["message"] = handler.__annotations__["message"]
    consumer = Consumer(queue.url, handle, max_pollers=1, poll_grace=0.1, ack_interval=0.1, **options)
    consumer.start()
    try:
        assert enough.wait(PATIENCE), f"{len(seen)} seen: {consumer}"
    finally:
        consumer.stop()
    assert queue.counts() == (0, 0, 0)
    return seen


def whole(message: Message[str]) -> Any:
    return message.body, sorted(message.attributes)


def pieces(message: Message[Payload]) -> Any:
    found = b"".join(message.body.pieces_blocking(150_000))
    return found.decode(), message.body.size


@several
@pytest.mark.parametrize("legacy", [False, True])
def test_reads_what_the_extended_client_sent(
    queue: Any, service: Callable[[str], Any], bucket: Bucket, *, legacy: bool
) -> None:
    client = extended(service, bucket, legacy=legacy)
    client.send_message(
        QueueUrl=queue.url,
        MessageBody=LARGE,
        MessageAttributes={"colour": {"DataType": "String", "StringValue": "red"}},
    )
    client.send_message(QueueUrl=queue.url, MessageBody="small")
    assert len(bucket.keys()) == 1
    seen = consume(queue, whole, 2, payloads=bucket.payloads())
    assert sorted(seen) == [("small", []), (LARGE, ["colour"])]
    assert not bucket.keys()


@several
def test_reads_it_in_pieces(queue: Any, service: Callable[[str], Any], bucket: Bucket) -> None:
    extended(service, bucket).send_message(QueueUrl=queue.url, MessageBody=LARGE)
    queue.send("small")
    seen = consume(queue, pieces, 2, payloads=bucket.payloads(delete="never"))
    assert sorted(seen) == [("small", 5), (LARGE, 400_000)]
    assert len(bucket.keys()) == 1


@several
@pytest.mark.always
def test_reads_and_deletes_objects_with_any_key(queue: Any, service: Callable[[str], Any], bucket: Bucket) -> None:
    client = extended(service, bucket)
    for key in KEYS:
        attributes = {"S3Key": {"DataType": "String", "StringValue": key}}
        client.send_message(QueueUrl=queue.url, MessageBody=f"{key}{LARGE}", MessageAttributes=attributes)
    assert sorted(bucket.keys()) == sorted(KEYS)
    seen = consume(queue, whole, len(KEYS), payloads=bucket.payloads())
    assert sorted(body.removesuffix(LARGE) for body, _ in seen) == sorted(KEYS)
    assert not bucket.keys()


@several
@pytest.mark.parametrize("pointer", ["extended", "legacy"])
def test_the_extended_client_reads_what_a_sender_sent(
    queue: Any, service: Callable[[str], Any], bucket: Bucket, pointer: str
) -> None:
    credentials = Credentials(access_key="test", secret_key="test")
    with Sender(queue.url, payloads=bucket.payloads(pointer=pointer, above=100_000), credentials=credentials) as out:
        out.send(LARGE, attributes={"colour": "red"})
        out.send("small")
    client = extended(service, bucket, legacy=pointer == "legacy")
    found = {}
    for _ in range(10):
        for message in client.receive_message(
            QueueUrl=queue.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages", []):
            found[message["Body"]] = sorted(message.get("MessageAttributes", {}))
        if len(found) == 2:
            break
    assert found == {LARGE: ["colour"], "small": []}


@several
def test_leasekeeper_send_takes_a_body_of_more_than_a_megabyte(
    queue: Any, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "x" * 1_258_291
    file = tmp_path / "bodies"
    file.write_text(f"{body}\nsmall\n")
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", bucket.endpoint_url),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "leasekeeper",
            "send",
            queue.url,
            "--file",
            str(file),
            "--payloads",
            f"s3://{bucket.name}/in",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"sent 2 messages to {queue.url.rpartition('/')[2]}"), (
        done.stderr
    )
    [key] = bucket.keys()
    assert key.startswith("in/")
    seen = consume(queue, whole, 2, payloads=bucket.payloads())
    assert sorted(seen) == [("small", []), (body, [])]


@several
def test_a_store_that_refuses_says_what_to_do(bucket: Bucket) -> None:
    async def story() -> None:
        store = await bucket.payloads().connect(region=None, profile=None, credentials=None)
        try:
            with pytest.raises(PayloadGone, match="NoSuchKey"):
                await store.get(bucket.name, "missing", start=0, length=1)
            with pytest.raises(PayloadUnavailable, match=r"NoSuchBucket.*create the bucket"):
                await store.get("no-such-bucket", "k", start=0, length=1)
            await store.put(bucket.name, "k", b"0123456789", sha256="ab")
            part = await store.get(bucket.name, "k", start=2, length=3)
            assert (part.data, part.size, part.sha256) == (b"234", 10, "ab")
            assert (await store.get(bucket.name, "k", start=8, length=99, etag=part.etag)).data == b"89"
            await store.put(bucket.name, "k", b"another", sha256="")
            with pytest.raises(PayloadUnavailable, match="412"):
                await store.get(bucket.name, "k", start=0, length=3, etag=part.etag)
            assert await store.delete(bucket.name, ["k", "missing"]) == {}
            assert not bucket.keys()
        finally:
            await store.close()

    asyncio.run(story())
