"""What the tests of the admin surface share: a queue with messages, handlers that wait, and readers of answers."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from leasekeeper.admin.address import AdminAddress
from leasekeeper.admin.patches import patched
from leasekeeper.api import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper import events
    from leasekeeper.admin import AdminServer
    from leasekeeper.local import LocalSqs


def call(sqs: LocalSqs, operation: str, **values: Any) -> Any:
    """Call the local SQS."""
    host, port = sqs.endpoint_url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    connection.request("POST", "/", json.dumps(values), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, text
    return json.loads(text or b"{}")


def create(sqs: LocalSqs, *bodies: str) -> dict[str, Any]:
    """Create the queue with these messages; the options to consume it."""
    call(sqs, "CreateQueue", QueueName="orders")
    for body in bodies:
        call(sqs, "SendMessage", QueueUrl=f"{sqs.endpoint_url}/000000000000/orders", MessageBody=body)
    return {
        "endpoint_url": sqs.endpoint_url,
        "region": "us-east-1",
        "credentials": Credentials(access_key="test", secret_key="test"),
    }


def get(server: AdminServer, path: str, **headers: str) -> tuple[int, str]:
    address = AdminAddress.parse(server.url.removeprefix("http://"))
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def until(condition: Callable[[], object]) -> None:
    pause, end = threading.Event(), time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        pause.wait(0.01)


class Gate:
    """A handler that waits until the test lets it go."""

    def __init__(self) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()

    async def blocking(self, _body: str) -> None:
        """Blocks its event loop, as a coroutine must not."""
        self.started.set()
        self.go_on.wait(30)

    async def waiting(self, _body: str) -> None:
        self.started.set()
        while not self.go_on.is_set():  # noqa: ASYNC110 - an event of another thread
            await asyncio.sleep(0.01)

    def hang(self, _: events.MessagesReceived) -> None:
        """A subscriber that blocks the engine's thread, as it must not."""
        self.started.set()
        self.go_on.wait(30)


def connect(server: AdminServer) -> http.client.HTTPConnection:
    address = AdminAddress.parse(server.url.removeprefix("http://"))
    return http.client.HTTPConnection(address.host, address.port, timeout=30)


class Reader:
    """Reads a stream, and keeps the state that it tells."""

    def __init__(self, server: AdminServer, query: str = "") -> None:
        self._connection = connect(server)
        self._connection.request("GET", f"/api/stream?{query}")
        self.answer = self._connection.getresponse()
        self.state: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self._connection.close()

    def read(self) -> str:
        """Take the next event; its name, or nothing at the end."""
        name = ""
        while line := self.answer.readline().decode():
            kind, _, text = line.rstrip().partition(": ")
            if kind == "event":
                name = text
            elif kind == "data":
                data = json.loads(text)
                self.state = data if name == "state" else patched(self.state, data) if name == "patch" else self.state
                break
        return name

    def until(self, condition: Callable[[], object]) -> None:
        """Read until the state is so."""
        while self.state is None or not condition():
            assert self.read() != "", "the stream has ended"

    @property
    def process(self) -> Any:
        """The one process."""
        (process,) = self.state["processes"].values()
        return process

    @property
    def consumer(self) -> Any:
        """Its one consumer."""
        (consumer,) = self.process["consumers"].values()
        return consumer
