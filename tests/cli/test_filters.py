"""The filters of `redrive`: which dead letters are meant."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from leasekeeper.cli.causes import DeadLetter
from leasekeeper.cli.redrive.filters import Filters, Pattern, moment
from leasekeeper.errors import ConfigurationError
from leasekeeper.failure import FAILURE, Failure
from leasekeeper.message import MessageAttribute, Received

if TYPE_CHECKING:
    from collections.abc import Sequence

ATTRIBUTES = {
    "tenant": MessageAttribute(data_type="String", string_value="acme"),
    "a.b": MessageAttribute(data_type="Number", string_value="3"),
    "blob": MessageAttribute(data_type="Binary", binary_value=b"hi\xff"),
    FAILURE: Failure(
        reason="exhausted", error="TimeoutError", message="no  answer\nin 3 s", queue="arn:aws:sqs:x:1:orders"
    ).attribute(),
}
COPY = Received(message_id="1", receipt="r", attributes=ATTRIBUTES, system={"SentTimestamp": "1700000000000"})
BY_SQS = Received(message_id="2", receipt="r", system={"DeadLetterQueueSourceArn": "arn:aws:sqs:x:1:bills"})


def chosen(where: Sequence[str] = (), after: str | None = None, before: str | None = None) -> list[Received]:
    filters = Filters.read(where, after, before)
    return [each for each in (COPY, BY_SQS) if filters.match(each, DeadLetter.of(each))]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ([], [COPY, BY_SQS]),
        (["error=TimeoutError"], [COPY]),
        (["error=Timeout"], []),
        (["error=*Error", "queue=orders"], [COPY]),
        (["error=*Error", "queue=bills"], []),
        (["queue=orders", "queue=bills"], [COPY, BY_SQS]),
        (["reason=maxReceiveCount"], [BY_SQS]),
        (["reason=exhausted"], [COPY]),
        (["message=no answer in * s"], [COPY]),
        (["error="], [BY_SQS]),
        (["attribute.tenant=acme"], [COPY]),
        (["attribute.a.b=3"], [COPY]),
        (["attribute.blob=hi*"], [COPY]),
        (["attribute.tenant=a*", "attribute.a.b=4"], []),
        (["attribute.none="], [COPY, BY_SQS]),
    ],
)
def test_a_message_matches_one_value_of_each_key(where: list[str], found: list[Received]) -> None:
    assert chosen(where) == found


def test_a_message_without_a_known_time_is_not_chosen_by_time() -> None:
    assert chosen(after="2023-11-14T22:13:20Z") == [COPY]
    assert chosen(after="2023-11-14T22:13:21Z") == []
    assert chosen(before="2023-11-14T22:13:20") == []
    assert chosen(before="2023-11-14T22:13:21") == [COPY]


def test_the_first_sending_counts_and_not_that_of_the_copy() -> None:
    sent_before = Failure(sent="2023-11-01T00:00:00Z").attribute()
    copy = Received(message_id="1", receipt="r", attributes={FAILURE: sent_before}, system=COPY.system)
    assert DeadLetter.of(copy).sent == moment("x", "2023-11-01")


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "", True), ("", "a", False), ("a", "a", True), ("a", "ab", False), ("*", "", True), ("*", "any", True),
        ("a*", "ab", True), ("a*", "ba", False), ("*a", "ba", True), ("a*a", "a", False), ("a*a", "aa", True),
        ("a*b*c", "a-b-c", True), ("a*b*c", "a-c-b", False), ("*b*", "abc", True), ("**", "x", True),
        ("[a]", "[a]", True), ("a  b", "a b", True),
    ],
)  # fmt: skip
def test_a_star_stands_for_any_text(pattern: str, text: str, *, matches: bool) -> None:
    assert Pattern(pattern).matches(text) is matches


@pytest.mark.parametrize("where", ["error", "=x", "tenant=acme", "attribute.=x", "attribute=x", "Error=x"])
def test_a_filter_that_is_none_is_refused(where: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^--where='.*': must be KEY=VALUE, KEY one of error, message, reason, "
    ):
        Filters.read([where], None, None)


@pytest.mark.parametrize("given", ["soon", "3", "3 weeks", "-2h", "2026-13-01", ""])
def test_a_time_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--sent-after='.*': must be a time, e.g. 2026-11-28T09:00"):
        moment("--sent-after", given)


@pytest.mark.parametrize(("given", "seconds"), [("90min", 5_400), ("2h", 7_200), ("1.5 d", 129_600), ("10s", 10)])
def test_a_time_ago_counts_from_now(given: str, seconds: float) -> None:
    found = moment("--sent-before", given)
    assert found is not None
    assert abs(time.time() - seconds - found) < 60
