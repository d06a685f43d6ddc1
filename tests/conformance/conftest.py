"""One suite for the behaviour of SQS, run against our local server, moto and ministack.

Where a server differs from AWS, the test names it: `@pytest.mark.differs("moto", because="...")`. The test must then
fail on that server, so that the mark is removed when the server improves. The check is the same for all servers.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from starting import ending_with_us, free_port
from store_servers import moto_process

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTS_WITHIN = 60.0
DIFFERENCES = (AssertionError, ClientError, BotoCoreError, KeyError, pytest.fail.Exception)
"""What a difference may raise. A server that does not start raises something else, so all its cases fail."""


@dataclass(frozen=True)
class Server:
    """A server under test: the command that starts it on a port, and its environment."""

    name: str
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


SERVERS = {
    server.name: server
    for server in (
        Server("leasekeeper", ("-m", "leasekeeper", "local", "--port", "{port}")),
        Server("moto"),  # see `moto_server`
        # It listens on all addresses by default.
        Server(
            "ministack",
            ("-m", "ministack"),
            {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": "{port}", "LOG_LEVEL": "ERROR"},
        ),
    )
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "differs(*servers, because): these servers differ from AWS here")
    config.addinivalue_line("markers", "always: `make test` runs it with moto too, and `make long` with all servers")
    config.addinivalue_line("markers", "only(*servers): the others lack a service or a promise that this needs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "endpoint_url" not in metafunc.fixturenames:
        return
    only = metafunc.definition.get_closest_marker("only")
    servers = list(SERVERS) if only is None else only.args
    metafunc.parametrize("endpoint_url", servers, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and "endpoint_url" in item.fixturenames:
            server = item.callspec.params["endpoint_url"]
            item.add_marker(pytest.mark.slow)
            if server == "ministack" or (server == "moto" and item.get_closest_marker("always") is None):
                item.add_marker(pytest.mark.long)
            for mark in list(item.iter_markers("differs")):
                _expect_failure(item, mark, server)


def _expect_failure(item: pytest.Item, mark: pytest.Mark, server: object) -> None:
    assert set(mark.args) <= SERVERS.keys() - {"leasekeeper"}, (
        f"{item.nodeid}: ours may not differ, others must be known"
    )
    if server in mark.args:
        item.add_marker(pytest.mark.xfail(reason=mark.kwargs["because"], strict=True, raises=DIFFERENCES))


@pytest.fixture(scope="session")
def endpoint_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with moto_process() if request.param == "moto" else running(SERVERS[request.param]) as url:
        yield url


@contextmanager
def running(server: Server) -> Iterator[str]:
    """The server as a process on a free port of the loopback address. The process ends with the block."""
    port = free_port()
    environment = {name: value.format(port=port) for name, value in server.environment.items()}
    # Its log goes to a file: a pipe that is not read would be full after some hundred requests, and stop the server.
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
    process = subprocess.Popen(
        ending_with_us(sys.executable, *(word.format(port=port) for word in server.command)),
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=log,
        text=True,
    )
    try:
        _wait_until_it_listens(server, process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        log.close()


def _wait_until_it_listens(server: Server, process: subprocess.Popen[str], port: int, log: IO[str]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            errors = log.read()
            raise RuntimeError(
                f"{server.name} did not start. Is it installed (the dev extra)? Its errors: {errors[-2000:]}"
            )
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{server.name} does not listen on port {port} after {STARTS_WITHIN:g} s")


class Refused(NamedTuple):
    """An error as boto3 shows it."""

    code: str
    status: int
    message: str


class Raw(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Sqs:
    """The API of a server through boto3, and through HTTP where boto3 hides the answer."""

    server: str
    endpoint_url: str
    client: Any

    def queue(self, *, fifo: bool = False, **attributes: str) -> Queue:
        name = f"q-{uuid.uuid4().hex}" + (".fifo" if fifo else "")
        if fifo:
            attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true", **attributes}
        return Queue(self, name, self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def refused(self, operation: str, **request: Any) -> Refused:
        with pytest.raises(ClientError) as caught:
            getattr(self.client, operation)(**request)
        error = caught.value.response["Error"]
        status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
        return Refused(str(error["Code"]), status, error["Message"])

    def raw(self, operation: str, body: Any, more: dict[str, str] | None = None) -> Raw:
        """The answer to a request with that body, as JSON or as bytes, and with `more` headers."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "X-Amzn-Query-Mode": "true",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, "
            "SignedHeaders=host, Signature=0",
            **(more or {}),
        }
        request = urllib.request.Request(f"{self.endpoint_url}/", data, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return Raw(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Raw(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


@dataclass
class Queue:
    """A queue of one test."""

    sqs: Sqs
    name: str
    url: str

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self.sqs.client, operation)(QueueUrl=self.url, **request)
        return answer

    def refused(self, operation: str, **request: Any) -> Refused:
        return self.sqs.refused(operation, QueueUrl=self.url, **request)

    def send(self, body: str, group: str | None = None, **request: Any) -> dict[str, Any]:
        if group is not None:
            request["MessageGroupId"] = group
        return self.ask("send_message", MessageBody=body, **request)

    def receive(self, most: int = 10, wait: int = 0, **request: Any) -> list[dict[str, Any]]:
        request = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"], **request}
        answer = self.ask("receive_message", MaxNumberOfMessages=most, WaitTimeSeconds=wait, **request)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def one(self, **request: Any) -> dict[str, Any]:
        """The one message in the queue; waits up to three seconds for it."""
        messages = self.receive(1, wait=3, **request)
        assert len(messages) == 1, "no message arrived"
        return messages[0]

    def bodies(self, most: int = 10, wait: int = 0, **request: Any) -> list[str]:
        return [message["Body"] for message in self.receive(most, wait, **request)]

    def delete(self, message: dict[str, Any]) -> None:
        self.ask("delete_message", ReceiptHandle=message["ReceiptHandle"])

    def hide(self, message: dict[str, Any], seconds: int) -> None:
        self.ask("change_message_visibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds)

    @property
    def arn(self) -> str:
        return str(self.attributes()["QueueArn"])

    def attributes(self) -> dict[str, str]:
        shown: dict[str, str] = self.ask("get_queue_attributes", AttributeNames=["All"])["Attributes"]
        return shown

    def counts(self) -> tuple[int, int, int]:
        shown = self.attributes()
        names = ("", "NotVisible", "Delayed")
        visible, in_flight, delayed = (int(shown[f"ApproximateNumberOfMessages{name}"]) for name in names)
        return visible, in_flight, delayed


@pytest.fixture(scope="session")
def client(endpoint_url: str) -> Iterator[Any]:
    """One client for all tests of a server: boto3 takes 15 ms to make one."""
    client = boto3.client(
        "sqs",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )
    yield client
    client.close()


@pytest.fixture
def sqs(request: pytest.FixtureRequest, endpoint_url: str, client: Any) -> Sqs:
    return Sqs(request.node.callspec.params["endpoint_url"], endpoint_url, client)


@pytest.fixture
def queue(sqs: Sqs) -> Queue:
    return sqs.queue()


@pytest.fixture
def fifo(sqs: Sqs) -> Queue:
    return sqs.queue(fifo=True)
