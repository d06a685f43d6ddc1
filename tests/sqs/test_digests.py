"""MD5 digests as AWS computes them: the expected ones come from AWS, not from us."""

from __future__ import annotations

from hashlib import md5

import pytest

from leasekeeper.message import MessageAttribute, Received
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.digests import LONG, SHORT, intact, md5_of_attributes
from leasekeeper.sqs.endpoint import Endpoint


def text(value: str, kind: str = "String") -> MessageAttribute:
    return MessageAttribute(data_type=kind, string_value=value)


@pytest.mark.parametrize(
    ("attributes", "digest"),
    [
        ({"sample-attribute": text("sample-value")}, "7c815262be77a62f56671125069ca888"),
        (
            {
                "test_attribute_name_2": text("test_attribute_value_2"),
                "test_attribute_name_1": text("test_attribute_value_1"),
            },
            "d53f3b558fe951154770f25cb63dbba9",
        ),
        ({"ordinal": text("1", "Number"), "category": text("test")}, "d21ae90c49061e927f57df5f5d72be1f"),
        (
            {"test_attribute_name": MessageAttribute(data_type="Binary", binary_value=b"test_attribute_value")},
            "23f6bd27ea87aab7dfeadcc9aebee495",
        ),
    ],
)
def test_attributes_have_awss_digest(attributes: dict[str, MessageAttribute], digest: str) -> None:
    assert md5_of_attributes(attributes) == digest


def received(body: str = "This is a test message", of_body: str = "", of_attributes: str = "") -> Received:
    return Received(
        message_id="m",
        receipt="r",
        body=body,
        md5_of_body=of_body,
        md5_of_attributes=of_attributes,
        attributes={"sample-attribute": text("sample-value")},
    )


AWS_BODY = "fafb00f5732ab283681e124bf8747ed1"
AWS_ATTRIBUTES = "7c815262be77a62f56671125069ca888"


def test_a_message_with_awss_digests_is_intact() -> None:
    assert intact([received(of_body=AWS_BODY, of_attributes=AWS_ATTRIBUTES)], attributes=True)


def test_a_changed_body_is_found_out() -> None:
    assert not intact([received("This is a test massage", of_body=AWS_BODY)], attributes=True)


def test_changed_attributes_are_found_out_only_when_all_were_asked_for() -> None:
    """The digest covers all attributes that a message has, so with some of them it proves nothing."""
    message = received(of_body=AWS_BODY, of_attributes="0" * 32)
    assert not intact([message], attributes=True)
    assert intact([message], attributes=False)


def test_a_server_that_sends_no_digests_is_believed() -> None:
    assert intact([received()], attributes=True)


def test_bodies_beyond_ascii_are_digested_as_utf_8() -> None:
    assert intact([received("\u00fcber \U0001f30a", of_body="c5b120132bd148b23c70c3ece7f218fe")], attributes=True)


@pytest.mark.parametrize("length", [0, SHORT, SHORT + 1, LONG])
def test_bodies_of_every_length_are_digested(length: int) -> None:
    """Short ones by CPython's own MD5, the others by OpenSSL's."""
    body = "x" * length
    right = received(body, of_body=md5(body.encode()).hexdigest())
    assert intact([right, right], attributes=True) == [right, right]
    assert intact([right, received(body, of_body="0" * 32)], attributes=True) == [right]


def test_a_long_body_is_hashed_unless_its_way_protects_it() -> None:
    """Over TLS, or on this machine, the hash would cost as much as the receive and find nothing."""
    body = "x" * (LONG + 1)
    right, wrong = received(body, of_body=md5(body.encode()).hexdigest()), received(body, of_body="0" * 32)
    short = received("This is a test massage", of_body=AWS_BODY)
    assert intact([right, wrong], attributes=True) == [right]
    assert intact([right, wrong, short], attributes=True, long_bodies=False) == [right, wrong]


@pytest.mark.parametrize(
    ("url", "loopback", "hashed"),
    [
        ("http://sqs.example.com", False, True),
        ("https://sqs.eu-west-1.amazonaws.com", False, False),
        ("http://127.0.0.1:9324", True, False),
    ],
)
def test_the_client_hashes_long_bodies_over_plain_http_only(url: str, loopback: bool, hashed: bool) -> None:
    client = SqsClient(None, Endpoint(url=url, region="eu-west-1", loopback=loopback))  # type: ignore[arg-type]
    assert client._verify_long is hashed
