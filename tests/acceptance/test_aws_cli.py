"""The AWS CLI as the other side: it works against the built-in SQS unchanged, and what it sends is handled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from leasekeeper import Consumer, Message
from leasekeeper.local import LocalSqs

FAKE = {"AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_DEFAULT_REGION": "eu-west-1"}

pytestmark = pytest.mark.slow


def aws(sqs: LocalSqs, *words: str) -> Any:
    """What `aws sqs ...` answers."""
    command = [sys.executable, str(Path(sys.executable).with_name("aws")), "--endpoint-url", sqs.endpoint_url, "sqs"]
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **FAKE}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "{}")


def test_a_message_of_the_aws_cli_is_handled_and_gone() -> None:
    handled = threading.Event()
    seen: list[tuple[str, str | bytes]] = []

    async def handle(message: Message[dict[str, str]]) -> None:
        seen.append((message.body["item"], message.attributes["tenant"].value))
        handled.set()

    with LocalSqs() as sqs:
        url = aws(sqs, "create-queue", "--queue-name", "orders")["QueueUrl"]
        attributes = json.dumps({"tenant": {"DataType": "String", "StringValue": "ann"}})
        aws(
            sqs,
            "send-message",
            "--queue-url",
            url,
            "--message-body",
            '{"item": "tea"}',
            "--message-attributes",
            attributes,
        )
        consumer = Consumer(url, handle, region="eu-west-1", ack_interval=0.0, poll_grace=0.0)
        consumer.start()
        assert handled.wait(60)
        consumer.stop()
        found = aws(sqs, "get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
    assert seen == [("tea", "ann")]
    assert (found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
