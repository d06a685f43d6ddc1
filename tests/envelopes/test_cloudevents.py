"""CloudEvents in structured mode: what is written is read again, also by and from others' rules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest

from leasekeeper.envelopes import CloudEvent
from leasekeeper.envelopes.cloudevents import read_cloudevent
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.message import Received

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Order:
    id: int


class OrderStruct(msgspec.Struct):
    id: int


class OrderModel(pydantic.BaseModel):
    number: int = pydantic.Field(alias="id")


def event(data: Any, **more: Any) -> CloudEvent[Any]:
    return CloudEvent(id="1", source="/shop", type="com.example.order", data=data, **more)


def decoded(body_type: Any, body: str) -> Any:
    return decoder_of(body_type, "handle")(Received(message_id="1", receipt="1", body=body))


@pytest.mark.parametrize("data", [Order(7), OrderStruct(7), OrderModel(id=7)], ids=repr)
def test_what_is_written_is_read_again(data: Any) -> None:
    sent = event(
        data,
        subject="7",
        time=datetime(2026, 5, 2, tzinfo=UTC),
        datacontenttype="application/json",
        dataschema="https://example.com/order.json",
        extensions={"traceparent": "00-1-2-01", "partitionkey": "ann", "number": 3, "flag": True},
    )
    assert decoded(CloudEvent[type(data)], sent.encode()) == sent  # type: ignore[misc] # made at run time


def test_only_what_is_set_is_written() -> None:
    assert json.loads(event({"id": 7}).encode()) == {
        "specversion": "1.0",
        "id": "1",
        "source": "/shop",
        "type": "com.example.order",
        "data": {"id": 7},
    }


def test_extensions_stand_beside_the_other_attributes() -> None:
    assert json.loads(event(None, extensions={"partitionkey": "ann"}).encode())["partitionkey"] == "ann"


def test_times_are_written_by_rfc_3339() -> None:
    assert json.loads(event(1, time=datetime(2026, 5, 2, tzinfo=UTC)).encode())["time"] == "2026-05-02T00:00:00Z"


def test_bytes_are_written_as_base64() -> None:
    sent = event(b"\x00\xff", datacontenttype="application/octet-stream")
    assert json.loads(sent.encode())["data_base64"] == "AP8="
    assert decoded(CloudEvent[bytes], sent.encode()) == sent


def test_data_that_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="data with a complex cannot be encoded as JSON: give its text, or a dict"):
        event({"number": 1j}).encode()
    assert json.loads(event({"price": Decimal("1.20")}).encode())["data"] == {"price": "1.20"}


@pytest.mark.parametrize(
    ("media_type", "text", "held"),
    [
        (None, '"x"', "x"),
        ("application/json", '"x"', "x"),
        ("application/json; charset=utf-8", '"x"', "x"),
        ("application/vnd.shop+json", '"x"', "x"),
        ("text/plain", '"x"', "x"),
        ("application/xml", '"<a/>"', "<a/>"),
        ("application/json", '{"a": 1}', '{"a": 1}'),
    ],
)
def test_data_as_text_has_no_quotes(media_type: str | None, text: str, held: str) -> None:
    attributes = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "datacontenttype": media_type}
    body = json.dumps(attributes)[:-1] + f', "data": {text}}}'
    assert read_cloudevent(body, as_text=True).data == held


def test_json_text_inside_of_a_string_is_not_decoded_twice() -> None:
    body = event('{"id": 7}').encode()
    assert decoded(CloudEvent[Any], body).data == '{"id": 7}'
    assert decoded(CloudEvent[str], body).data == '{"id": 7}'


def test_json_of_another_media_type_is_decoded_from_its_text(golden: Callable[[str], str]) -> None:
    body = json.loads(golden("cloudevent_xml"))
    body.update(datacontenttype="application/x-shop", data='{"id": 7}')
    assert decoded(CloudEvent[Order], json.dumps(body)).data == Order(7)


def test_the_older_version_is_read(golden: Callable[[str], str]) -> None:
    body = golden("cloudevent").replace('"1.0"', '"0.3"')
    assert decoded(CloudEvent[Order], body).specversion == "0.3"
