"""The scene of these tests: a server with queues, a consumer in processes, and a file with what handlers did."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import jobs
import psutil

from leasekeeper import Consumer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from leasekeeper.local import LocalSqs


class Bench:
    """A server with the queues `jobs` and `dead`, and a file with what handlers did."""

    def __init__(self, sqs: LocalSqs, notes: Path) -> None:
        self.sqs = sqs
        self._notes = notes
        self.sqs.call("CreateQueue", QueueName="dead")
        policy = '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"10"}'
        self.sqs.call("CreateQueue", QueueName="jobs", Attributes={"RedrivePolicy": policy})

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.call("SendMessage", QueueUrl=f"{self.sqs.endpoint_url}/000000000000/jobs", MessageBody=body)

    def left(self, name: str = "jobs") -> list[Any]:
        return self.sqs.on_loop(self.sqs.broker.account.queues[name].contents)

    @property
    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines()

    def consumer(self, handler: Callable[..., Any] = jobs.work, **options: Any) -> Consumer:
        chosen = {
            "workers": 2,
            "visibility_timeout": 30,
            "wait_time": 0.2,
            "ack_interval": 0,
            "retry_base": 0,
            **options,
        }
        return Consumer(
            "jobs", handler, lane="processes", endpoint_url=self.sqs.endpoint_url, region="us-east-1", **chosen
        )

    def run(self, *bodies: str, within: float = 60, **options: Any) -> Consumer:
        """Run these messages to their end."""
        self.put(*bodies)
        consumer = self.consumer(**options)
        consumer.start()
        self.until(lambda: not self.left(), within)
        consumer.stop()
        return consumer

    @staticmethod
    def until(condition: Callable[[], object], within: float = 60) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + within, "it took too long"
            time.sleep(0.01)
        return time.monotonic() - began


def workers() -> set[int]:
    """Worker processes of this process: children of the fork server."""
    return {each.pid for each in psutil.Process().children(recursive=True) if _is_worker(each)}


def _is_worker(process: psutil.Process) -> bool:
    try:
        return bool(process.parent() and process.parent().pid != os.getpid())
    except psutil.Error:
        return False
