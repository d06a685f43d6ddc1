"""What the options of payloads refuse, and what the doctor and the policy say of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from payload_scene import Scene

from leasekeeper.cli.doctor.facts import Level
from leasekeeper.cli.doctor.iam import Needs, policy_for
from leasekeeper.cli.doctor.payloads import lifecycle
from leasekeeper.envelopes import Sns
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.options import Options
from leasekeeper.payloads import Payload, S3Payloads
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable

RULE = "<Rule><Status>{status}</Status>{what}</Rule>"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: S3Payloads("No_Bucket"), "not the name of a bucket"),
        (lambda: S3Payloads("bucket", buckets=["x"]), "not the name of a bucket"),
        (lambda: S3Payloads("bucket", prefix="a\n"), "prefix="),
        (lambda: S3Payloads("bucket", prefix="é" * 451), "at most 900 bytes"),
        (lambda: S3Payloads("bucket", above=-1), "above=-1"),
        (lambda: S3Payloads("bucket", pointer="new"), "'extended', 'legacy'"),  # type: ignore[arg-type]
        (lambda: S3Payloads("bucket", delete="always"), "'acked', 'never'"),  # type: ignore[arg-type]
        (lambda: S3Payloads("bucket", expected_owner="12"), "12 digits"),
        (lambda: S3Payloads("bucket", endpoint_url="ftp://x"), "endpoint_url="),
        (lambda: S3Payloads.from_url("bucket"), "s3://bucket"),
        (lambda: Options(payloads="s3://bucket"), "must be an S3Payloads"),  # type: ignore[arg-type]
        (lambda: Options(payloads=S3Payloads("bucket"), envelope=Sns()), "envelope='sns'"),
        (lambda: Options(max_payload=0), "max_payload=0"),
    ],
)
def test_what_cannot_work_is_refused_in_words(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert says in str(refused.value)


def test_a_place_on_the_command_line() -> None:
    place = S3Payloads.from_url("s3://bucket/orders")
    assert (place.bucket, place.prefix) == ("bucket", "orders/")
    assert S3Payloads.from_url("s3://bucket").prefix == ""


def test_the_marker_is_asked_for_beside_named_attributes() -> None:
    assert Options(message_attributes=("colour",)).fetched_attributes == ("colour",)
    with_payloads = Options(message_attributes=("colour",), payloads=S3Payloads("bucket"))
    assert with_payloads.fetched_attributes == ("colour", "ExtendedPayloadSize", "SQSLargePayloadSize")


@virtual
async def test_handlers_of_one_queue_all_read_pieces_or_none_does() -> None:
    async def one(message: Message[Payload]) -> None:
        pass

    async def other(message: Message[str]) -> None:
        pass

    async with World() as world:
        with pytest.raises(ConfigurationError, match=r"Message\[Payload\], or none"):
            await world.start([(one, lambda message: True), (other, None)], payloads=Scene(world).payloads())


def needs(**options: Any) -> Needs:
    address = QueueAddress.parse("https://sqs.eu-west-1.amazonaws.com/123456789012/docs")
    arn = "arn:aws:sqs:eu-west-1:123456789012:docs"
    return Needs(
        address=address,
        attributes={"QueueArn": arn},
        options=Options(payloads=S3Payloads("bucket", prefix="in/", **options)),
        sends_to=["other"],
    )


def test_the_policy_has_what_s3_needs() -> None:
    statements = {each["Resource"]: each["Action"] for each in policy_for([needs(kms_key="abc")])["Statement"]}
    assert statements["arn:aws:s3:::bucket/*"] == ["s3:GetObject", "s3:DeleteObject"]
    assert statements["arn:aws:s3:::bucket"] == ["s3:ListBucket"]
    assert statements["arn:aws:s3:::bucket/in/*"] == ["s3:PutObject"]
    assert statements["arn:aws:kms:eu-west-1:123456789012:key/abc"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_the_policy_allows_no_deletes_that_are_never_made() -> None:
    statements = {each["Resource"]: each["Action"] for each in policy_for([needs(delete="never")])["Statement"]}
    assert statements["arn:aws:s3:::bucket/*"] == ["s3:GetObject"]


def test_the_policy_lets_the_relay_of_an_outbox_write_its_payloads() -> None:
    store = S3Payloads("large", prefix="orders/", kms_key="abc")
    relaying = replace(needs(), options=Options(), sends_to=[], outboxes=[store])
    statements = {each["Resource"]: each["Action"] for each in policy_for([relaying])["Statement"]}
    assert statements["arn:aws:s3:::large/orders/*"] == ["s3:PutObject"]
    assert statements["arn:aws:kms:eu-west-1:123456789012:key/abc"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert not [resource for resource in statements if "bucket" in resource]


@pytest.mark.parametrize(
    ("rules", "level"),
    [
        ("", Level.WARN),
        (RULE.format(status="Disabled", what="<Expiration><Days>3</Days></Expiration>"), Level.WARN),
        (RULE.format(status="Enabled", what="<Transition><Days>3</Days></Transition>"), Level.WARN),
        (RULE.format(status="Enabled", what="<Expiration><Days>3</Days></Expiration>"), Level.OK),
    ],
)
def test_the_doctor_asks_for_a_rule_that_expires_objects(rules: str, level: Level) -> None:
    found = lifecycle("bucket", rules)
    assert found.level is level
    assert "lifecycle rule" in found.message
