"""The state and its stream over real sockets: a consumer, a local SQS, and readers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from served import Gate, Reader, call, create, get, until

from leasekeeper import Consumer
from leasekeeper.admin import AdminServer, watch
from leasekeeper.admin.effective import effective_options
from leasekeeper.api import Credentials

if TYPE_CHECKING:
    from leasekeeper.local import LocalSqs

pytest_plugins = ["surface_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quickly")]


def test_the_stream_tells_what_the_state_is(sqs: LocalSqs) -> None:
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, **create(sqs, "a", "b"))
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        try:
            (key,) = json.loads(get(server, "/api/state")[1])["processes"]
            with Reader(server, f"process={key}&consumer=orders") as reader:
                assert reader.answer.headers["content-type"].startswith("text/event-stream")
                assert [reader.read(), reader.read()] == ["state", "patch"]
                reader.until(lambda: reader.consumer["running"] == 2)
                process, found = reader.process, reader.consumer
                assert (process["state"], process["reason"], process["read_only"]) == ("RUNNING", "", True)
                assert (found["queue"], found["state"], found["totals"]["received"]) == ("orders", "RUNNING", 2)
                held = found["detail"]["in_hand"]
                assert [row[0] for row in held.values()] == ["running", "running"]
                for _, received, started, lease_end, attempt, group in held.values():
                    assert time.time() - 60 < received <= started < time.time() < lease_end
                    assert (attempt, group) == (1, None)
                gate.go_on.set()
                reader.until(lambda: not reader.consumer["detail"]["in_hand"])
                reader.until(lambda: reader.consumer["totals"]["done"] == 2)
        finally:
            gate.go_on.set()
            consumer.stop().result()


def test_streams_end_at_once_when_the_server_stops(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are not read."""
    monkeypatch.setattr("leasekeeper.admin.server.LONGEST_STOP", 60.0)
    monkeypatch.setattr("leasekeeper.admin.server.REQUEST_GRACE", 40)
    consumer = Consumer("orders", Gate().waiting, **create(sqs))
    with AdminServer(consumer, address="0") as server:
        readers = [Reader(server) for _ in range(3)]
        for reader in readers:
            assert reader.read() == "state"
        began = time.monotonic()
    assert time.monotonic() - began < 20  # half of what requests get to finish
    for reader in readers:
        with reader:
            while (last := reader.read()) == "patch":
                pass
            assert last == "bye"
            assert reader.read() == ""


def test_receives_that_fail_are_told_before_the_consumer_counts_as_unhealthy(sqs: LocalSqs) -> None:
    consumer = Consumer("orders", Gate().waiting, wait_time=1, **create(sqs))
    with AdminServer(consumer, address="0") as server:
        consumer.start()
        try:
            with Reader(server) as reader:
                reader.until(lambda: reader.process["state"] == "RUNNING")
                began = reader.process["since"]
                sqs.faults.set("ReceiveMessage", unavailable=1.0)
                reader.until(lambda: bool(reader.process["reason"]))
                assert reader.process["state"] == "RUNNING"
                assert reader.process["reason"].startswith("no receive succeeds: ")
                assert "503" in reader.process["reason"]
                assert reader.process["since"] >= began
        finally:
            sqs.faults.clear()
            consumer.stop().result()


def test_a_second_start_of_the_consumer_is_seen(sqs: LocalSqs) -> None:
    gate = Gate()
    gate.go_on.set()
    consumer = Consumer("orders", gate.waiting, **create(sqs, "a"))
    with AdminServer(consumer, address="0") as server, Reader(server) as reader:
        reader.until(lambda: reader.process["state"] == "STARTING")
        assert reader.consumer["reason"] == "it was not started yet"
        for _ in range(2):
            consumer.start()
            reader.until(lambda: reader.process["state"] == "RUNNING")
            consumer.stop().result()
            reader.until(lambda: reader.process["state"] == "STOPPED")


def test_a_backlog_is_asked_for_again_soon_when_receives_come_back_empty(
    sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasekeeper.admin.watch.SOON", 0.0)
    gate = Gate()
    options = create(sqs, *map(str, range(9)))
    consumer = Consumer("orders", gate.waiting, concurrency=1, prefetch=0, wait_time=1, **options)
    with AdminServer(consumer, address="0", queue_interval=3600) as server, Reader(server) as reader:
        consumer.start()
        try:
            reader.until(lambda: (found := reader.consumer.get("backlog")) and found["visible"] > 0)
            gate.go_on.set()
            reader.until(lambda: reader.consumer["backlog"]["visible"] == 0)
        finally:
            gate.go_on.set()
            consumer.stop().result()


def test_the_backlog_and_the_dead_letters_are_asked_of_sqs(sqs: LocalSqs) -> None:
    gate = Gate()
    options = create(sqs, *map(str, range(20)))
    call(sqs, "CreateQueue", QueueName="dead")
    call(sqs, "SendMessage", QueueUrl=f"{sqs.endpoint_url}/000000000000/dead", MessageBody="x")
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3}
    url = f"{sqs.endpoint_url}/000000000000/orders"
    call(sqs, "SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
    consumer = Consumer("orders", gate.waiting, concurrency=1, prefetch=0, **options)
    with AdminServer(consumer, address="0", queue_interval=0.01) as server, Reader(server) as reader:
        consumer.start()
        try:
            reader.until(lambda: (found := reader.consumer.get("backlog")) and found["in_flight"] > 0)
            backlog = reader.consumer["backlog"]
            assert backlog["visible"] + backlog["in_flight"] == 20
            assert (backlog["delayed"], backlog["dead_letters"]) == (0, 1)
            assert reader.state["queues"]["orders"]["backlog"]["dead_letters"] == 1
            reader.until(lambda: "trend" in reader.consumer["backlog"])
        finally:
            gate.go_on.set()
            consumer.stop().result()


@dataclass
class Reporter:
    """Middleware of a user."""

    password: str = "secret"

    async def __call__(self, message: Any, call_next: Any) -> Any: ...


async def plain(_: object, message: Any, call_next: Any) -> Any: ...


def test_options_say_where_they_come_from_and_show_no_secrets() -> None:
    secret = Credentials(access_key="AKIA", secret_key="very-secret")
    consumer = Consumer(
        "orders", Gate().waiting, wait_time=3, credentials=secret, middleware=[Reporter(), partial(plain, secret)]
    )
    places = {
        "concurrency": "--concurrency",
        "prefetch": "LEASEKEEPER_PREFETCH",
        "dead_letter_queue": "pyproject.toml [x]",
    }
    given = {"concurrency": 7, "prefetch": 2, "dead_letter_queue": "http://user:password@127.0.0.1:1/dead"}
    consumer.configure(given, places)
    options = {each["name"]: each for each in effective_options(consumer)}
    found = {name: (options[name]["value"], options[name]["source"]) for name in (*places, "wait_time", "rate")}
    assert found == {
        "concurrency": ("7", "flag"),
        "prefetch": ("2", "environment"),
        "dead_letter_queue": ("http://***@127.0.0.1:1/dead", "file"),
        "wait_time": ("3", "code"),
        "rate": ("", "default"),
    }
    assert options["concurrency"]["default"] == "20"
    assert options["wait_time"]["unit"] == "s"
    assert options["credentials"]["value"] == "(Credentials)"
    assert options["middleware"]["value"] == "(Reporter), (partial)"
    assert "secret" not in json.dumps(list(options.values())).replace("secret_key", "")


def test_counts_are_of_the_moment_of_the_messages_beside_them(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the last look, after which a message may have come or ended."""
    monkeypatch.setattr(watch, "EVERY", 1000.0)
    gate = Gate()
    consumer = Consumer("orders", gate.waiting, wait_time=1, poll_grace=0, **create(sqs, "a"))

    def counts() -> tuple[int, int]:
        state = json.loads(get(server, "/api/state?process=self&consumer=orders")[1])
        (process,) = state["processes"].values()
        found = process["consumers"]["orders"]
        return found["running"], found["detail"]["in_hand_total"]

    with AdminServer(consumer, address="0") as server:
        get(server, "/api/state")  # the only look
        consumer.start()
        try:
            assert gate.started.wait(30)
            until(lambda: counts() == (1, 1))
        finally:
            gate.go_on.set()
            consumer.stop().result()
