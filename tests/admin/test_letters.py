"""Dead letters through the surface: shown without bodies, one body at a time, and moved back."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from served import Gate, call, connect, create, until

from leasekeeper import Consumer
from leasekeeper.admin import AdminServer
from leasekeeper.cli.desk import CommandLineDesk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.local import LocalSqs

pytest_plugins = ["surface_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quickly")]
TOKEN = "correct horse battery"
CANARY = "canary-6ba1d0"


def ask(server: AdminServer, what: str, **question: Any) -> tuple[int, Any, str]:
    connection = connect(server)
    try:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        body = json.dumps({"process": "self", "consumer": "orders", **question})
        connection.request("POST", f"/api/{what}" if what == "doctor" else f"/api/dead-letters/{what}", body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text), text
    finally:
        connection.close()


@pytest.fixture
def served(sqs: LocalSqs) -> Iterator[AdminServer]:
    """A consumer whose dead-letter queue has two messages, and its surface."""
    options = create(sqs)
    call(sqs, "CreateQueue", QueueName="dead")
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3}
    attributes = {"RedrivePolicy": json.dumps(policy)}
    call(sqs, "SetQueueAttributes", QueueUrl=f"{sqs.endpoint_url}/000000000000/orders", Attributes=attributes)
    for number in range(2):
        call(sqs, "SendMessage", QueueUrl=f"{sqs.endpoint_url}/000000000000/dead", MessageBody=f"{CANARY}-{number}")
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, **options)
    with AdminServer(consumer, address="0", token=TOKEN, desk=CommandLineDesk()) as server:
        consumer.start()
        try:
            yield server
        finally:
            gate.go_on.set()
            consumer.stop().result()


def test_bodies_are_shown_one_by_one_on_request(served: AdminServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "leasekeeper.admin"):
        status, answer, text = ask(served, "peek", count=10)
        assert status == 200
        assert CANARY not in text
        assert [(each["receives"], each["cause"]) for each in answer["messages"]] == [(1, "unknown")] * 2
        assert answer["said"].startswith("2 messages of dead received and 2 given back, hidden for at most")
        names = [each["id"] for each in answer["messages"]]
        bodies = {ask(served, "peek", id=name)[1]["body"] for name in names}
        assert bodies == {f"{CANARY}-0", f"{CANARY}-1"}
        assert ask(served, "peek", id="other")[0] == 404
    assert CANARY not in caplog.text
    assert f"admin: the body of message {names[0]} of orders was shown (asked by 127.0.0.1)" in caplog.messages


def test_the_doctor_says_what_it_found(served: AdminServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "leasekeeper.admin"):
        status, answer, _ = ask(served, "doctor")
    found = {each["topic"]: each for each in answer["findings"]}
    assert (status, found["queue"]["level"]) == (200, "ok")
    assert {"credentials", "endpoint", "permissions", "redrive policy"} <= set(found)
    assert found["redrive policy"]["commands"] or found["redrive policy"]["level"] == "ok"
    assert f"admin: queue orders was examined: {answer['said']} (asked by 127.0.0.1)" in caplog.messages


def test_redrive_moves_them_back(served: AdminServer) -> None:
    status, answer, _ = ask(served, "redrive")
    assert (status, answer["said"]) == (200, "SQS moves about 2 messages from dead to orders")
    until(lambda: ask(served, "redrive")[1]["said"] == "dead is empty: there is nothing to move")


def test_what_cannot_be_done_is_said(sqs: LocalSqs) -> None:
    consumer = Consumer("orders", Gate().waiting, **create(sqs))
    with AdminServer(consumer, address="0", token=TOKEN, desk=CommandLineDesk()) as server:
        status, answer, _ = ask(server, "peek")
        assert (status, answer["done"]) == (409, False)
        assert "is not a dead-letter queue and has none" in answer["said"]
        assert ask(server, "peek", consumer="other")[0] == 404
    with AdminServer(consumer, address="0", token=TOKEN) as server:
        assert ask(server, "redrive")[0] == 501
    with AdminServer(consumer, address="0") as server:
        assert ask(server, "peek")[0] == 403
