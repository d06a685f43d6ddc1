"""Each row of the table in docs/reference/errors.md: what is said, and that nothing is lost.

A test makes the error happen for real, against the built-in SQS over HTTP, and looks its sentence up in the page.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from leasekeeper import (
    ConfigurationError,
    Consumer,
    CredentialsMissing,
    Leasekeeper,
    Message,
    QueueUnusable,
    SqsError,
    Verdict,
)
from leasekeeper.api import Outgoing
from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "errors.md").read_text()


def documented(sentence: object) -> bool:
    """Whether the page quotes this sentence, word for word, between bars or spaces; marks of code do not count."""
    return f" {_plain(str(sentence))} |" in _plain(PAGE)


def _named(sentence: str, identity: str) -> str:
    """The sentence with the page's names for what differs from case to case."""
    return re.sub(r"(by|for) handler \S+:", r"\1 handler <handler>:", sentence.replace(identity, "<id>"))


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


@pytest.fixture(autouse=True)
def _fake_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def sqs() -> Iterator[LocalSqs]:
    with LocalSqs() as server:
        yield server


class Desk:
    """One queue on the local server, and what boto3 sees of it."""

    def __init__(self, sqs: LocalSqs, **attributes: str) -> None:
        self.sqs = sqs
        self.client: Any = boto3.client("sqs", endpoint_url=sqs.endpoint_url)
        self.url: str = self.client.create_queue(QueueName="orders", Attributes=attributes)["QueueUrl"]

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def count(self, *, url: str | None = None) -> tuple[int, int]:
        """Messages visible, and in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def consumer(self, handler: Callable[..., Any], **options: Any) -> Consumer:
        return Consumer("orders", handler, endpoint_url=self.sqs.endpoint_url, **{"poll_grace": 0.05, **options})


@pytest.fixture
def desk(sqs: LocalSqs) -> Desk:
    return Desk(sqs)


async def ship(message: Message[str]) -> None:
    """A handler."""


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition that a thread of Leasekeeper brings about."""
    deadline = threading.Event()
    timer = threading.Timer(seconds, deadline.set)
    timer.start()
    try:
        while not condition():
            assert not deadline.wait(0.005), "the condition did not come about"
    finally:
        timer.cancel()


def _errors(consumer: Consumer) -> int:
    now = consumer.statistics()
    return now.receives.failed if now else 0


def _released(consumer: Consumer) -> int:
    now = consumer.statistics()
    return now.ledger.released if now else 0


# Before anything is started


@pytest.mark.parametrize(
    ("queue", "options"),
    [
        ("my orders", {}),
        (None, {}),
        ("arn:aws:sqs:eu-west-1:123456789012:orders", {"region": "us-east-1"}),
        ("orders", {"concurrency": 0}),
        ("orders", {"concurency": 5}),
        ("orders", {"visibility_timeout": 10, "heartbeat_interval": 10.0}),
        ("orders", {"visibility_timeout": 10, "ack_interval": 10.0}),
        ("orders", {"concurrency": 100, "threads": 2, "thread_queue_depth": 10}),
        ("orders", {"on_exhausted": "halt"}),
        ("orders.fifo", {"fair": True}),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", {"fair": True}),
        ("arn:aws:sqs:eu-west-1:123456789012:orders.fifo", {"fair": True}),
    ],
)
def test_what_cannot_work_is_refused_at_construction(queue: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Consumer(queue, ship, **options)
    assert documented(caught.value)


def none() -> None:
    """A handler without an argument."""


def two(first: str, second: str) -> None:
    """A handler of two arguments."""


async def produce(message: Message[str]) -> Any:
    """A handler that yields."""
    yield message


def unknown(order: Order) -> None:  # type: ignore[name-defined] # noqa: F821 - the name is what is wrong
    """A handler with an annotation that does not exist."""


def test_all_mistakes_in_options_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Leasekeeper(concurency=5, concurrency=0)  # type: ignore[call-arg]
    assert str(caught.value).splitlines() == [
        "unknown option 'concurency'; did you mean 'concurrency'?",
        "concurrency=0: must be a whole number from 1 to 120000",
    ]
    app = Leasekeeper()
    with pytest.raises(ConfigurationError) as caught:
        app.consumer("orders", timeout=5, pollers=0, wait_time="soon")(ship)  # type: ignore[call-arg, arg-type]
    assert [each.partition(":")[0] for each in caught.value.args] == [
        "unknown option 'timeout'; did you mean 'handler_timeout'?",
        "pollers=0",
        "wait_time='soon'",
    ]
    with pytest.raises(ConfigurationError) as caught:
        Consumer("orders", ship, burst=5, retry_base=20, retry_maximum=10)
    assert [each.partition(":")[0] for each in str(caught.value).splitlines()] == [
        "retry_base=20 with retry_maximum=10",
        "burst=5 without rate",
    ]


def test_a_decorator_without_its_queue_is_refused_where_it_stands() -> None:
    """It replaced the handler, and the app had no consumer."""
    decorate: Any = Leasekeeper().consumer
    with pytest.raises(ConfigurationError) as caught:
        decorate(ship)
    assert documented(caught.value)


@pytest.mark.parametrize("handler", [none, two, produce, unknown, 42])
def test_a_handler_of_the_wrong_signature_is_refused_at_construction(handler: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Consumer("orders", handler)
    assert documented(caught.value)


# At the start


def test_no_such_queue_fails_the_start(sqs: LocalSqs) -> None:
    """L18: errors that will not pass fail a start fast and loudly."""
    with pytest.raises(QueueUnusable) as caught:
        Consumer("orders", ship, endpoint_url=sqs.endpoint_url).start()
    assert documented(str(caught.value).replace(f"{sqs.endpoint_url}/", "<endpoint>"))


def test_a_denied_queue_fails_the_start(desk: Desk) -> None:
    """L18: a queue that we may not use fails the start."""
    desk.sqs.faults.set("*", deny=1.0)
    with pytest.raises(QueueUnusable) as caught:
        desk.consumer(ship).start()
    assert documented(caught.value)


def test_no_credentials_fail_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(CredentialsMissing) as caught:
        Consumer("orders", ship).start()
    assert documented(caught.value)


def test_half_of_the_credentials_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsMissing) as caught:
        Consumer("orders", ship).start()
    assert documented(caught.value)


def test_a_profile_that_is_not_there_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "<credentials>")
    monkeypatch.setenv("AWS_CONFIG_FILE", "<config>")
    with pytest.raises(ConfigurationError) as caught:
        Consumer("orders", ship, profile="shop").start()
    assert documented(caught.value)


def test_no_region_fails_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError) as caught:
        Consumer("orders", ship).start()
    assert documented(caught.value)


def test_a_halt_that_the_redrive_policy_would_end_fails_the_start(desk: Desk) -> None:
    arn = desk.sqs.broker.account.arn("dead.fifo")
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    desk.client.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"})
    desk.client.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true", "RedrivePolicy": policy})
    with pytest.raises(ConfigurationError) as caught:
        Consumer("orders.fifo", ship, endpoint_url=desk.sqs.endpoint_url, on_exhausted="halt").start()
    assert documented(caught.value)


def test_a_failed_start_can_be_stopped_and_does_not_start_again(sqs: LocalSqs) -> None:
    consumer = Consumer("orders", ship, endpoint_url=sqs.endpoint_url)
    with pytest.raises(QueueUnusable):
        consumer.start()
    assert consumer.stop().result().received == 0


# While it runs


@pytest.mark.slow
def test_an_undecodable_body_goes_to_the_dead_letter_queue(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """L30: it is copied with its attributes and then deleted; the handler never sees it."""
    dead = desk.client.create_queue(QueueName="dead")["QueueUrl"]
    arn = desk.client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    desk.client.set_queue_attributes(
        QueueUrl=desk.url,
        Attributes={"RedrivePolicy": f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "5"}}'},
    )
    sent = desk.client.send_message(
        QueueUrl=desk.url,
        MessageBody="{not json",
        MessageAttributes={"tenant": {"DataType": "String", "StringValue": "a"}},
    )

    async def ship_decoded(order: dict[str, Any]) -> None:
        raise AssertionError(order)

    consumer = desk.consumer(ship_decoded, ack_interval=0.01)
    with caplog.at_level(logging.WARNING):
        consumer.start()
        until(lambda: desk.count() == (0, 0) and desk.count(url=dead) == (1, 0))
        report = consumer.stop().result()
    assert (report.rejected, report.failed, report.acked) == (1, 0, 1)
    copy = desk.client.receive_message(QueueUrl=dead, MessageAttributeNames=["All"])["Messages"][0]
    assert copy["Body"] == "{not json"
    assert copy["MessageAttributes"]["tenant"]["StringValue"] == "a"
    (said,) = [each.getMessage() for each in caplog.records if "decoded" in each.getMessage()]
    assert documented(_named(said, sent["MessageId"]))


@pytest.mark.slow
def test_an_undecodable_body_without_a_dead_letter_queue_stays(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """L30: it is hidden for the longest back-off and left to the redrive policy, never deleted, never retried hot."""
    desk.put("{not json")

    async def ship_decoded(order: dict[str, Any]) -> None:
        raise AssertionError(order)

    consumer = desk.consumer(ship_decoded, extend_interval=0.0)
    with caplog.at_level(logging.WARNING):
        consumer.start()
        until(lambda: _released(consumer) == 1)
        report = consumer.stop().result()
    assert report.rejected == 1
    assert report.acked == 0
    assert desk.count() == (0, 1)
    (said,) = [each.getMessage() for each in caplog.records if "decoded" in each.getMessage()]
    identity = said.split()[3]
    assert documented(_named(said, identity))


@pytest.mark.slow
def test_a_body_over_the_limit_is_refused_when_it_is_sent(desk: Desk) -> None:
    async def send() -> None:
        client = await SqsClient.connect(ClientSettings(endpoint_url=desk.sqs.endpoint_url))
        try:
            await client.send(desk.url, Outgoing(body="x" * 1_048_577))
        finally:
            await client.close()

    with pytest.raises(SqsError) as caught:
        asyncio.run(send())
    assert caught.value.verdict is Verdict.REFUSED
    assert documented(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["reset", "garbage", "unavailable", "throttle", "deny", "hang"])
def test_receives_that_fail_are_retried_and_recover(desk: Desk, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    """L15, L16: whatever a server does, polling goes on; when it is well again, so are we."""
    handled: list[str] = []

    async def ship_noted(message: Message[str]) -> None:
        handled.append(message.body)

    consumer = desk.consumer(ship_noted, wait_time=0.1)
    with caplog.at_level(logging.WARNING):
        consumer.start()
        desk.sqs.faults.set("ReceiveMessage", **{fault: 1.0})
        until(lambda: _errors(consumer) > 0)
        if fault == "deny":
            until(lambda: not consumer.healthy)  # the call was counted a moment before its poller hears of it
        desk.sqs.faults.clear()
        desk.put("tea")
        if fault != "deny":  # which is retried only every ten seconds or so
            until(lambda: handled == ["tea"])
        report = consumer.stop().result()
    said = [each.getMessage() for each in caplog.records if "a receive failed" in each.getMessage()]
    assert said
    general = re.sub(r"next try in [\d.]+ s", "next try in <n> s", said[0])
    assert documented(general.replace(f"{desk.sqs.endpoint_url}/", "<endpoint>"))
    assert desk.count() == ((1, 0) if fault == "deny" else (0, 0))
    assert report.unsettled == 0


@pytest.mark.slow
def test_a_handler_that_never_returns_is_cancelled_and_released(desk: Desk) -> None:
    """L22: at the deadline coroutines are cancelled and their messages released."""
    begun = threading.Event()
    desk.put("tea")

    async def never(message: Message[str]) -> None:
        begun.set()
        await asyncio.Event().wait()

    consumer = desk.consumer(never, drain_timeout=0.05)
    consumer.start()
    assert begun.wait(60)
    report = consumer.stop().result()
    assert report.released == 1
    assert desk.count() == (1, 0)


@pytest.mark.slow
def test_a_thread_that_never_returns_is_left_and_not_released(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """L22: a thread cannot be ended, so its message is not given back: no second copy runs knowingly."""
    begun, end = threading.Event(), threading.Event()
    desk.put("tea")

    def never(message: Message[str]) -> None:
        begun.set()
        end.wait()

    consumer = desk.consumer(never, drain_timeout=0.05)
    with caplog.at_level(logging.WARNING):
        consumer.start()
        assert begun.wait(60)
        report = consumer.stop().result()
    end.set()
    assert report.released == 0
    assert report.unsettled == 1
    assert desk.count() == (0, 1)
    (said,) = [each.getMessage() for each in caplog.records if "still runs" in each.getMessage()]
    assert documented(said)
    (error,) = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert error.endswith("1 message was received and not settled; it comes again")


@pytest.mark.slow
def test_two_stops_at_once_are_one(desk: Desk) -> None:
    desk.put("tea")
    consumer = desk.consumer(ship)
    consumer.start()
    reports: list[Any] = []
    threads = [threading.Thread(target=lambda: reports.append(consumer.stop().result())) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(reports) == 2
    assert reports[0] == reports[1]


@pytest.mark.slow
def test_a_closed_application_loop_stops_the_consumer(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can be run any more: to go on receiving would burn the messages' receive counts."""
    consumer = desk.consumer(ship)

    async def begin() -> None:
        await consumer.start()

    asyncio.run(begin())  # and its loop is closed
    with caplog.at_level(logging.ERROR):
        desk.put("tea")
        until(lambda: "CLOSED" in repr(consumer))
    (said,) = [each.getMessage() for each in caplog.records if "closed" in each.getMessage()]
    assert documented(said)
    assert consumer.stop().result().released == 1
    assert desk.count() == (1, 0)
