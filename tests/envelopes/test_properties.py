"""Whatever is wrapped, in any order, comes out as it was: strip(wrap(x)) == x."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.envelopes import CloudEvent, Envelope
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.lanes.unwrapping import Unwrapping
from leasekeeper.message import Received

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4).filter(lambda found: not {"Type", "specversion"} & set(found))
LAYERS = st.lists(st.sampled_from(["sns", "eventbridge", "cloudevents"]), min_size=1, max_size=4)
ATTRIBUTES = st.dictionaries(st.text("abc.-_", min_size=1), TEXT, max_size=3)


def wrap(payload: str, layers: list[str], attributes: dict[str, str]) -> str:
    """The payload in these envelopes, the outermost first."""
    for name in reversed(layers):
        payload = _WRAPS[name](payload, attributes)
    return payload


def _sns(message: str, attributes: dict[str, str]) -> str:
    notification = {
        "Type": "Notification",
        "MessageId": "1",
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:orders",
        "Message": message,
        "Timestamp": "2026-05-02T00:54:06.655Z",
        "MessageAttributes": {name: {"Type": "String", "Value": value} for name, value in attributes.items()},
    }
    return json.dumps(notification)


def _eventbridge(detail: str, _: dict[str, str]) -> str:
    event = {
        "version": "0",
        "id": "1",
        "detail-type": "OrderPlaced",
        "source": "shop",
        "account": "111122223333",
        "time": "2026-05-02T00:54:06Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": json.loads(detail),
    }
    return json.dumps(event, ensure_ascii=False)


def _cloudevent(data: str, _: dict[str, str]) -> str:
    return CloudEvent(id="1", source="s", type="t", data=msgspec.Raw(data.encode())).encode()


_WRAPS = {"sns": _sns, "eventbridge": _eventbridge, "cloudevents": _cloudevent}


def strip(body: str, envelope: Envelope, body_type: Any = Any) -> tuple[Any, Any]:
    """The payload, and the message around it."""
    unwrapping = decoder_of(body_type, "handle", envelope=envelope)
    assert isinstance(unwrapping, Unwrapping)
    opened = unwrapping.open(Received(message_id="1", receipt="1", body=body))
    return unwrapping(opened), opened


@given(OBJECTS, LAYERS, ATTRIBUTES)
def test_what_was_wrapped_comes_out(payload: dict[str, Any], layers: list[str], attributes: dict[str, str]) -> None:
    body = wrap(json.dumps(payload), layers, attributes)
    found, opened = strip(body, layers)  # type: ignore[arg-type] # names
    assert found == payload
    assert len(opened.envelopes) == len(layers)
    assert opened.body == body
    if "sns" in layers:
        assert {name: each.value for name, each in opened.attributes.items()} == attributes


@given(OBJECTS, LAYERS)
def test_auto_finds_the_same(payload: dict[str, Any], layers: list[str]) -> None:
    found, opened = strip(wrap(json.dumps(payload), layers, {}), "auto")
    assert found == payload
    assert len(opened.envelopes) == len(layers)


@given(TEXT)
def test_text_in_a_notification_comes_out_as_it_was(text: str) -> None:
    assert strip(_sns(text, {}), "sns", str)[0] == text


@given(VALUES)
def test_auto_gives_anything_else_back_as_it_was(value: Any) -> None:
    assert strip(json.dumps(value), "auto")[0] == value
