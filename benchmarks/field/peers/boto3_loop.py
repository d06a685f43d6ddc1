"""boto3 by hand: threads that each receive ten messages, handle one after the other and delete them in one call."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from asked import ENDPOINT, LONG_POLL, QUEUE_URL, VISIBILITY, obey
from botocore.config import Config
from handling import handler_sync

THREADS = int(os.environ["PEER_THREADS"])


def loop(client: Any) -> None:
    while True:
        messages = client.receive_message(
            QueueUrl=QUEUE_URL, MaxNumberOfMessages=10, WaitTimeSeconds=LONG_POLL, VisibilityTimeout=VISIBILITY
        ).get("Messages", [])
        for message in messages:
            handler_sync(message["Body"])
        if messages:
            entries = [{"Id": str(i), "ReceiptHandle": each["ReceiptHandle"]} for i, each in enumerate(messages)]
            client.delete_message_batch(QueueUrl=QUEUE_URL, Entries=entries)


def run() -> None:
    client = boto3.client("sqs", endpoint_url=ENDPOINT, config=Config(max_pool_connections=THREADS))
    with ThreadPoolExecutor(THREADS) as pool:
        for stopped in [pool.submit(loop, client) for _ in range(THREADS)]:
            stopped.result()


obey(run)
