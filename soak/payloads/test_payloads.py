"""Payloads at size: memory while many large payloads come, over moto; and many worlds.

`LEASEKEEPER_PAYLOAD_WORLDS` is the number of worlds, 50 unless it is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from payload_world import play
from store_servers import moto_process

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBIBYTE = 1_048_576
SIZE = 5 * MEBIBYTE
MESSAGES = 100
MEMORY = 64 * MEBIBYTE
REST = 48 * MEBIBYTE
"""What a consumer takes beside payloads: late imports, buffers of connections, what the allocator keeps."""
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
CONSUMER = """
import asyncio, json, sys, threading, time
import psutil
from leasekeeper import Consumer, Message
from leasekeeper.api import Credentials
from leasekeeper.payloads import S3Payloads

url, endpoint, bucket, size, memory, messages = sys.argv[1:]
credentials = Credentials(access_key="test", secret_key="test")
done, at_once, most_at_once = 0, 0, 0

async def handle(message: Message[str]) -> None:
    global done, at_once, most_at_once
    assert len(message.body) == int(size)
    at_once += 1
    most_at_once = max(most_at_once, at_once)
    await asyncio.sleep(0.2)
    at_once -= 1
    done += 1

async def main() -> None:
    payloads = S3Payloads(bucket, endpoint_url=endpoint, delete="never")
    consumer = Consumer(
        url, handle, payloads=payloads, payload_memory=int(memory), concurrency=20, credentials=credentials,
        region="us-east-1", ack_interval=0.1,
    )
    me = psutil.Process()
    async with consumer:
        before = most = me.memory_info().rss
        while done < int(messages):
            await asyncio.sleep(0.01)
            most = max(most, me.memory_info().rss)
    print(json.dumps({"before": before, "most": most, "at_once": most_at_once, "done": done}))

asyncio.run(main())
"""


@pytest.fixture
def endpoint_url() -> Iterator[str]:
    with moto_process() as url:
        yield url


def client(name: str, endpoint_url: str) -> Any:
    return boto3.client(name, endpoint_url=endpoint_url, **KEYS)


def test_memory_is_bounded_by_the_option_while_large_payloads_come(endpoint_url: str) -> None:
    s3, sqs = client("s3", endpoint_url), client("sqs", endpoint_url)
    bucket = f"b-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * SIZE)
    url = sqs.create_queue(QueueName="large")["QueueUrl"]
    pointer = json.dumps(["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": bucket, "s3Key": "k"}])
    marker = {"ExtendedPayloadSize": {"DataType": "Number", "StringValue": str(SIZE)}}
    for _ in range(MESSAGES):
        sqs.send_message(QueueUrl=url, MessageBody=pointer, MessageAttributes=marker)
    words = (url, endpoint_url, bucket, str(SIZE), str(MEMORY), str(MESSAGES))
    run = subprocess.run(
        [sys.executable, "-c", CONSUMER, *words], capture_output=True, text=True, check=False, timeout=600
    )
    assert run.returncode == 0, run.stderr[-2_000:]
    found = json.loads(run.stdout)
    assert found["done"] == MESSAGES
    assert found["at_once"] > 3
    assert found["most"] - found["before"] < MEMORY + REST, found


def test_in_many_worlds_a_message_that_exists_has_its_object() -> None:
    seeds = range(1_000, 1_000 + int(os.environ.get("LEASEKEEPER_PAYLOAD_WORLDS", "50")))
    deleted = [play(seed) for seed in seeds]
    assert sum(deleted) > 10 * len(seeds)
