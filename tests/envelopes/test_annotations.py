"""An envelope as a handler's annotation: the handler gets all of it, with what it holds decoded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest

from leasekeeper import ConfigurationError, Message
from leasekeeper.envelopes import CloudEvent, EventBridgeEvent, S3Event, S3Record, Sns, SnsNotification
from leasekeeper.errors import UndecodableBody
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.message import Received

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Order:
    id: int


class OrderModel(pydantic.BaseModel):
    id: int


class OrderStruct(msgspec.Struct):
    id: int


class Warehouse:
    """A class that nothing in JSON becomes."""


def decoded(body_type: Any, body: str) -> Any:
    return decoder_of(body_type, "handle")(Received(message_id="1", receipt="1", body=body))


@pytest.mark.parametrize("held", [Order, OrderModel, OrderStruct], ids=str)
def test_what_an_envelope_holds_is_decoded_by_every_library(held: Any, golden: Callable[[str], str]) -> None:
    assert decoded(SnsNotification[held], golden("sns")).message == held(id=7)
    assert decoded(EventBridgeEvent[held], golden("eventbridge")).detail == held(id=7)
    assert decoded(CloudEvent[held], golden("cloudevent")).data == held(id=7)
    assert decoded(SnsNotification[EventBridgeEvent[held]], golden("eventbridge_in_sns")).message.detail == held(id=7)
    assert decoded(SnsNotification[CloudEvent[held]], golden("cloudevent_in_sns")).message.data == held(id=7)


@pytest.mark.parametrize("held", [list[OrderModel], list[OrderStruct], list[Order]], ids=str)
def test_what_it_holds_may_be_anything_that_a_body_may_be(held: Any, golden: Callable[[str], str]) -> None:
    body = json.dumps({**json.loads(golden("sns")), "Message": '[{"id": 1}, {"id": 2}]'})
    assert [order.id for order in decoded(SnsNotification[held], body).message] == [1, 2]
    assert decoded(SnsNotification[int | None], body.replace('[{\\"id\\": 1}, {\\"id\\": 2}]', "null")).message is None


def test_a_notification_has_its_fields(golden: Callable[[str], str]) -> None:
    found = decoded(SnsNotification[Order], golden("sns"))
    assert found.message_id == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    assert found.topic_arn == "arn:aws:sns:eu-west-1:111122223333:orders"
    assert found.subject == "an order"
    assert found.timestamp == datetime(2026, 5, 2, 0, 54, 6, 655_000, UTC)
    assert (found.signature_version, found.signature) == ("1", "RVhBTVBMRQ==")
    assert found.signing_cert_url.startswith("https://sns.eu-west-1.amazonaws.com/")
    assert found.unsubscribe_url.startswith("https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe")
    assert {name: each.value for name, each in found.attributes.items()} == {
        "tenant": "ann",
        "weight": "1.5",
        "seal": b"\x00\x01\x02",
        "tags": '["a", "b"]',
    }
    assert decoded(SnsNotification[Order], golden("sns_null_subject")).subject is None
    fifo = decoded(SnsNotification[Order], golden("sns_fifo"))
    assert (fifo.sequence_number, fifo.signature) == ("10000000000000003000", None)


def test_an_eventbridge_event_has_its_fields(golden: Callable[[str], str]) -> None:
    found = decoded(EventBridgeEvent[Order], golden("eventbridge_replay"))
    assert (found.source, found.detail_type, found.id) == (
        "com.example.shop",
        "OrderPlaced",
        "17793124-05d4-b198-2fde-7ededc63b103",
    )
    assert (found.account, found.region, found.resources, found.version) == ("111122223333", "eu-west-1", [], "0")
    assert found.time == datetime(2026, 5, 2, 0, 54, 6, tzinfo=UTC)
    assert found.replay_name.endswith(":replay/again")


def test_a_cloudevent_has_its_fields(golden: Callable[[str], str]) -> None:
    found = decoded(CloudEvent[Order], golden("cloudevent"))
    assert (found.specversion, found.id, found.source, found.type) == (
        "1.0",
        "A234-1234-1234",
        "/shop/orders",
        "com.example.order.placed",
    )
    assert found.time == datetime(2026, 5, 2, 0, 54, 6, tzinfo=UTC)
    assert found.datacontenttype == "application/json"
    assert found.extensions == {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "partitionkey": "ann",
    }


def test_an_envelope_without_brackets_holds_what_was_sent(golden: Callable[[str], str]) -> None:
    assert decoded(SnsNotification, golden("sns")).message == '{"id": 7}'
    assert decoded(EventBridgeEvent, golden("eventbridge")).detail == {"id": 7}
    assert decoded(CloudEvent, golden("cloudevent")).data == {"id": 7}


def test_the_data_of_a_cloudevent_may_be_text_bytes_or_nothing(golden: Callable[[str], str]) -> None:
    assert decoded(CloudEvent[bytes], golden("cloudevent_binary")).data == b"\x00\x01\x02\x03"
    assert decoded(CloudEvent[str], golden("cloudevent_xml")).data == "<id>7</id>"
    assert decoded(CloudEvent[None], golden("cloudevent_minimal")).data is None
    assert decoded(CloudEvent[Order | None], golden("cloudevent_minimal")).data is None
    assert decoded(CloudEvent[str], golden("cloudevent_minimal")).data == ""
    text = golden("cloudevent").replace('{\n    "id": 7\n  }', '"seven"')
    assert decoded(CloudEvent[str], text).data == "seven"
    assert decoded(CloudEvent[Any], text).data == "seven"


@pytest.mark.parametrize(
    ("body_type", "name", "words"),
    [
        (SnsNotification[Order], "eventbridge", "it is an EventBridge event: give envelope='eventbridge'"),
        (SnsNotification[list[int]], "sns", "Expected `array`, got `object`"),
        (SnsNotification[EventBridgeEvent[Order]], "sns", "Expected `str`, got `int` - at `$.id`"),
        (EventBridgeEvent[OrderModel], "own_event", "Object missing required field `detail-type`"),
        (CloudEvent[Order], "cloudevent_minimal", "Expected `object`, got `null`"),
        (S3Event, "eventbridge", "Object missing required field `Records`"),
        (S3Event, "own_records", "Object missing required field `eventName`"),
    ],
    ids=str,
)
def test_the_error_says_what_is_wrong(body_type: Any, name: str, words: str, golden: Callable[[str], str]) -> None:
    with pytest.raises(UndecodableBody) as caught:
        decoded(body_type, golden(name))
    assert words in str(caught.value)


def test_the_error_does_not_advise_what_the_handler_does_already(golden: Callable[[str], str]) -> None:
    with pytest.raises(UndecodableBody) as caught:
        decoded(SnsNotification[list[int]], golden("sns"))
    assert "give envelope" not in str(caught.value)


@pytest.mark.parametrize(
    "body_type",
    [SnsNotification[S3Record], SnsNotification[list[S3Record]], EventBridgeEvent[S3Record]],
    ids=str,
)
def test_records_inside_of_an_annotation_are_refused(body_type: Any) -> None:
    with pytest.raises(ConfigurationError, match="inside of another annotation: put S3Event there"):
        decoder_of(body_type, "handle")


@pytest.mark.parametrize(
    "body_type",
    [SnsNotification[Order] | None, list[EventBridgeEvent[Order]], SnsNotification[Order] | Order],
    ids=str,
)
def test_an_envelope_inside_of_another_type_is_refused(body_type: Any) -> None:
    with pytest.raises(ConfigurationError, match="give envelope='auto' for bodies of several kinds"):
        decoder_of(body_type, "handle")


@pytest.mark.parametrize(
    "envelope", ["sns", ("sns",), "auto", Sns(topics={"arn:aws:sns:eu-west-1:123456789012:orders"})]
)
def test_an_envelope_that_the_option_has_opened_already_is_refused(envelope: Any) -> None:
    with pytest.raises(
        ConfigurationError, match="its annotation SnsNotification asks for an envelope that the option has"
    ):
        decoder_of(SnsNotification[Order], "handle", envelope=envelope)


def test_an_envelope_inside_of_the_one_of_the_option_is_taken() -> None:
    decoder_of(EventBridgeEvent[Order], "handle", envelope="sns")


def test_a_type_that_nothing_becomes_is_refused_inside_of_an_envelope() -> None:
    with pytest.raises(ConfigurationError, match="nothing in JSON becomes a"):
        decoder_of(SnsNotification[Warehouse], "handle")


def test_the_attributes_of_the_notification_stay_in_it(golden: Callable[[str], str]) -> None:
    """An annotation changes nothing of the message around the body."""
    from leasekeeper.testing.handling import run_handler

    seen: list[Message[SnsNotification[Order]]] = []

    def handle(message: Message[SnsNotification[Order]]) -> None:
        seen.append(message)

    assert run_handler(handle, golden("sns")).acked
    assert seen[0].body.message == Order(7)
    assert (dict(seen[0].attributes), seen[0].envelopes) == ({}, ())
