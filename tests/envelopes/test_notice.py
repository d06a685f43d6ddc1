"""A handler that takes an envelope for its payload is told so once, and costs nothing more after the first messages."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pydantic
import pytest

from leasekeeper import Message  # noqa: TC001 - the handler's annotation is read
from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.envelopes import Envelope, EventBridgeEvent, S3Event, S3Record, SnsNotification
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.lanes.envelope_notices import LOOKS
from leasekeeper.lanes.handler import Handler
from leasekeeper.message import Received
from leasekeeper.outcomes import Done

if TYPE_CHECKING:
    from collections.abc import Callable


class Lenient(msgspec.Struct):
    id: str = ""


@dataclass
class AlsoLenient:
    id: str | None = None


class LenientModel(pydantic.BaseModel):
    id: str | None = None


class Partial(TypedDict, total=False):
    id: str


class OwnNotification(TypedDict):
    Message: str


@dataclass
class OwnEvent:
    detail: dict[str, Any]


class OwnModel(pydantic.BaseModel):
    message: str = pydantic.Field(alias="Message")


def notices(body_type: Any, *bodies: str, envelope: Envelope | None = None) -> list[str]:
    """What a handler of that annotation is told of these bodies."""
    told: list[str] = []
    decode = decoder_of(body_type, "handle", envelope=envelope, notice=told.append)
    for body in bodies:
        decode(Received(message_id="1", receipt="1", body=body))
    return told


@pytest.mark.parametrize(
    "body_type", [dict, dict[str, Any], Any, object, Lenient, AlsoLenient, LenientModel, Partial], ids=str
)
def test_an_envelope_is_never_taken_silently_for_the_payload(body_type: Any, golden: Callable[[str], str]) -> None:
    [told] = notices(body_type, golden("sns"), golden("sns"))
    assert told == (
        "an SNS notification: give envelope='sns' to get what it holds, or annotate the parameter with "
        "SnsNotification[...]; or give envelope=() if the envelope is meant"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("eventbridge", "an EventBridge event: give envelope='eventbridge'"),
        ("cloudevent", "a CloudEvent: give envelope='cloudevents'"),
        ("s3_put", "an S3 event: annotate the parameter with S3Event or S3Record"),
        ("s3_test_event", "an S3 event: annotate the parameter with S3Event or S3Record"),
    ],
)
def test_the_notice_names_the_envelope(name: str, words: str, golden: Callable[[str], str]) -> None:
    [told] = notices(dict, golden(name))
    assert told.startswith(words)


@pytest.mark.parametrize(
    ("body_type", "name"),
    [
        (SnsNotification[Any], "sns"),
        (EventBridgeEvent[Any], "eventbridge"),
        (S3Event, "s3_put"),
        (S3Record, "s3_put"),
        (OwnNotification, "sns"),
        (OwnModel, "sns"),
        (OwnEvent, "eventbridge"),
        (str, "sns"),
        (bytes, "sns"),
    ],
    ids=str,
)
def test_a_handler_that_means_the_envelope_is_told_nothing(
    body_type: Any, name: str, golden: Callable[[str], str]
) -> None:
    assert notices(body_type, golden(name)) == []


def test_an_empty_option_says_that_it_is_meant(golden: Callable[[str], str]) -> None:
    assert notices(dict, golden("sns"), envelope=()) == []


def test_bodies_that_only_look_alike_are_payloads(golden: Callable[[str], str]) -> None:
    assert notices(dict, *map(golden, ("own_type_key", "own_event", "own_records", "step_functions"))) == []


def test_only_the_first_bodies_are_looked_at(golden: Callable[[str], str]) -> None:
    assert notices(dict, *["{}"] * (LOOKS - 1), golden("sns")) != []
    assert notices(dict, *["{}"] * (LOOKS + 1), golden("sns")) == []


def test_the_notice_is_a_warning_of_the_consumers_logger_said_once(
    golden: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    def ship(message: Message[dict[str, Any]]) -> None:
        seen.append(message.body)

    handler = Handler(ship, queue="orders", logger=logging.getLogger("shop"))
    ledger = Ledger(LeasePolicy(visibility=30, extend_after=15))
    for number in range(3):
        received = Received(message_id=str(number), receipt=str(number), body=golden("sns"))
        [row], _ = ledger.receive([received], requested_at=1.0, now=1.0)
        assert isinstance(handler.run_blocking(lambda _: True, row), Done)
    assert seen == [json.loads(golden("sns"))] * 3
    [record] = caplog.records
    assert (record.name, record.levelname) == ("shop", "WARNING")
    assert record.getMessage().startswith(
        f"queue orders: handler {handler.name} takes the whole of an SNS notification: give envelope='sns' to get"
    )
    assert (vars(record)["queue"], vars(record)["handler"]) == ("orders", handler.name)
