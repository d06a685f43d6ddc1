"""The local S3, as boto3 and our own client use it."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from leasekeeper.local import LocalSqs, s3

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = ["a+b c/é.txt", "plain", "tab\tin it", "with 'quotes' & <brackets>"]


@pytest.fixture(scope="module")
def sqs() -> Iterator[LocalSqs]:
    with LocalSqs(seed=1) as sqs:
        yield sqs


def _client(sqs: LocalSqs, style: str = "path") -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=sqs.endpoint_url,
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": style}),
    )


@pytest.fixture
def client(sqs: LocalSqs) -> Any:
    sqs.s3.buckets.clear()
    sqs.s3._bytes = 0
    made = _client(sqs)
    made.create_bucket(Bucket="docs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return made


def refused(call: Any, **request: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_an_object_is_kept_as_it_was_put(client: Any) -> None:
    for key in KEYS:
        client.put_object(Bucket="docs", Key=key, Body=key.encode() * 3, Metadata={"sha256": "ab"}, ContentType="a/b")
    listed = client.list_objects_v2(Bucket="docs")
    assert [each["Key"] for each in listed["Contents"]] == KEYS
    assert [each["Size"] for each in listed["Contents"]] == [len(key.encode()) * 3 for key in KEYS]
    for key in KEYS:
        got = client.get_object(Bucket="docs", Key=key)
        assert got["Body"].read() == key.encode() * 3
        assert (got["Metadata"], got["ContentType"]) == ({"sha256": "ab"}, "a/b")
        assert client.head_object(Bucket="docs", Key=key)["ContentLength"] == len(key.encode()) * 3
    client.delete_object(Bucket="docs", Key="plain")
    deleted = client.delete_objects(Bucket="docs", Delete={"Objects": [{"Key": key} for key in KEYS]})
    assert [each["Key"] for each in deleted["Deleted"]] == KEYS
    assert client.list_objects_v2(Bucket="docs")["KeyCount"] == 0


def test_parts_of_an_object(client: Any) -> None:
    client.put_object(Bucket="docs", Key="k", Body=b"0123456789")
    for stated, found in (("bytes=2-4", b"234"), ("bytes=8-99", b"89"), ("bytes=5-", b"56789"), ("bytes=-3", b"789")):
        assert client.get_object(Bucket="docs", Key="k", Range=stated)["Body"].read() == found
    assert refused(client.get_object, Bucket="docs", Key="k", Range="bytes=10-")[:2] == (416, "InvalidRange")
    assert refused(client.get_object, Bucket="docs", Key="k", Range="bytes=1-2,4-5")[:2] == (501, "NotImplemented")
    assert refused(client.get_object, Bucket="docs", Key="k", IfMatch='"other"')[:2] == (412, "PreconditionFailed")


def test_a_list_in_pages_and_folders(client: Any) -> None:
    for number in range(5):
        client.put_object(Bucket="docs", Key=f"a/{number}", Body=b"")
    client.put_object(Bucket="docs", Key="z", Body=b"")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="docs", PaginationConfig={"PageSize": 2})
    assert [each["Key"] for page in pages for each in page["Contents"]] == ["a/0", "a/1", "a/2", "a/3", "a/4", "z"]
    top = client.list_objects_v2(Bucket="docs", Delimiter="/")
    assert [each["Prefix"] for each in top["CommonPrefixes"]] == ["a/"]
    assert [each["Key"] for each in top["Contents"]] == ["z"]


def test_buckets(client: Any) -> None:
    client.create_bucket(Bucket="docs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.create_bucket(Bucket="more", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert [each["Name"] for each in client.list_buckets()["Buckets"]] == ["docs", "more"]
    client.put_object(Bucket="more", Key="k", Body=b"1")
    assert refused(client.delete_bucket, Bucket="more")[:2] == (409, "BucketNotEmpty")
    client.delete_object(Bucket="more", Key="k")
    client.delete_bucket(Bucket="more")
    assert refused(client.head_bucket, Bucket="more")[0] == 404
    assert refused(client.put_object, Bucket="more", Key="k", Body=b"") == (
        404,
        "NoSuchBucket",
        "bucket more does not exist",
    )
    assert refused(client.get_object, Bucket="docs", Key="k")[:2] == (404, "NoSuchKey")


def test_what_it_does_not_know_is_an_error_that_says_what_it_knows(client: Any) -> None:
    client.put_object(Bucket="docs", Key="k", Body=b"1")
    for call, request in (
        (client.create_multipart_upload, {"Bucket": "docs", "Key": "k"}),
        (client.copy_object, {"Bucket": "docs", "Key": "l", "CopySource": "docs/k"}),
        (client.get_object_tagging, {"Bucket": "docs", "Key": "k"}),
        (client.put_bucket_versioning, {"Bucket": "docs", "VersioningConfiguration": {"Status": "Enabled"}}),
    ):
        status, code, message = refused(call, **request)
        assert (status, code) == (501, "NotImplemented")
        assert "the local S3 has CreateBucket" in message


def test_it_has_a_limit_in_bytes(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MOST_BYTES", 10_000_000)
    client.put_object(Bucket="docs", Key="a", Body=b"x" * 6_000_000)
    client.put_object(Bucket="docs", Key="a", Body=b"x" * 6_000_000)  # in the place of the first
    status, code, message = refused(client.put_object, Bucket="docs", Key="b", Body=b"x" * 6_000_000)
    assert (status, code) == (503, "SlowDown")
    assert "at most" in message
    assert refused(client.put_object, Bucket="docs", Key="a", Body=b"x" * 11_000_000)[1] == "SlowDown"
    assert client.head_object(Bucket="docs", Key="a")["ContentLength"] == 6_000_000
    client.delete_object(Bucket="docs", Key="a")
    client.put_object(Bucket="docs", Key="b", Body=b"x" * 6_000_000)


def test_the_bucket_may_be_in_the_name_of_the_host(sqs: LocalSqs, client: Any) -> None:
    client.put_object(Bucket="docs", Key="a/b", Body=b"1")
    port = sqs.endpoint_url.rpartition(":")[2]
    scope = "AWS4-HMAC-SHA256 Credential=x/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    request = urllib.request.Request(
        f"{sqs.endpoint_url}/a/b", headers={"Host": f"docs.localhost:{port}", "Authorization": scope}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.read() == b"1"


def test_a_url_that_is_signed_works(client: Any) -> None:
    client.put_object(Bucket="docs", Key="a b", Body=b"1")
    url = client.generate_presigned_url("get_object", Params={"Bucket": "docs", "Key": "a b"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"1"


def test_a_body_in_signed_chunks(sqs: LocalSqs, client: Any) -> None:
    scope = "AWS4-HMAC-SHA256 Credential=x/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    headers = {"Authorization": scope, "Content-Encoding": "aws-chunked"}
    for body, status in (
        (b"3;chunk-signature=0\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n", 200),
        (b"zz", 400),
    ):
        request = urllib.request.Request(f"{sqs.endpoint_url}/docs/k", body, headers, method="PUT")
        try:
            with urllib.request.urlopen(request) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            with error:
                found = error.code
        assert found == status
    assert client.get_object(Bucket="docs", Key="k")["Body"].read() == b"abcde"


def test_payloads_need_nothing_but_the_local_server(sqs: LocalSqs) -> None:
    """A sender and a consumer with `S3Payloads`, by our own client."""
    from leasekeeper import Consumer, Sender
    from leasekeeper.api import Credentials
    from leasekeeper.payloads import S3Payloads
    from leasekeeper.sqs.client import SqsClient
    from leasekeeper.sqs.settings import ClientSettings

    sqs.s3.create("payloads")
    reach: Any = {"endpoint_url": sqs.endpoint_url, "region": "eu-west-1"}
    reach["credentials"] = Credentials(access_key="x", secret_key="x")
    payloads = S3Payloads("payloads", endpoint_url=sqs.endpoint_url)
    body = "é" * 700_000

    async def story() -> str:
        async with await SqsClient.connect(ClientSettings(**reach)) as client:
            await client.create_queue("large")
        got: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def handle(text: str) -> None:
            got.set_result(text)

        async with Sender("large", payloads=payloads, **reach) as sender:
            await sender.send(body)
        assert len(sqs.s3.buckets["payloads"]) == 1
        async with Consumer("large", handle, payloads=payloads, poll_grace=0.1, **reach):
            return await got

    assert asyncio.run(story()) == body
    assert not sqs.s3.buckets["payloads"]
