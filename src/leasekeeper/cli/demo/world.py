"""The demo's world: a local SQS in another process, and a producer of orders.

Owned by the demo. It promises to end what it started, and to use nothing of the user's AWS configuration.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from typing import IO, TYPE_CHECKING, Self

import msgspec

from leasekeeper.api import BATCH, Credentials, EntryFailure, Outgoing
from leasekeeper.cli.demo.shop import Order
from leasekeeper.cli.errors import say
from leasekeeper.errors import LeasekeeperError
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from types import TracebackType

QUEUE = "orders"
DEAD_LETTERS = "orders-dead"
CREDENTIALS = Credentials(access_key="demo", secret_key="demo")  # noqa: S106 - a server on this machine takes any
CONSUMERS_CALLS = ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
PARALLEL = 4


def forget_aws() -> None:
    """Hide the user's AWS configuration from this process, and use no proxy for the local server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}


class OwnSqs:
    """SQS in another process, which the terminal's Ctrl-C does not reach."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None
        self.endpoint_url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "leasekeeper.cli.demo.server"]
        # Its errors go to a file: on the screen they would spoil the view.
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.endpoint_url = line.strip()
        if not self.endpoint_url.startswith("http"):
            self.__exit__(None, None, None)
            raise LeasekeeperError(f"the local SQS did not start; it printed {line!r}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
        if self._errors is not None:
            self._errors.seek(0)
            for line in self._errors.read().splitlines()[-3:]:
                say(f"the local SQS reported: {line}")
            self._errors.close()

    async def calls(self) -> Counter[str]:
        """How often each operation was called so far."""
        return await asyncio.to_thread(self._ask_calls)

    def _ask_calls(self) -> Counter[str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.endpoint_url}/_leasekeeper/calls", timeout=5) as answer:
            return Counter(json.load(answer))


class Producer:
    """Sends orders, always a little ahead of the consumer.

    Attributes:
        sent: orders so far; they are numbered from 0.
        calls: the calls for them.
        waiting: visible messages in the queue, as SQS counts them.
    """

    def __init__(self, client: SqsClient, url: str, dead_url: str, *, ahead: int, most: int | None) -> None:
        self.sent = 0
        self.calls = 0
        self.waiting = 0
        self._client = client
        self._url = url
        self._dead_url = dead_url
        self._ahead = ahead
        self._most = most
        self._stopped = False

    @classmethod
    async def open(cls, endpoint_url: str, *, ahead: int, most: int | None) -> Self:
        """Create the queue of orders and its dead-letter queue."""
        client = await SqsClient.connect(
            ClientSettings(endpoint_url=endpoint_url, region="us-east-1", credentials=CREDENTIALS)
        )
        dead_url = await client.create_queue(DEAD_LETTERS)
        arn = (await client.queue_attributes(dead_url, ["QueueArn"]))["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
        url = await client.create_queue(QUEUE, attributes={"RedrivePolicy": policy})
        return cls(client, url, dead_url, ahead=ahead, most=most)

    async def run(self) -> None:
        """Send until stopped, or until all orders are sent."""
        while not self._stopped and (self._most is None or self.sent < self._most):
            self.waiting = int((await self._client.queue_attributes(self._url, COUNTS[:1]))[COUNTS[0]])
            room = self._ahead - self.waiting
            if self._most is not None:
                room = min(room, self._most - self.sent)
            batches = min(PARALLEL, -(-room // BATCH))
            if batches <= 0:
                await asyncio.sleep(0.02)
                continue
            sizes = [min(BATCH, room - BATCH * n) for n in range(batches)]
            await asyncio.gather(*(self._send(size) for size in sizes))

    def stop(self) -> None:
        """End `run` after the calls that it has made. A cancelled call may still return an answer, and go on."""
        self._stopped = True

    async def _send(self, size: int) -> None:
        numbers = range(self.sent, self.sent + size)
        self.sent += size
        self.calls += 1
        bodies = [msgspec.json.encode(Order(number, f"C{number % 977:03}")).decode() for number in numbers]
        answers = await self._client.send_batch(self._url, [Outgoing(body=body) for body in bodies])
        self.sent -= sum(isinstance(answer, EntryFailure) for answer in answers)

    async def counts(self) -> tuple[int, int, int]:
        """Messages that are visible in the queue, hidden or delayed there, and in the dead-letter queue."""
        orders, dead = [
            [int(found[name]) for name in COUNTS]
            for found in await asyncio.gather(
                *(self._client.queue_attributes(url, COUNTS) for url in (self._url, self._dead_url))
            )
        ]
        self.waiting = orders[0]
        return orders[0], sum(orders[1:]), sum(dead)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
