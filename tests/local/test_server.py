"""The server over real sockets, called by boto3 and with raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.parsers import create_parser

from leasekeeper.errors import ConfigurationError
from leasekeeper.local import Broker, LocalServer, LocalSqs, Refusal
from leasekeeper.local.s3 import S3Object

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

UNSUPPORTED = "AWS.SimpleQueueService.UnsupportedOperation"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalSqs]:
    with LocalSqs() as running:
        yield running


@pytest.fixture
def sqs(server: LocalSqs) -> Iterator[LocalSqs]:
    server.calls.clear()
    yield server
    server.faults.clear()


@pytest.fixture(scope="module")
def shared_client(server: LocalSqs) -> Iterator[Any]:
    """One for all tests, because boto3 takes 15 ms to make one."""
    made = new_client(server.endpoint_url)
    yield made
    made.close()


@pytest.fixture
def client(sqs: LocalSqs, shared_client: Any) -> Any:
    return shared_client


@pytest.fixture
def url(client: Any, request: pytest.FixtureRequest) -> str:
    made: str = client.create_queue(QueueName=f"q{abs(hash(request.node.name))}")["QueueUrl"]
    return made


def new_client(endpoint_url: str, **options: Any) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, **options),
    )


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A raw connection."""

    def __init__(self, endpoint_url: str) -> None:
        host, _, port = endpoint_url.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def call(self, operation: str, body: bytes = b"{}", *headers: str) -> Answer:
        self.send(operation, body, *headers)
        return self.answer()

    def send(self, operation: str, body: bytes = b"{}", *headers: str) -> None:
        lines = ["POST / HTTP/1.1", f"X-Amz-Target: AmazonSQS.{operation}", f"Content-Length: {len(body)}", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def answer(self) -> Answer:
        answer = self.head()
        return answer._replace(body=self.file.read(int(answer.headers.get("content-length", 0))))

    def head(self) -> Answer:
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip().decode()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return Answer(status, headers, b"")


@pytest.fixture
def wire(sqs: LocalSqs) -> Iterator[Wire]:
    with Wire(sqs.endpoint_url) as connected:
        yield connected


def test_a_message_through_boto3_and_back(client: Any, url: str) -> None:
    attributes = {"b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
    sent = client.send_message(QueueUrl=url, MessageBody="grüß dich", MessageAttributes=attributes)
    (message,) = client.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    assert message["Body"] == "grüß dich"
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert "Messages" not in client.receive_message(QueueUrl=url)


def test_an_error_raises_the_exception_of_boto3(client: Any) -> None:
    with pytest.raises(client.exceptions.QueueDoesNotExist) as caught:
        client.get_queue_url(QueueName="none")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert caught.value.response["Error"]["Type"] == "Sender"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_void_operations_answer_with_an_empty_body(wire: Wire, url: str) -> None:
    answer = wire.call("PurgeQueue", json.dumps({"QueueUrl": url}).encode())
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "application/x-amz-json-1.0"
    assert answer.headers["x-amzn-requestid"]


def test_the_trace_header_of_a_send_arrives_as_a_system_attribute(wire: Wire, url: str) -> None:
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    entries = {"Entries": [{"Id": "0", "MessageBody": "b"}]}
    for operation, members in (("SendMessage", {"MessageBody": "a"}), ("SendMessageBatch", entries)):
        body = json.dumps({"QueueUrl": url, **members}).encode()
        assert wire.call(operation, body, f"X-Amzn-Trace-Id: {trace}").status == 200
    receive = {"QueueUrl": url, "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["AWSTraceHeader"]}
    messages = json.loads(wire.call("ReceiveMessage", json.dumps(receive).encode()).body)["Messages"]
    assert [message["Attributes"] for message in messages] == [{"AWSTraceHeader": trace}] * 2


def test_an_empty_receive_answers_with_an_empty_object(wire: Wire, url: str) -> None:
    assert wire.call("ReceiveMessage", json.dumps({"QueueUrl": url}).encode()).body == b"{}"


def test_an_error_has_its_type_sentence_and_older_code(wire: Wire) -> None:
    answer = wire.call("DeleteQueue", b'{"QueueUrl": "http://x/000000000000/none"}')
    assert answer.status == 400
    assert answer.headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    assert json.loads(answer.body) == {
        "__type": "com.amazonaws.sqs#QueueDoesNotExist",
        "message": "The specified queue does not exist.",
    }


@pytest.mark.parametrize(
    ("operation", "body", "status", "code"),
    [
        ("MakeCoffee", b"{}", 400, "InvalidAction"),
        ("ListQueues", b"no json", 400, "MalformedInput"),
        ("ListQueues", b"[]", 400, "MalformedInput"),
        ("ListQueues", b'"\xff"', 400, "MalformedInput"),
        ("ListQueues", b'{"a":' * 100_000, 400, "MalformedInput"),
        ("ListQueues", b'{"a": "\\ud800"}', 400, "MalformedInput"),
        ("SendMessage", b"", 400, "AWS.SimpleQueueService.NonExistentQueue"),
        ("CreateQueue", b"", 400, "MissingParameter"),
    ],
)
def test_an_invalid_request_is_answered_and_the_connection_stays_open(
    wire: Wire, operation: str, body: bytes, status: int, code: str
) -> None:
    answer = wire.call(operation, body)
    assert (answer.status, answer.headers["x-amzn-query-error"]) == (status, f"{code};Sender")
    assert wire.call("ListQueues").status == 200


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_bytes_that_are_not_http_are_answered_with_400_and_the_server_goes_on(sqs: LocalSqs, nonsense: bytes) -> None:
    with Wire(sqs.endpoint_url) as wire:
        wire.socket.sendall(nonsense)
        assert wire.answer().status == 400
        assert wire.file.read() == b""
    with Wire(sqs.endpoint_url) as wire:
        assert wire.call("ListQueues").status == 200


def test_a_client_that_uses_https_fails_at_once(sqs: LocalSqs) -> None:
    host, _, port = sqs.endpoint_url.removeprefix("http://").partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        pytest.raises(ssl.SSLError, match=r"WRONG_VERSION_NUMBER|wrong version number"),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


def test_a_body_of_tiny_chunks_holds_up_no_other_client(sqs: LocalSqs, wire: Wire) -> None:
    head = b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Wire(sqs.endpoint_url) as other:
        with contextlib.suppress(ConnectionError):
            wire.socket.sendall(head + b"1\r\nx\r\n" * 1_400_000)
        assert other.call("ListQueues").status == 200


def test_a_client_that_reads_no_answers_gets_a_limited_number(sqs: LocalSqs, client: Any, wire: Wire) -> None:
    for at in range(200):
        client.create_queue(QueueName=f"many-{at}")
    call = b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: 2\r\n\r\n{}"
    wire.socket.sendall(call * 5_000)
    with Wire(sqs.endpoint_url) as other:
        assert other.call("ListQueues").status == 200
        assert sqs.calls["ListQueues"] < 4_000
    for at in range(200):
        client.delete_queue(QueueUrl=f"many-{at}")


def test_many_requests_sent_ahead_are_all_answered(sqs: LocalSqs, wire: Wire) -> None:
    call = b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: 2\r\n\r\n{}"
    wire.socket.sendall(call * 500)
    assert all(wire.answer().status == 200 for _ in range(500))
    assert sqs.calls["ListQueues"] == 500


async def answer_of(server: LocalServer, data: bytes) -> bytes:
    """Everything that the server sends before it closes the connection."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "part",
    [
        b"P",
        b"POST / HTTP/1.1\r\nContent-Le",
        b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n{",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_request_that_stops_half_way_is_ended_by_a_time_out(part: bytes) -> None:
    async def story() -> None:
        server = LocalServer(Broker(), request_timeout=0.05)
        await server.open()
        idle, writer = await asyncio.open_connection(server.host, server.port)
        assert (await answer_of(server, part)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        writer.write(b"GET /_leasekeeper/health HTTP/1.1\r\n\r\n")  # no request had begun here
        assert await idle.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await server.close()

    asyncio.run(story())


def test_a_connection_beyond_the_limit_is_refused_until_another_closes() -> None:
    async def story() -> None:
        server = LocalServer(Broker(), most_connections=1)
        await server.open()
        health = b"GET /_leasekeeper/health HTTP/1.1\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection(server.host, server.port)
        answer = await answer_of(server, b"")
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"ServiceUnavailable;Receiver" in answer
        writer.write(health)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()
        assert (await answer_of(server, health)).startswith(b"HTTP/1.1 200 OK\r\n")
        await server.close()

    asyncio.run(story())


def test_the_limit_on_connections_leaves_files_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    assert LocalServer(Broker())._front.most_connections == 960
    assert LocalServer(Broker(), most_connections=5)._front.most_connections == 5
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert LocalServer(Broker())._front.most_connections == 4_096


@pytest.mark.parametrize("path", ["/", "/_leasekeeper/health", "/_leasekeeper/nothing"])
def test_head_is_answered_like_get_without_the_body(wire: Wire, path: str) -> None:
    heads = []
    for method in ("GET", "HEAD", "GET"):
        wire.socket.sendall(f"{method} {path} HTTP/1.1\r\n\r\n".encode())
        answer = wire.head()
        heads.append((answer.status, answer.headers["content-length"]))
        if method == "GET":
            assert len(wire.file.read(int(answer.headers["content-length"]))) > 0
    assert len(set(heads)) == 1


@pytest.mark.parametrize(
    ("request_line", "body", "code", "sentence"),
    [
        ("POST / HTTP/1.1", "Action=SendMessage&Version=2012-11-05", UNSUPPORTED, "supports only the JSON protocol"),
        ("GET /000000000000/q?Action=ReceiveMessage HTTP/1.1", "", UNSUPPORTED, "update the AWS SDK"),
        ("POST / HTTP/1.1", "Action=Foo%3CBar", "InvalidAction", "The action Foo<Bar is not valid for this endpoint."),
        ("POST / HTTP/1.1", "Action=%00%0D%0Ax", "InvalidAction", "The action x is not valid for this endpoint."),
    ],
)
def test_the_query_protocol_is_refused_in_xml_that_its_clients_can_read(
    wire: Wire, request_line: str, body: str, code: str, sentence: str
) -> None:
    wire.socket.sendall(f"{request_line}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    answer = wire.answer()
    assert (answer.status, answer.headers["content-type"]) == (400, "text/xml")
    parsed = create_parser("query").parse({"status_code": 400, "headers": {}, "body": answer.body}, None)
    assert (parsed["Error"]["Type"], parsed["Error"]["Code"]) == ("Sender", code)
    assert sentence in parsed["Error"]["Message"]
    assert parsed["ResponseMetadata"]["RequestId"] == answer.headers["x-amzn-requestid"]


def test_a_browser_is_told_what_server_this_is(wire: Wire) -> None:
    wire.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    answer = wire.answer()
    assert answer.status == 404
    assert answer.body.startswith(b"<UnknownOperationException>")  # recorded from AWS
    assert b"SQS server for development" in answer.body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9324", 200),
        ("[::1]:9324", 200),
        ("[::1]", 200),
        ("localhost:9324", 200),
        ("sqs.localhost", 200),
        ("192.168.1.5:80", 200),
        ("evil.example:9324", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:9324", 403),
    ],
)
def test_a_name_of_another_site_reaches_neither_the_fault_switches_nor_the_queues(
    sqs: LocalSqs, wire: Wire, host: str, status: int
) -> None:
    """DNS rebinding: a web page makes its own name resolve to 127.0.0.1, and then calls it."""
    body = b'{"*": {"deny": 1.0}}'
    head = f"PUT /_leasekeeper/faults HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    wire.socket.sendall(head.encode() + body)
    assert wire.answer().status == status
    assert sqs.faults.active is (status == 200)
    sqs.faults.clear()
    answer = wire.call("ListQueues", b"{}", f"Host: {host}")
    assert answer.status == status
    if status == 403:
        assert answer.headers["x-amzn-query-error"] == "AccessDenied;Sender"
        assert f"The Host header '{host}' does not name this server" in json.loads(answer.body)["message"]


S3_SIGNED = "X-Amz-Credential=k%2F20260101%2Feu-west-1%2Fs3%2Faws4_request"
ANY_REQUEST = [
    ("PUT", "/_leasekeeper/faults", "{}"),
    ("DELETE", "/_leasekeeper/calls", ""),
    ("POST", "/_leasekeeper/do", '{"action": "create", "queue": "made"}'),
    ("GET", "/_leasekeeper/state", ""),
    ("POST", f"/docs?delete&{S3_SIGNED}", "<Delete><Object><Key>kept</Key></Object></Delete>"),
    ("PUT", f"/docs/kept?{S3_SIGNED}", "other"),
    ("GET", f"/docs/kept?{S3_SIGNED}", ""),
    ("POST", "/", "{}"),
]


@pytest.mark.parametrize(("method", "path", "body"), ANY_REQUEST)
def test_a_page_of_another_origin_can_neither_read_nor_write(sqs: LocalSqs, method: str, path: str, body: str) -> None:
    """A form with text/plain, or `fetch` without CORS, needs no leave of the server; then only its headers tell."""

    def status(*headers: str) -> int:
        host = sqs.endpoint_url.removeprefix("http://")
        target = ["X-Amz-Target: AmazonSQS.ListQueues"] if path == "/" else []
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *target, *headers]
        with Wire(sqs.endpoint_url) as wire:
            wire.socket.sendall("\r\n".join([*lines, "", body]).encode())
            return wire.answer().status

    sqs.s3.create("docs")
    kept = sqs.s3.buckets["docs"].setdefault("kept", S3Object(b"1", '"e"', "text/html", datetime.now(UTC)))
    for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
        assert status(f"Origin: {origin}") == 403
    assert status("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors") == 403
    for use in ("script", "style", "empty", "image", "video", "audio"):
        shown = (method, path[:5]) == ("GET", "/docs") and use in {"image", "video", "audio"}
        headers = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", f"Sec-Fetch-Dest: {use}")
        assert status(*headers) == (200 if shown else 403), use
    assert sqs.s3.buckets["docs"] == {"kept": kept}
    assert status("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate") == (200 if method == "GET" else 403)
    assert status(f"Origin: {sqs.endpoint_url}", "Sec-Fetch-Site: same-origin") == 200


def test_a_refused_page_is_told_by_which_name_it_called_the_server(wire: Wire) -> None:
    """A proxy of a development server may have changed the Host header."""
    answer = wire.call("ListQueues", b"{}", "Host: 127.0.0.1:9324\r\nOrigin: http://localhost:5173")
    assert json.loads(answer.body)["message"] == (
        "A page of 'http://localhost:5173' may not use this server, which it calls as '127.0.0.1:9324'. A proxy "
        "between them must leave the Host header as it is."
    )


def test_an_object_that_is_a_page_is_no_page_of_the_server(sqs: LocalSqs, wire: Wire) -> None:
    sqs.s3.create("pages")
    sqs.s3.buckets["pages"]["page"] = S3Object(b"<script>", '"e"', "text/html", datetime.now(UTC))
    wire.socket.sendall(f"GET /pages/page?{S3_SIGNED} HTTP/1.1\r\n\r\n".encode())
    assert wire.answer().headers["content-security-policy"] == "sandbox"


def test_a_server_for_other_machines_may_have_any_name() -> None:
    with LocalSqs(anywhere=True) as sqs, Wire(sqs.endpoint_url) as wire:
        wire.socket.sendall(b"GET /_leasekeeper/health HTTP/1.1\r\nHost: sqs:9324\r\n\r\n")
        assert wire.answer().status == 200


def test_requests_sent_ahead_are_answered_in_their_order(wire: Wire, url: str) -> None:
    poll = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 1}).encode()
    wire.send("ReceiveMessage", poll)
    wire.send("ListQueues")
    started = time.monotonic()
    assert wire.answer().body == b"{}"
    assert time.monotonic() - started > 0.9
    assert b"QueueUrls" in wire.answer().body


def test_a_body_in_chunks(wire: Wire) -> None:
    head = b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.socket.sendall(head + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
    assert wire.answer().status == 200


def test_a_client_that_expects_100_continue_gets_it(wire: Wire) -> None:
    head = "POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    wire.socket.sendall(head.encode())
    assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n"
    wire.file.readline()
    wire.socket.sendall(b"{}")
    assert wire.answer().status == 200


def test_the_connection_closes_when_the_client_asks_for_it(wire: Wire) -> None:
    answer = wire.call("ListQueues", b"{}", "Connection: close")
    assert answer.headers["connection"] == "close"
    assert wire.file.read() == b""


def test_a_mebibyte_is_sent_and_received(client: Any, url: str) -> None:
    client.send_message(QueueUrl=url, MessageBody="é" * 524_288)
    assert len(client.receive_message(QueueUrl=url)["Messages"][0]["Body"]) == 524_288


def test_a_send_ends_a_long_poll_at_once(client: Any, sqs: LocalSqs, url: str) -> None:
    with Wire(sqs.endpoint_url) as poller:
        poller.send("ReceiveMessage", json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode())
        time.sleep(0.05)  # the poll should arrive before the send; otherwise the test still passes
        client.send_message(QueueUrl=url, MessageBody="now")
        started = time.monotonic()
        assert b"now" in poller.answer().body
        assert time.monotonic() - started < 10  # half of the wait


def test_a_client_that_disconnects_during_a_long_poll_loses_no_message(client: Any, sqs: LocalSqs, url: str) -> None:
    with Wire(sqs.endpoint_url) as poller:
        poller.send("ReceiveMessage", json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode())
        until(lambda: sqs.calls["ReceiveMessage"] == 1)
    until(lambda: "0 long polls" in repr(sqs.broker))
    client.send_message(QueueUrl=url, MessageBody="kept")
    assert client.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "kept"


def until(condition: Any) -> None:
    """Wait for a condition that another thread makes true, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition is not true after a minute"
        time.sleep(0.001)


def test_faults_reach_clients_as_http(client: Any, sqs: LocalSqs, url: str) -> None:
    sqs.faults.next("SendMessage", throttle=1.0)
    with pytest.raises(ClientError) as caught:
        client.send_message(QueueUrl=url, MessageBody="x")
    assert caught.value.response["Error"]["Code"] == "RequestThrottled"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    sqs.faults.next("SendMessage", unavailable=1.0)
    with pytest.raises(ClientError) as caught:
        client.send_message(QueueUrl=url, MessageBody="x")
    assert caught.value.response["Error"]["Type"] == "Receiver"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    for switch in ("reset", "lose_by_reset"):
        sqs.faults.next("SendMessage", **{switch: 1.0})  # type: ignore[arg-type] # the switch is not `times`
        with pytest.raises(ConnectionClosedError):
            client.send_message(QueueUrl=url, MessageBody=switch)
    (message,) = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert message["Body"] == "lose_by_reset"


def test_faults_of_garbage_and_of_no_answer(sqs: LocalSqs, wire: Wire, url: str) -> None:
    body = json.dumps({"QueueUrl": url}).encode()
    sqs.faults.next("ReceiveMessage", garbage=1.0)
    garbage = wire.call("ReceiveMessage", body)
    assert garbage.status == 200
    with pytest.raises(ValueError):
        json.loads(garbage.body)
    sqs.faults.next("ReceiveMessage", hang=1.0)
    impatient = new_client(sqs.endpoint_url, read_timeout=0.1)
    with pytest.raises(ReadTimeoutError):
        impatient.receive_message(QueueUrl=url)
    impatient.close()
    assert wire.call("ReceiveMessage", body).body == b"{}"


def test_a_defect_of_the_server_is_answered_and_logged(
    sqs: LocalSqs, wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        raise ZeroDivisionError("not thought of")

    monkeypatch.setattr(sqs.broker.account, "call", broken)
    for _ in range(2):  # first answered at once, then by a task
        answer = wire.call("ListQueues")
        assert (answer.status, answer.headers["x-amzn-query-error"]) == (500, "InternalFailure;Receiver")
        sqs.faults.set("ListQueues", latency=0.001)
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def page(sqs: LocalSqs, method: str, name: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{sqs.endpoint_url}/_leasekeeper/{name}", data, method=method)
    with contextlib.closing(_open(request)) as answer:
        return answer.status, json.load(answer)


def _open(request: urllib.request.Request) -> Any:
    try:
        return urllib.request.urlopen(request, timeout=5)
    except urllib.error.HTTPError as error:
        return error


def test_health_calls_and_faults_have_pages(sqs: LocalSqs, client: Any, url: str) -> None:
    assert page(sqs, "GET", "health")[1]["status"] == "running"
    sqs.calls.clear()
    client.receive_message(QueueUrl=url)
    assert page(sqs, "GET", "calls") == (200, {"ReceiveMessage": 1})
    assert page(sqs, "DELETE", "calls") == (200, {})
    wanted = {"dead_polls": True, "SendMessage": {"throttle": 0.5, "latency": [0.1, 0.2]}}
    assert page(sqs, "PUT", "faults", wanted) == (200, wanted)
    assert sqs.faults.dead_polls
    assert page(sqs, "GET", "faults") == (200, wanted)
    assert page(sqs, "DELETE", "faults") == (200, {"dead_polls": False})
    assert not sqs.faults.active


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"MakeCoffee": {}}, "no operation 'MakeCoffee'"),
        ({"*": {"explode": 1}}, "no switch 'explode'"),
        ({"*": 1}, "give an object of switches"),
        ({"*": {"times": 3}}, "no switch 'times'"),
        ({"*": {"operation": 1, "self": 1}}, "no switch 'operation'"),
        ([], "Expected `object`"),
        ({"dead_polls": "yes"}, "dead_polls: give true or false"),
    ],
)
def test_invalid_faults_are_refused_and_change_nothing(sqs: LocalSqs, body: Any, message: str) -> None:
    sqs.faults.set("SendMessage", throttle=1.0)
    status, answer = page(sqs, "PUT", "faults", body)
    assert status == 400
    assert message in answer["error"]
    assert list(sqs.faults.standing()) == ["SendMessage"]
    assert page(sqs, "GET", "nothing")[0] == 404


def test_credentials_can_be_required() -> None:
    with LocalSqs(require_credentials=True) as sqs, Wire(sqs.endpoint_url) as wire:
        refused = wire.call("ListQueues")
        assert (refused.status, refused.headers["x-amzn-query-error"]) == (403, "AccessDenied;Sender")
        assert wire.call("ListQueues", b"{}", "Authorization: AWS4-HMAC-SHA256 anything").status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_only_loopback_is_allowed_by_default(host: str) -> None:
    with pytest.raises(ConfigurationError, match="can be reached from other machines"):
        LocalSqs(host=host)
    LocalServer(Broker(), host=host, anywhere=True)


def test_it_starts_and_stops_many_times_and_stopping_twice_is_fine() -> None:
    before = threading.active_count()
    for _ in range(10):
        sqs = LocalSqs()
        sqs.stop()
        sqs.start()
        with Wire(sqs.endpoint_url) as wire:
            assert wire.call("ListQueues").status == 200
            sqs.stop()
            sqs.stop()
    assert threading.active_count() == before


def test_a_port_that_is_taken_is_an_error_at_start(sqs: LocalSqs) -> None:
    port = int(sqs.endpoint_url.rpartition(":")[2])
    with pytest.raises(OSError):
        LocalSqs(port=port).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_prints_its_address_and_ends_with_status_0(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "leasekeeper", "local", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        endpoint_url = process.stdout.readline().partition(" at ")[2].partition(". ")[0]
        with Wire(endpoint_url) as wire:
            url = json.loads(wire.call("CreateQueue", b'{"QueueName": "q"}').body)["QueueUrl"]
            assert url == f"{endpoint_url}/000000000000/q"
            wire.send("ReceiveMessage", json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode())
            process.send_signal(number)
            _, errors = process.communicate(timeout=5)
        assert (process.returncode, errors) == (0, "")


def test_a_server_that_starts_again_repeats_no_message_ids() -> None:
    """A consumer that is still running would take a new message with an old id for a duplicate."""
    ids = []
    for _ in range(2):
        with LocalSqs() as sqs:
            client = boto3.client(
                "sqs",
                endpoint_url=sqs.endpoint_url,
                region_name="eu-west-1",
                aws_access_key_id="fake",
                aws_secret_access_key="fake",
            )
            url = client.create_queue(QueueName="orders")["QueueUrl"]
            ids.append(client.send_message(QueueUrl=url, MessageBody="x")["MessageId"])
    assert ids[0] != ids[1]


def test_calls_are_made_without_a_client() -> None:
    sqs = LocalSqs()
    with pytest.raises(RuntimeError, match="does not run: use `with LocalSqs"):
        sqs.call("ListQueues")
    with sqs:
        url = sqs.call("CreateQueue", QueueName="orders")["QueueUrl"]
        sqs.call("SendMessage", QueueUrl=url, MessageBody="a")
        assert [each.content.body for each in sqs.on_loop(sqs.broker.account.queues["orders"].contents)] == ["a"]
        with pytest.raises(Refusal, match="does not exist"):
            sqs.call("GetQueueUrl", QueueName="bills")
    with pytest.raises(RuntimeError, match="does not run"):
        sqs.call("ListQueues")
