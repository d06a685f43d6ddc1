"""The page of the local server: its files, what it shows without receiving, what it does, and whom it refuses."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.local import Broker, LocalSqs, admin
from leasekeeper.local.call_log import CallLog
from leasekeeper.local.http import HttpRequest
from leasekeeper.pages import POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = b"127.0.0.1:9324"
DEAD = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 1})


class Server:
    """A broker with its pages, without a socket."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.broker = Broker(epoch=1000.0)
        self.log = CallLog()

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.runner.run(self.broker.call(operation, request))

    def page(self, path: str, body: Any = None, *, method: str = "GET") -> admin.Page:
        async def ask() -> admin.Page:
            sent = b"" if body is None else json.dumps(body).encode()
            target = admin.ROOT + b"/" + path.encode()
            return admin.answer(
                self.broker,
                self.log,
                HttpRequest(method.encode(), target, b"", sent, close=False, signed=False, host=HOST),
            )

        return self.runner.run(ask())

    def shown(self, path: str) -> Any:
        page = self.page(path)
        assert page.status == 200, page.body
        return json.loads(page.body)

    def act(self, **wanted: Any) -> admin.Page:
        return self.page("do", wanted, method="POST")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with server.runner:
        server.call("CreateQueue", QueueName="dead")
        server.call("CreateQueue", QueueName="orders", Attributes={"RedrivePolicy": DEAD})
        yield server


def test_the_page_and_its_files_come_with_the_policy(server: Server) -> None:
    page, script = server.page(""), server.page("pages/local.js")

    assert (page.status, page.kind) == (200, "text/html; charset=utf-8")
    assert b"pages/local.js" in page.body
    assert f"content-security-policy: {POLICY}\r\n" in page.headers
    assert (script.status, script.kind) == (200, "text/javascript; charset=utf-8")
    assert server.page("pages/__init__.py").status == 404


def test_messages_are_listed_without_receiving_them(server: Server) -> None:
    for body in ("one", "two"):
        server.call("SendMessage", QueueUrl="orders", MessageBody=body)
    server.call("ReceiveMessage", QueueUrl="orders", MaxNumberOfMessages=1, VisibilityTimeout=20)

    server.shown("state?queue=orders")
    shown = server.shown("state?queue=orders")

    orders = next(each for each in shown["queues"] if each["name"] == "orders")
    assert (orders["visible"], orders["in_flight"], orders["delayed"]) == (1, 1, 0)
    assert (orders["dead_letter_queue"], orders["max_receives"]) == ("dead", 1)
    first, second = shown["messages"]["1"], shown["messages"]["2"]
    assert [(each["state"], each["receives"]) for each in (first, second)] == [("in flight", 1), ("visible", 0)]
    assert 19 < first["visible_at"] - shown["now"] <= 20
    assert second["visible_at"] is None


def test_a_body_comes_only_when_it_is_asked_for(server: Server) -> None:
    server.call("SendMessage", QueueUrl="orders", MessageBody="canary")

    shown = server.page("state?queue=orders").body
    asked = server.shown("message?queue=orders&number=1")

    assert b"canary" not in shown
    assert asked["body"] == "canary"
    assert server.page("message?queue=orders&number=2").status == 400


def test_the_page_sends_creates_and_purges_without_being_counted_or_struck_by_faults(server: Server) -> None:
    counted = dict(server.broker.calls)
    server.broker.faults.set(throttle=1.0)

    assert server.act(action="send", queue="orders", body="hello").status == 200
    assert server.act(action="create", queue="new.fifo").status == 200
    assert server.act(action="send", queue="new.fifo", body="hello", group="a").status == 200
    assert [each["visible"] for each in server.shown("state")["queues"]] == [1, 0, 1]
    assert server.act(action="purge", queue="orders").status == 200
    assert [each["visible"] for each in server.shown("state")["queues"]] == [0, 0, 1]
    assert dict(server.broker.calls) == counted


def test_the_page_redrives_dead_letters(server: Server) -> None:
    server.call("SendMessage", QueueUrl="orders", MessageBody="poison")
    for _ in range(2):
        server.call("ReceiveMessage", QueueUrl="orders", VisibilityTimeout=0)
    assert [each["visible"] for each in server.shown("state")["queues"]] == [0, 1]

    assert server.act(action="redrive", queue="dead").status == 200
    assert [each["visible"] for each in server.shown("state")["queues"]] == [1, 0]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"action": "purge", "queue": "nope"}, "no queue 'nope'"),
        ({"action": "burn", "queue": "orders"}, "the actions are send, purge, redrive and create"),
        ({"action": "send", "queue": "orders", "body": ""}, "must contain the parameter MessageBody"),
        ({"action": "create", "queue": "a b"}, "Can only include alphanumeric characters"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(server: Server, wanted: dict[str, str], reason: str) -> None:
    page = server.act(**wanted)

    assert page.status == 400
    assert reason in json.loads(page.body)["error"]


def test_calls_are_written_down_only_while_a_page_asks() -> None:
    log = CallLog()
    assert not log.on

    log.watch()
    call = log.begin("DeleteMessageBatch", {"QueueUrl": "http://127.0.0.1/0/orders", "Entries": [1, 2, 3]})
    assert call is not None
    log.end(call, 200, "", {"Failed": [{"Code": "ReceiptHandleIsInvalid"}]})

    [(number, seen)] = log.newest().items()
    assert number == str(seen.number)
    assert (seen.queue, seen.entries, seen.error) == ("orders", 3, "1 of 3 failed: ReceiptHandleIsInvalid")


def test_a_dead_letter_queue_stands_after_its_source(server: Server) -> None:
    for name, target in (
        ("z", "y"),
        ("y", "z"),
        ("other", "dead"),
    ):  # two that are the dead-letter queues of each other
        server.call("CreateQueue", QueueName=name)
        policy = json.dumps(
            {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{target}", "maxReceiveCount": 1}
        )
        server.call("CreateQueue", QueueName=target)
        server.call("SetQueueAttributes", QueueUrl=name, Attributes={"RedrivePolicy": policy})

    assert [each["name"] for each in server.shown("state")["queues"]] == ["orders", "dead", "other", "z", "y"]


class Reader:
    """Reads the page's stream from a server."""

    def __init__(self, endpoint_url: str, query: str = "") -> None:
        self._lines = urllib.request.urlopen(f"{endpoint_url}/_leasekeeper/stream{query}")
        self.headers = self._lines.headers

    def next(self) -> tuple[str, Any]:
        """The next event: its name and data."""
        name = ""
        while line := self._lines.readline().decode().rstrip("\n"):
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                self._lines.readline()
                return name, json.loads(line.removeprefix("data: "))
        return "", None


def test_the_stream_gives_the_state_then_changes_and_says_that_the_server_ends() -> None:
    with LocalSqs() as server:
        post(server.endpoint_url, {"action": "create", "queue": "orders"})
        reader = Reader(server.endpoint_url, "?queue=orders")
        kind, state = reader.next()
        post(server.endpoint_url, {"action": "send", "queue": "orders", "body": "canary"})
        events = [reader.next()]
        while "messages" not in events[-1][1]:  # a second may have passed before the message was sent
            events.append(reader.next())

    assert reader.headers["content-type"] == "text/event-stream"
    assert (kind, [each["name"] for each in state["queues"]], state["messages"]) == ("state", ["orders"], {})
    assert {name for name, _ in events} == {"patch"}
    assert [(each["state"], each["receives"]) for each in events[-1][1]["messages"].values()] == [("visible", 0)]
    assert "canary" not in json.dumps(events)
    while (last := reader.next())[0] == "patch":
        pass
    assert last == ("bye", {})


def test_the_page_opens_without_the_slash_at_its_end() -> None:
    with LocalSqs() as server, urllib.request.urlopen(f"{server.endpoint_url}/_leasekeeper?queue=a") as answer:
        assert answer.url == f"{server.endpoint_url}/_leasekeeper/?queue=a"
        assert b"<title>" in answer.read()


def test_other_pages_answer_with_a_slash_at_their_end(server: Server) -> None:
    assert server.shown("health/") == server.shown("health")
    assert b"GET /_leasekeeper/orders" in server.page("orders").body


def post(endpoint_url: str, wanted: dict[str, str]) -> None:
    """Do what the page does."""
    request = urllib.request.Request(f"{endpoint_url}/_leasekeeper/do", json.dumps(wanted).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
