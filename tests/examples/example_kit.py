"""What tests of examples need: queues as boto3 sees them, and a process whose lines are awaited."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import boto3

EXAMPLES = Path(__file__).parents[2] / "examples"
FAKE = {"AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_DEFAULT_REGION": "eu-west-1"}


class Queue:
    def __init__(self, name: str, **attributes: str) -> None:
        self.client: Any = boto3.client("sqs")
        self.url: str = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)

    @property
    def arn(self) -> str:
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        return str(found["Attributes"]["QueueArn"])

    def left(self) -> tuple[int, int]:
        """Messages visible, and in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


def lines_until(command: list[str], expected: set[str], *, cwd: Path = EXAMPLES) -> str:
    """Run until every expected line was printed, then TERM; everything printed. Fails after a minute."""
    process = subprocess.Popen(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert process.stdout is not None
    printed: list[str] = []
    missing = set(expected)
    try:
        for line in process.stdout:
            printed.append(line)
            # Not by lines: two threads that print at once may share one.
            missing = {text for text in missing if text not in "".join(printed)}
            if not missing:
                break
        process.send_signal(signal.SIGTERM)
        printed.append(process.stdout.read())
        assert process.wait() == 0, "".join(printed)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    assert not missing, "".join(printed)
    return "".join(printed)
