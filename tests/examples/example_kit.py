"""What tests of examples need: queues as boto3 sees them, and a process whose lines are awaited."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import boto3

from forking import Forked, forker

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


def lines_until(command: list[str], expected: set[str], *, cwd: Path = EXAMPLES, fresh: bool = False) -> str:
    """Run until all of this was printed, then TERM; everything printed. Fails after a minute.

    The program is forked from a process that has the imports of most examples, or started as from a shell (`fresh`).
    """
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "output")
        process = _started(command, cwd, output) if fresh else _forked(command, cwd, output)
        pause, end, missing = threading.Event(), time.monotonic() + 60, expected
        try:
            while missing and process.poll() is None and time.monotonic() < end:
                pause.wait(0.02)
                missing = {text for text in expected if text not in output.read_text()}
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, output.read_text()
        finally:
            process.kill()
            process.wait(60)
        assert not {text for text in expected if text not in output.read_text()}, output.read_text()
        return output.read_text()


def _forked(command: list[str], cwd: Path, output: Path) -> Forked:
    output.touch()
    arguments = command[1:] if command[0] == sys.executable else command
    return forker().start(arguments, cwd, dict(os.environ), output, output)


def _started(command: list[str], cwd: Path, output: Path) -> subprocess.Popen[bytes]:
    with output.open("w") as file:
        return subprocess.Popen(command, cwd=cwd, stdout=file, stderr=subprocess.STDOUT)
