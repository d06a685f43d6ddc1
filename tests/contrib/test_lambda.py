"""The handlers of an app under Lambda's event source mapping: golden events, outcomes, order, batches, time."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Batch, ConfigurationError, Consumer, Leasekeeper, LifespanError, Message, Reject, Retries, Retry
from leasekeeper.contrib import lambda_
from leasekeeper.events import HandlersEnded
from leasekeeper.routing import field
from leasekeeper.testing.envelopes import lambda_event, sns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from leasekeeper.contrib.lambda_ import LambdaHandler

GOLDEN = Path(__file__).parent / "golden"


class Context:
    """Lambda's, as far as it is used."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


@pytest.fixture
def make() -> Iterator[Callable[..., LambdaHandler]]:
    made: list[LambdaHandler] = []

    def handler(app: Any, **options: Any) -> LambdaHandler:
        made.append(lambda_.handler(app, **{"calls_sqs": False, **options}))
        return made[-1]

    yield handler
    for each in made:
        each.close()


def failed(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    [name] = answer
    assert name == "batchItemFailures"
    return [each["itemIdentifier"] for each in answer[name]]


def golden(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return event


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_an_event_as_aws_documents_it_is_run_message_by_message(kind: str, make: Callable[..., LambdaHandler]) -> None:
    seen = []

    def plain(message: Message[str]) -> None:
        seen.append((message.id[:8], message.body, message.receive_count, message.queue, message.sent_at))
        if message.attributes:
            assert message.attributes["myAttribute"].value == "myValue"
            raise ValueError

    async def coroutine(message: Message[str]) -> None:
        plain(message)

    app = Leasekeeper(region="us-east-2")
    app.consumer("my-queue")(plain if kind == "def" else coroutine)
    answer = make(app)(golden("lambda_standard"), Context(30_000))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "059f36b4-87a3-44ab-83d2-661975830a7d"}]}
    assert sorted(seen) == [
        ("059f36b4", "Test message.", 1, "my-queue", 1545082649.183),
        ("2e1424d4", "Test message.", 1, "my-queue", 1545082650.636),
    ]


def test_a_fifo_event_as_aws_documents_it(make: Callable[..., LambdaHandler]) -> None:
    seen = []

    async def handle(message: Message[str]) -> None:
        seen.append((message.group_id, message.sequence_number))

    assert failed(make(Consumer("fifo.fifo", handle, region="us-east-2"))(golden("lambda_fifo"), None)) == []
    assert seen == [("1", 18849496460467696128)]


def test_bodies_envelopes_routes_and_lifespan_are_those_of_the_app(make: Callable[..., LambdaHandler]) -> None:
    story = []

    @asynccontextmanager
    async def lifespan(_: Leasekeeper) -> AsyncIterator[list[str]]:
        story.append("open")
        yield story
        story.append("close")

    app = Leasekeeper(lifespan=lifespan, region="eu-west-1")

    @app.consumer("orders", when=field("kind") == "paid", envelope="sns")
    async def paid(order: dict[str, Any], log: list[str]) -> None:
        log.append(f"paid {order['id']}")

    @app.consumer("orders", envelope="sns")
    async def other(order: dict[str, Any], message: Message[dict[str, Any]]) -> None:
        story.append(f"other {order['id']} {message.envelopes[0].topic_arn[-6:]}")

    handler = make(app)
    event = lambda_event(sns({"kind": "paid", "id": 1}), sns({"kind": "new", "id": 2}), "no envelope")
    assert failed(handler(event)) == ["message-2"]
    assert failed(handler(lambda_event(sns({"kind": "paid", "id": 3})))) == []
    assert story == ["open", "paid 1", "other 2 orders", "paid 3"], "it is opened once, and stays open"
    handler.close()
    assert story[-1] == "close"


def test_what_a_handler_says_decides(make: Callable[..., LambdaHandler], caplog: pytest.LogCaptureFixture) -> None:
    async def handle(message: Message[str]) -> object:
        match message.body:
            case "retry":
                return Retry(after=60)
            case "reject":
                raise Reject("no such customer")
            case "raise":
                raise ValueError
            case "ack":
                assert await message.ack() is not None
                raise ValueError
            case "again":
                message.retry(5)
            case "withhold":
                message.withhold()
        return None

    bodies = ("done", "retry", "reject", "raise", "ack", "again", "withhold")
    numbers = failed(make(Consumer("orders", handle, region="eu-west-1"))(lambda_event(*bodies)))
    assert [bodies[int(each.removeprefix("message-"))] for each in numbers] == [
        "retry",
        "reject",
        "raise",
        "again",
        "withhold",
    ]
    assert "in Lambda that keeps nothing, so it comes again" in caplog.text
    assert "no such customer" in caplog.text


def test_behind_a_failure_nothing_of_its_group_runs_and_all_of_it_comes_again(
    make: Callable[..., LambdaHandler],
) -> None:
    """L26: the order of a group holds also here."""
    ran = []

    async def handle(message: Message[str]) -> None:
        ran.append(message.body)
        await asyncio.sleep(0)
        if message.body == "a2":
            raise ValueError

    consumer = Consumer("orders.fifo", handle, region="eu-west-1")
    event = lambda_event("a1", "b1", "a2", "a3", "b2", "a4", queue="orders.fifo", groups="abaaba")
    assert failed(make(consumer)(event)) == ["message-2", "message-3", "message-5"]
    assert ran == ["a1", "b1", "a2", "b2"]


@pytest.mark.parametrize("immediate", [0, 2])
@pytest.mark.parametrize("groups", ["one", "several"])
def test_batches_of_a_fifo_queue_keep_the_order_too(
    groups: Any, immediate: int, make: Callable[..., LambdaHandler]
) -> None:
    ran: list[list[str]] = []

    def handle(batch: Batch[str]) -> list[Message[str]]:
        ran.append(batch.bodies)
        return [each for each in batch if each.body == "a2"]

    retries = Retries(immediate=immediate)
    consumer = Consumer("orders.fifo", handle, batch=2, batch_groups=groups, retry=retries, region="eu-west-1")
    event = lambda_event("a1", "a2", "a3", "b1", queue="orders.fifo", groups="aaab")
    assert failed(make(consumer)(event)) == ["message-1", "message-2"]
    assert sorted(ran) == [["a1", "a2"], ["b1"]]


def test_a_batch_handler_that_returns_a_count_fails_all(make: Callable[..., LambdaHandler]) -> None:
    async def handle(numbers: list[int]) -> int:
        return len(numbers)

    consumer = Consumer("orders", handle, batch=4, region="eu-west-1")
    assert failed(make(consumer)(lambda_event(*range(2)))) == ["message-0", "message-1"]


def test_a_batch_handler_gets_batches_and_names_failures(make: Callable[..., LambdaHandler]) -> None:
    sizes: list[int] = []

    async def handle(numbers: list[int]) -> None:
        sizes.append(len(numbers))
        if 3 in numbers:
            raise ValueError

    consumer = Consumer("orders", handle, batch=4, on_batch_error="halves", region="eu-west-1")
    assert failed(make(consumer)(lambda_event(*range(10)))) == ["message-3"]
    assert sizes == [4, 4, 2, 2, 2, 1, 1] or sorted(sizes) == [1, 1, 2, 2, 2, 4, 4]


def test_immediate_retries_run_here(make: Callable[..., LambdaHandler]) -> None:
    attempts = []

    async def handle(message: Message[str]) -> None:
        attempts.append(message.attempt)
        if len(attempts) < 3:
            raise OSError

    consumer = Consumer("orders", handle, retry=Retries(immediate=2), region="eu-west-1")
    assert failed(make(consumer)(lambda_event("x"))) == []
    assert attempts == [1, 2, 3]


def test_no_more_handlers_run_at_once_than_the_option_says(make: Callable[..., LambdaHandler]) -> None:
    running = most = 0

    async def handle(body: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    make(Consumer("orders", handle, concurrency=3, region="eu-west-1"))(lambda_event(*map(str, range(20))))
    assert most == 3


def test_the_time_of_the_function_ends_coroutines(
    make: Callable[..., LambdaHandler], caplog: pytest.LogCaptureFixture
) -> None:
    ended = []

    async def handle(body: str) -> None:
        if body == "slow":
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(body)

    answer = make(Consumer("orders", handle, region="eu-west-1"))(lambda_event("quick", "slow"), Context(1_010))
    assert failed(answer) == ["message-1"]
    assert ended == ["slow"]
    assert "the function's time ends: 1 of 2 messages come again. Raise its timeout" in caplog.text


def test_the_time_of_the_function_does_not_wait_for_threads(make: Callable[..., LambdaHandler]) -> None:
    gate = threading.Event()

    def handle(body: str) -> None:
        gate.wait(30)

    handler = make(Consumer("orders", handle, threads=1, concurrency=2, region="eu-west-1"))
    assert failed(handler(lambda_event("slow", "behind"), Context(1_010))) == ["message-0", "message-1"]
    gate.set()


def test_a_handler_timeout_holds_for_functions_too(make: Callable[..., LambdaHandler]) -> None:
    gate, outcomes = threading.Event(), []

    def handle(body: str) -> None:
        gate.wait(30)

    consumer = Consumer("orders", handle, handler_timeout=0.01, region="eu-west-1")
    consumer.subscribe(lambda event: outcomes.extend(event.others), HandlersEnded)
    assert failed(make(consumer)(lambda_event("slow"))) == ["message-0"]
    assert "ran longer than handler_timeout=0.01 s" in str(outcomes[0].outcome.error)
    assert outcomes[0].counted == "timed_out"
    gate.set()


def test_subscribers_and_the_log_hear_of_every_message(
    make: Callable[..., LambdaHandler], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[HandlersEnded] = []

    async def handle(body: str) -> None:
        if body == "bad":
            raise ValueError("no")

    consumer = Consumer("orders", handle, region="eu-west-1")
    consumer.subscribe(heard.append, HandlersEnded)
    with caplog.at_level(logging.INFO):
        make(consumer)(lambda_event("good", "bad"))
    assert [(event.done, [each.counted for each in event.others]) for event in heard] == [(1, []), (0, ["failed"])]
    [record] = [each for each in caplog.records if "failed" in each.getMessage()]
    assert vars(record)["message_id"] == "message-1"


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({}, "this event is not one of SQS ('Records'): let an event source mapping of an SQS queue invoke"),
        ([], "this event is not one of SQS"),
        ({"Records": [{"messageId": "1"}]}, "this event is not one of SQS (Object missing required field"),
        ({"Records": [{**lambda_event("x")["Records"][0], "eventSource": "aws:kinesis"}]}, "it must be of 'aws:sqs'"),
        (lambda_event("x", queue="others"), "this event is of queue others, and there are consumers of orders"),
    ],
)
def test_other_events_are_refused_so_that_lambda_keeps_their_messages(
    event: Any, sentence: str, make: Callable[..., LambdaHandler]
) -> None:
    async def handle(body: str) -> None:
        raise AssertionError

    with pytest.raises(ConfigurationError) as refusal:
        make(Consumer("orders", handle, region="eu-west-1"))(event)
    assert sentence in str(refusal.value)


def test_a_lifespan_that_fails_to_open_is_tried_again_by_the_next_invocation(
    make: Callable[..., LambdaHandler],
) -> None:
    tries = []

    @asynccontextmanager
    async def lifespan(_: Consumer) -> AsyncIterator[None]:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("the database is down")
        yield

    async def handle(body: str) -> None: ...

    handler = make(Consumer("orders", handle, lifespan=lifespan, region="eu-west-1"))
    with pytest.raises(LifespanError, match="the database is down"):
        handler(lambda_event("x"))
    assert failed(handler(lambda_event("x"))) == []


def test_the_time_that_the_lifespan_takes_to_open_is_not_given_to_handlers(make: Callable[..., LambdaHandler]) -> None:
    context = Context(60_000)

    @asynccontextmanager
    async def lifespan(_: Consumer) -> AsyncIterator[None]:
        context._milliseconds = 1_050  # as if it had taken the rest
        yield

    async def handle(_: Message[str]) -> None:
        await asyncio.Event().wait()

    handler = make(Consumer("orders", handle, lifespan=lifespan, region="eu-west-1"))
    assert len(failed(handler(lambda_event("a", "b", queue="orders"), context))) == 2
