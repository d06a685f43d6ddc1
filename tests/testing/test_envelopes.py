"""Bodies for tests are recognised as what they stand for, and have every field that the service sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer, Message
from leasekeeper.envelopes import CloudEvent, EventBridgeEvent, S3Record, SnsNotification  # noqa: TC001 - annotations
from leasekeeper.envelopes.choosing import envelope_in
from leasekeeper.step_functions import StepFunctions
from leasekeeper.testing.envelopes import (
    cloudevent,
    eventbridge,
    lambda_event,
    s3,
    s3_test_event,
    sns,
    step_functions_task,
)
from leasekeeper.testing.handling import run_handler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ORDER = {"id": 7}


@pytest.mark.parametrize(
    ("body", "name"),
    [(sns(ORDER), "sns"), (eventbridge(ORDER), "eventbridge"), (s3("a.txt"), "s3"), (cloudevent(ORDER), "cloudevents")],
)
def test_each_is_recognised(body: str, name: str) -> None:
    assert envelope_in(body) == name


@pytest.mark.parametrize(
    ("body", "file"),
    [
        (sns('{"id": 7}', subject="an order", attributes={"tenant": "ann", "seal": b"\0\1\2"}), "sns"),
        (eventbridge(ORDER), "eventbridge"),
        (s3("a+b c/é.txt"), "s3_put"),
        (s3_test_event(), "s3_test_event"),
        (step_functions_task(ORDER), "step_functions"),
    ],
)
def test_each_has_the_fields_of_the_recorded_one(body: str, file: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.config.rootpath / "tests" / "envelopes" / "golden"
    recorded = json.loads((folder / f"{file}.json").read_text())
    assert _names(json.loads(body)) == _names(recorded)


def _names(value: Any) -> Any:
    """The names of all fields, but for those of a user's own."""
    if isinstance(value, list):
        return [_names(each) for each in value]
    if not isinstance(value, dict):
        return None
    return {name: _names(each) for name, each in value.items() if name != "MessageAttributes"}


def test_handlers_take_them() -> None:
    seen: list[object] = []

    def of_sns(event: SnsNotification[dict[str, int]]) -> None:
        seen.append(event.message)

    def of_eventbridge(event: EventBridgeEvent[dict[str, int]]) -> None:
        seen.append(event.detail)

    def of_cloudevents(event: CloudEvent[dict[str, int]]) -> None:
        seen.append(event.data)

    def of_s3(record: S3Record) -> None:
        seen.append(record.key)

    handlers: list[tuple[Callable[..., Any], str]] = [
        (of_sns, sns(ORDER)),
        (of_eventbridge, eventbridge(ORDER)),
        (of_cloudevents, cloudevent(ORDER)),
        (of_s3, s3("a+b c/é.txt")),
    ]
    for handler, body in handlers:
        assert run_handler(handler, body).acked
    assert seen == [ORDER, ORDER, ORDER, "a+b c/é.txt"]


def test_a_test_event_of_s3_is_nothing_to_handle() -> None:
    def never(record: S3Record) -> None:
        raise AssertionError

    assert run_handler(never, s3_test_event()).acked


def test_a_task_of_step_functions_is_opened() -> None:
    def handle(message: Message[dict[str, int]]) -> None:
        assert (message.body, message.envelopes[0].heartbeat_seconds) == (ORDER, 60)
        raise ValueError("stop here: nothing is reported for a failure")

    consumer = Consumer("tasks", handle, envelope=StepFunctions(region="eu-west-1"), region="eu-west-1")
    assert (
        str(run_handler(consumer, step_functions_task(ORDER)).error) == "stop here: nothing is reported for a failure"
    )


def test_the_event_of_lambda_has_what_aws_documents(request: pytest.FixtureRequest) -> None:
    folder = request.config.rootpath / "tests" / "contrib" / "golden"
    for name, event in {
        "standard": lambda_event("a", "b", attributes={"n": "x"}),
        "fifo": lambda_event("a", queue="q.fifo"),
    }.items():
        recorded = json.loads((folder / f"lambda_{name}.json").read_text())
        for made, found in zip(event["Records"], recorded["Records"], strict=True):
            assert (made.keys(), made["attributes"].keys()) == (found.keys(), found["attributes"].keys())
