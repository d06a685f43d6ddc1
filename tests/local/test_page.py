"""The page of the local server: its files, what it shows without receiving, what it does, and whom it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.local import Broker, admin
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

    def page(self, path: str, body: Any = None, *, method: str = "GET", origin: bytes = b"") -> admin.Page:
        async def ask() -> admin.Page:
            sent = b"" if body is None else json.dumps(body).encode()
            target = admin.ROOT + path.encode()
            return admin.answer(
                self.broker,
                self.log,
                HttpRequest(method.encode(), target, b"", sent, close=False, signed=False, host=HOST, origin=origin),
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
    assert [(each["state"], each["receives"]) for each in shown["messages"]] == [("in flight", 1), ("visible", 0)]
    assert 19 < shown["messages"][0]["visible_at"] - shown["now"] <= 20
    assert shown["messages"][1]["visible_at"] is None


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
    assert [each["visible"] for each in server.shown("state")["queues"]] == [0, 1, 1]
    assert server.act(action="purge", queue="orders").status == 200
    assert [each["visible"] for each in server.shown("state")["queues"]] == [0, 0, 1]
    assert dict(server.broker.calls) == counted


def test_the_page_redrives_dead_letters(server: Server) -> None:
    server.call("SendMessage", QueueUrl="orders", MessageBody="poison")
    for _ in range(2):
        server.call("ReceiveMessage", QueueUrl="orders", VisibilityTimeout=0)
    assert [each["visible"] for each in server.shown("state")["queues"]] == [1, 0]

    assert server.act(action="redrive", queue="dead").status == 200
    assert [each["visible"] for each in server.shown("state")["queues"]] == [0, 1]


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


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "do"), ("PUT", "faults"), ("DELETE", "faults"), ("DELETE", "calls")]
)
def test_a_page_of_another_origin_changes_nothing(server: Server, method: str, path: str) -> None:
    server.broker.faults.set(throttle=0.5)
    body = {"action": "purge", "queue": "orders"} if path == "do" else {}

    refused = server.page(path, body, method=method, origin=b"http://evil.example")
    allowed = server.page(path, body, method=method, origin=b"http://" + HOST)

    assert (refused.status, allowed.status) == (403, 200)


def test_calls_are_written_down_only_while_a_page_asks() -> None:
    log = CallLog()
    assert not log.on

    log.watch()
    call = log.begin("DeleteMessageBatch", {"QueueUrl": "http://127.0.0.1/0/orders", "Entries": [1, 2, 3]})
    assert call is not None
    log.end(call, 200, "", {"Failed": [{"Code": "ReceiptHandleIsInvalid"}]})

    [seen] = log.after(0)
    assert (seen.queue, seen.entries, seen.error) == ("orders", 3, "1 of 3 failed: ReceiptHandleIsInvalid")
    assert log.after(seen.number) == []
