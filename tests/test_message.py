"""The message as a handler sees it: what SQS said of it, and what is passed on to its lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from leasekeeper import Message, MessageAttribute, Settlement
from leasekeeper.message import Received, lags_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Lease:
    """A lease view that notes what is asked of it."""

    attempt = 3
    lease_lost = False
    lease_capped = True
    lease_deadline = 129.0
    waited = 0.5

    def __init__(self) -> None:
        self.settled: list[float | None] = []
        self.withheld = self.retried = False
        self.settlement = Settlement()

    def settle_early(self, *, retry_after: float | None) -> Settlement:
        self.settled.append(retry_after)
        return self.settlement

    def watch(self) -> Callable[[], Sequence[tuple[str, float]]]:
        return tuple

    def withhold(self) -> None:
        self.withheld = True


def message(lease: Lease | None = None, **system: str) -> Message[dict[str, int]]:
    received = Received(
        message_id="m1",
        receipt="r1",
        body='{"id": 7}',
        system=system,
        attributes={"tenant": MessageAttribute(data_type="String", string_value="acme")},
    )
    return Message(received, {"id": 7}, queue="orders", lease=lease or Lease())


def test_a_message_has_its_body_decoded_and_raw() -> None:
    one = message()
    assert (one.id, one.body, one.raw_body, one.queue) == ("m1", {"id": 7}, '{"id": 7}', "orders")


def test_a_message_has_what_sqs_says_of_it() -> None:
    one = message(ApproximateReceiveCount="3", SentTimestamp="1700000000123", MessageGroupId="acme")
    assert (one.receive_count, one.sent_at, one.group_id) == (3, 1_700_000_000.123, "acme")
    assert one.system["MessageGroupId"] == "acme"
    assert one.attributes["tenant"].value == "acme"
    assert repr(one) == "<Message m1 of orders, receive 3>"


def test_what_sqs_does_not_say_has_a_plain_default() -> None:
    one = message()
    assert (one.receive_count, one.sent_at, one.group_id) == (1, 0.0, None)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (MessageAttribute(data_type="String", string_value="x"), "x"),
        (MessageAttribute(data_type="Number", string_value="1.0"), "1.0"),
        (MessageAttribute(data_type="String", string_value=""), ""),
        (MessageAttribute(data_type="Binary", binary_value=b"\0"), b"\0"),
        (MessageAttribute(data_type="Binary", binary_value=b""), b""),
        (MessageAttribute(data_type="String"), ""),
    ],
)
def test_an_attribute_has_one_value(attribute: MessageAttribute, value: str | bytes) -> None:
    assert attribute.value == value


def test_a_message_shows_its_lease_and_its_attempt() -> None:
    """L8, L10."""
    one = message()
    assert (one.lease_lost, one.lease_capped, one.lease_deadline) == (False, True, 129.0)
    assert one.attempt == 3


def test_ack_retry_and_withhold_are_the_leases_business() -> None:
    """L14."""
    lease = Lease()
    one = message(lease)
    assert one.ack() is lease.settlement
    assert one.retry() is lease.settlement
    one.retry(after=30)
    one.withhold()
    assert (lease.settled, lease.withheld) == ([None, 0.0, 30], True)


def test_a_message_takes_no_attributes_of_others() -> None:
    """A slot less is memory saved at 120,000 in flight, and a misspelling found."""
    with pytest.raises(AttributeError):
        message().boddy = 1  # type: ignore[attr-defined]  # the misspelling


def test_messages_without_attributes_share_one_mapping_that_cannot_be_changed() -> None:
    """It is the mapping of all of them; a change by one handler would reach the others."""
    one, other = (Received(message_id=each, receipt="r") for each in "ab")
    assert one.attributes is other.attributes
    sent = MessageAttribute(data_type="String", string_value="x")
    for change in (
        lambda: one.attributes.update(tenant=sent),
        lambda: one.attributes.setdefault("tenant", sent),
        lambda: one.attributes.__setitem__("tenant", sent),
        lambda: one.attributes.__ior__({"tenant": sent}),
    ):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert other.attributes == {}


@pytest.mark.parametrize(
    ("sent", "count", "expected"),
    [
        ("1700000000000", "1", [2.5]),
        ("1700000000000", "2", []),
        ("1700000009000", "1", [0.0]),  # by a clock that is ahead of ours
        ("2023-11-14T22:13:20Z", "1", [2.5]),
        ("nan", "1", []),
        ("-inf", "1", []),
        (None, "1", []),
        ("1700000000000", None, [2.5]),  # without a count it is taken to be the first
    ],
)
def test_the_lag_is_measured_of_first_receives_whatever_a_server_writes(
    sent: str | None, count: str | None, expected: list[float]
) -> None:
    given = {"SentTimestamp": sent, "ApproximateReceiveCount": count}
    system = {name: value for name, value in given.items() if value is not None}
    usual = {"SentTimestamp": "1700000002000", "ApproximateReceiveCount": "1"}
    messages = [Received(message_id="m", receipt="r", body="b", system=each) for each in (usual, system)]
    assert lags_of(messages, 1_700_000_002.5) == [0.5, *expected]
