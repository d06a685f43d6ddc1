"""The harness's side of the lean SQS: starts it, fills it and reads its counts."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 30.0
"""Seconds that an answer may take beyond the wait that was requested."""


@dataclass(frozen=True, slots=True)
class Control:
    """A running lean SQS: its address, and requests to it. `steering.py` defines the words."""

    port: int

    @property
    def endpoint(self) -> str:
        """The URL to give to clients."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, word: str, patience: float = PATIENCE, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer; patience: seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            connection.request("POST", f"/control/{word}", json.dumps(request))
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise RuntimeError(f"the server could not {word} {request}: {answer['error']}")
        return answer

    def call_seconds(self, queue: str, count: int) -> list[float]:
        """The seconds of so many receives from an empty queue, which do not wait, one after the other."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        body, head = json.dumps({"QueueUrl": queue}), {"X-Amz-Target": "AmazonSQS.ReceiveMessage"}
        took = []
        try:
            for _ in range(count):
                began = time.monotonic()
                connection.request("POST", "/", body, head)
                connection.getresponse().read()
                took.append(time.monotonic() - began)
        finally:
            connection.close()
        return took

    def wait(self, queue: str, until: str, count: int, seconds: float) -> bool:
        """Wait until a queue is "polled" or `count` messages are "deleted", at most `seconds`."""
        answer = self.ask("wait", seconds + PATIENCE, queue=queue, until=until, count=count, seconds=seconds)
        return bool(answer["reached"])


@contextmanager
def serving() -> Iterator[Control]:
    """Run a lean SQS until the block ends."""
    command = [sys.executable, str(Path(__file__).with_name("server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Control(int(process.stdout.readline()))
        finally:
            process.terminate()
