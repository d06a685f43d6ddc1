"""Trace headers: read as W3C and AWS write them, in the right order; what is malformed counts as none."""

from __future__ import annotations

import pytest

from leasekeeper.envelopes import CloudEvent
from leasekeeper.envelopes.cloudevents import open_cloudevent
from leasekeeper.envelopes.opening import begin, step_in
from leasekeeper.message import MessageAttribute, Received
from leasekeeper.trace_headers import Trace, header_of, is_unsampled, parse

TRACE_ID, SPAN_ID = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
W3C = f"00-{TRACE_ID}-{SPAN_ID}-01"
AWS = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def received(traceparent: str = "", aws: str = "", **attributes: str) -> Received:
    if traceparent:
        attributes["traceparent"] = traceparent
    return Received(
        message_id="m",
        receipt="r",
        system={"AWSTraceHeader": aws} if aws else {},
        attributes={name: MessageAttribute(data_type="String", string_value=each) for name, each in attributes.items()},
    )


def test_both_headers_are_read() -> None:
    found = Trace(int(TRACE_ID, 16), int(SPAN_ID, 16), sampled=True)
    assert parse(received(W3C)) == found
    assert parse(received(aws=AWS)) == found
    assert parse(received(aws=f"Self=1-x; {AWS};Lineage=a:1|b:0")) == found
    assert parse(received(W3C, tracestate="a=1,b=2")) == found._replace(state="a=1,b=2")
    assert parse(received(W3C.replace("00-", "01-", 1) + "-more")) == found, "a later version may have more fields"


def test_traceparent_wins_over_the_header_of_aws() -> None:
    assert header_of(received(W3C, AWS)) == W3C
    assert header_of(received(aws=AWS)) == AWS
    assert header_of(received()) == ""


def test_what_an_envelope_carries_comes_last() -> None:
    event = CloudEvent(id="1", source="shop", type="sent", data={}, extensions={"traceparent": W3C}).encode()
    assert header_of(step_in(begin(Received(message_id="m", receipt="r", body=event)), open_cloudevent)) == W3C
    sent = Received(message_id="m", receipt="r", body=event, system={"AWSTraceHeader": AWS})
    assert header_of(step_in(begin(sent), open_cloudevent)) == AWS


@pytest.mark.parametrize(
    ("header", "unsampled"),
    [
        (W3C, False),
        (W3C[:-2] + "00", True),
        (W3C[:-2] + "02", True),
        (W3C[:-2] + "03", False),
        (AWS, False),
        (AWS.replace("Sampled=1", "Sampled=0"), True),
        (AWS.replace("Sampled=1", "Sampled=?"), False),
        ("Root=1-5759e988-bd862e3fe1be46a994272793", False),
        ("", False),
    ],
)
def test_the_flag_is_read_from_the_text(header: str, *, unsampled: bool) -> None:
    assert is_unsampled(header) is unsampled
    found = parse(received(header) if header.startswith("0") else received(aws=header))
    assert found is None or found.sampled is not unsampled


@pytest.mark.parametrize(
    "header",
    [
        "00-",
        "not a header",
        W3C.upper(),
        W3C.replace(TRACE_ID, "0" * 32),
        W3C.replace(SPAN_ID, "0" * 16),
        "ff" + W3C[2:],
        W3C[:-1],
        f"00-{TRACE_ID}-{SPAN_ID}-0g",
    ],
)
def test_a_malformed_traceparent_is_none(header: str) -> None:
    assert parse(received(header)) is None


@pytest.mark.parametrize(
    "header",
    [
        "Root",
        "Root=1-zz;Parent=53995c3f42cd8ad8",
        "Root=1-5759e988-bd862e3fe1be46a994272793",
        ";;",
        "Parent=" + SPAN_ID,
    ],
)
def test_a_malformed_header_of_aws_is_none(header: str) -> None:
    assert parse(received(aws=header)) is None


def test_an_attribute_of_another_type_is_no_header() -> None:
    binary = MessageAttribute(data_type="Binary", binary_value=b"00-")
    assert parse(Received(message_id="m", receipt="r", attributes={"traceparent": binary})) is None
