"""Interoperation with the SDK of CloudEvents: what it writes we read, and what we write it reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from leasekeeper.envelopes import CloudEvent
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.message import Received

formats = pytest.importorskip("cloudevents.core.formats.json", reason="needs the dev extra")
v1 = pytest.importorskip("cloudevents.core.v1.event", reason="needs the dev extra")

ATTRIBUTES: dict[str, Any] = {
    "specversion": "1.0",
    "id": "A234",
    "source": "/shop/orders",
    "type": "com.example.order.placed",
    "subject": "7",
    "time": datetime(2026, 5, 2, 0, 54, 6, tzinfo=UTC),
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}
CASES = [
    ({"id": 7}, "application/json", dict),
    ([1, "two", None], "application/json", list),
    ("seven", "text/plain", str),
    (b"\x00\x01", "application/octet-stream", bytes),
]


@pytest.mark.parametrize(("data", "media_type", "kind"), CASES, ids=repr)
def test_we_read_what_the_sdk_writes(data: Any, media_type: str, kind: type) -> None:
    theirs = v1.CloudEvent({**ATTRIBUTES, "datacontenttype": media_type}, data)
    body = formats.JSONFormat().write(theirs).decode()
    found = decoder_of(CloudEvent[kind], "handle")(  # type: ignore[valid-type] # made at run time
        Received(message_id="1", receipt="1", body=body)
    )
    assert found.data == data
    assert (found.id, found.source, found.type, found.subject, found.time) == tuple(
        ATTRIBUTES[name] for name in ("id", "source", "type", "subject", "time")
    )
    assert found.datacontenttype == media_type
    assert found.extensions == {"traceparent": ATTRIBUTES["traceparent"]}


@pytest.mark.parametrize(("data", "media_type", "kind"), CASES, ids=repr)
def test_the_sdk_reads_what_we_write(data: Any, media_type: str, kind: type) -> None:
    known = {name: value for name, value in ATTRIBUTES.items() if name != "traceparent"}
    ours: CloudEvent[Any] = CloudEvent(
        **known, data=data, datacontenttype=media_type, extensions={"traceparent": ATTRIBUTES["traceparent"]}
    )
    found = formats.JSONFormat().read(None, ours.encode())
    assert found.get_attributes() == {**ATTRIBUTES, "datacontenttype": media_type}
    assert found.get_data() == data
    assert isinstance(found.get_data(), kind)
