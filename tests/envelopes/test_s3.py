"""S3 events by every way: names, keys, sizes, order; each golden file is a form that S3 sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.envelopes import S3Bucket, S3Entity, S3Object, S3Record
from leasekeeper.envelopes.eventbridge import read_eventbridge
from leasekeeper.envelopes.opening import NothingToHandle, NotThisEnvelope
from leasekeeper.envelopes.s3 import read_s3

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.envelopes import S3Event


def read(body: str) -> S3Event:
    if '"detail-type"' not in body:
        return read_s3(body)
    event = read_eventbridge(body)
    return read_s3(event.detail, (event,))


@pytest.mark.parametrize(
    ("name", "key", "raw_key"),
    [
        ("s3_put", "a+b c/é.txt", "a%2Bb+c/%C3%A9.txt"),
        ("s3_put_brackets", "red flower+(1).jpg", "red+flower%2B%281%29.jpg"),
        ("s3_eventbridge_created", "a+b c/é.txt", "a+b c/é.txt"),
        ("s3_eventbridge_brackets", "red flower+(1).jpg", "red flower+(1).jpg"),
    ],
)
def test_keys_are_decoded_as_their_envelope_needs_it(
    name: str, key: str, raw_key: str, golden: Callable[[str], str]
) -> None:
    [record] = read(golden(name)).records
    assert (record.key, record.raw_key) == (key, raw_key)


@pytest.mark.parametrize(
    ("name", "event_name"),
    [
        ("s3_put", "ObjectCreated:Put"),
        ("s3_delete", "ObjectRemoved:Delete"),
        ("s3_tagging", "ObjectTagging:Put"),
        ("s3_restore", "ObjectRestore:Completed"),
        ("s3_newer_version", "ObjectCreated:Put"),
        ("s3_eventbridge_created", "ObjectCreated:Put"),
        ("s3_eventbridge_brackets", "ObjectCreated:Copy"),
        ("s3_eventbridge_deleted", "ObjectRemoved:Delete"),
        ("s3_eventbridge_acl", "Object ACL Updated"),
    ],
)
def test_events_have_the_names_of_s3_by_every_way(name: str, event_name: str, golden: Callable[[str], str]) -> None:
    assert [record.event_name for record in read(golden(name)).records] == [event_name]


@pytest.mark.parametrize(
    ("reason", "deletion_type", "event_name"),
    [
        ("DeleteObject", "Delete Marker Created", "ObjectRemoved:DeleteMarkerCreated"),
        ("Lifecycle Expiration", "Permanently Deleted", "LifecycleExpiration:Delete"),
        ("Lifecycle Expiration", "Delete Marker Created", "LifecycleExpiration:DeleteMarkerCreated"),
    ],
)
def test_deletions_through_eventbridge(
    reason: str, deletion_type: str, event_name: str, golden: Callable[[str], str]
) -> None:
    event = json.loads(golden("s3_eventbridge_deleted"))
    event["detail"].update({"reason": reason, "deletion-type": deletion_type})
    assert read(json.dumps(event)).records[0].event_name == event_name


@pytest.mark.parametrize(
    ("reason", "event_name"),
    [
        ("PutObject", "ObjectCreated:Put"),
        ("POST Object", "ObjectCreated:Post"),
        ("CompleteMultipartUpload", "ObjectCreated:CompleteMultipartUpload"),
    ],
)
def test_creations_through_eventbridge(reason: str, event_name: str, golden: Callable[[str], str]) -> None:
    event = json.loads(golden("s3_eventbridge_created"))
    event["detail"]["reason"] = reason
    assert read(json.dumps(event)).records[0].event_name == event_name


def test_a_record_has_its_fields(golden: Callable[[str], str]) -> None:
    one, two = read(golden("s3_two_records")).records
    assert (one.bucket, one.size, one.etag, one.version_id, one.sequencer) == (
        "shop-uploads",
        9,
        "437b930db84b8079c2dd804a71936b5f",
        None,
        "0055AED6DCD90281E5",
    )
    assert two.version_id == "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    assert one.event_time == datetime(2026, 5, 2, 0, 54, 6, 655_000, UTC)
    assert (one.aws_region, one.event_version, one.event_source) == ("eu-west-1", "2.1", "aws:s3")
    assert one.user_identity == {"principalId": "AWS:AIDAJDPLRKLG7UEXAMPLE"}
    assert one.request_parameters == {"sourceIPAddress": "203.0.113.7"}
    assert one.response_elements["x-amz-request-id"] == "C3D13FE58DE4C810"
    assert (one.s3.bucket.arn, one.s3.configuration_id) == ("arn:aws:s3:::shop-uploads", "uploads")


def test_a_record_through_eventbridge_has_the_same_fields(golden: Callable[[str], str]) -> None:
    [record] = read(golden("s3_eventbridge_created")).records
    assert (record.bucket, record.size, record.etag, record.version_id, record.sequencer) == (
        "shop-uploads",
        5,
        "b1946ac92492d2347c6235b4d2611184",
        "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        "617f08299329d189",
    )
    assert record.event_time == datetime(2026, 5, 2, 0, 54, 6, tzinfo=UTC)
    assert record.aws_region == "eu-west-1"
    assert record.user_identity == {"principalId": "111122223333"}
    assert record.request_parameters == {"sourceIPAddress": "203.0.113.7"}
    assert record.response_elements == {"x-amz-request-id": "N4N7GDK58NMKJ12R"}


def test_a_deletion_has_no_size(golden: Callable[[str], str]) -> None:
    [record] = read(golden("s3_delete")).records
    assert (record.size, record.etag, record.sequencer) == (None, None, "0055AED6DCD90281E7")


def test_the_test_event_is_none_to_handle(golden: Callable[[str], str]) -> None:
    with pytest.raises(NothingToHandle):
        read(golden("s3_test_event"))


def test_an_event_of_another_source_is_none_of_s3(golden: Callable[[str], str]) -> None:
    for name in ("eventbridge", "own_records", "sns"):
        with pytest.raises(NotThisEnvelope):
            read(golden(name))


def record(sequencer: str | None, key: str = "a") -> S3Record:
    entity = S3Entity(bucket=S3Bucket("b"), object=S3Object(key=key, sequencer=sequencer))
    return S3Record(event_name="ObjectCreated:Put", event_time=datetime(2026, 5, 2, tzinfo=UTC), s3=entity)


@pytest.mark.parametrize(
    ("mine", "theirs", "newer"),
    [
        ("0055AED6DCD90281E6", "0055AED6DCD90281E5", True),
        ("0055AED6DCD90281E5", "0055AED6DCD90281E6", False),
        ("0055AED6DCD90281E5", "0055AED6DCD90281E5", False),
        ("0055aed6dcd90281f0", "0055AED6DCD90281E5", True),
        ("0055AED6DCD90281E5", "0055AED6DCD90281E5FF", None),
        ("0055AED6DCD90281E5", None, None),
        (None, "0055AED6DCD90281E5", None),
    ],
)
def test_sequencers_order_events_of_one_object(mine: str | None, theirs: str | None, newer: bool | None) -> None:
    assert record(mine).newer_than(record(theirs)) is newer


def test_events_of_different_objects_have_no_order() -> None:
    with pytest.raises(ValueError, match="newer_than compares events of one object, and these are of b/a and b/c"):
        record("01").newer_than(record("02", key="c"))


@given(st.text(min_size=1))
def test_every_key_arrives(key: str) -> None:
    try:
        encoded = quote_plus(key, safe="/")
    except UnicodeEncodeError:  # half of a surrogate pair: no key of S3
        return
    assert record("1", key=encoded).key == key
