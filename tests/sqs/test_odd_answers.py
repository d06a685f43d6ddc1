"""Answers that are not in SQS's exact types: one odd value costs at most the message or the entry that holds it."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.api import EntryFailure, Outgoing, Sent
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.message import MessageAttribute

if TYPE_CHECKING:
    from leasekeeper.message import Received
    from leasekeeper.sqs.client import SqsClient

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
GOOD = {"MessageId": "good", "ReceiptHandle": "r-good", "Body": "good"}


def odd(**members: Any) -> dict[str, Any]:
    return {"MessageId": "odd", "ReceiptHandle": "r-odd", "Body": "a", **members}


def received(kit: Any, answer: bytes) -> list[Received]:
    found: list[Received] = []

    async def story(client: SqsClient, _: Any) -> None:
        found.extend(await client.receive(QUEUE, maximum=10, wait=0, visibility=30))

    kit.play(story, kit.answer(answer))
    return found


def both(kit: Any, message: dict[str, Any]) -> Received:
    """The odd message, from a receive that brought a good one as well."""
    good, read = received(kit, json.dumps({"Messages": [GOOD, message]}).encode())
    assert (good.message_id, good.body) == ("good", "good")
    assert (read.message_id, read.receipt, read.body) == ("odd", "r-odd", "a")
    return read


@pytest.mark.parametrize("member", ["Attributes", "MessageAttributes", "MD5OfBody", "MD5OfMessageAttributes"])
def test_null_is_absent(one_kit: Any, member: str) -> None:
    read = both(one_kit, odd(**{member: None}))
    assert (read.system, read.attributes, read.md5_of_body, read.md5_of_attributes) == ({}, {}, "", "")


def test_null_is_absent_inside_of_maps_too(one_kit: Any) -> None:
    read = both(
        one_kit, odd(Attributes={"SenderId": None, "SentTimestamp": "5"}, MessageAttributes={"a": None, "b": TEXT})
    )
    assert read.system == {"SentTimestamp": "5"}
    assert {name: each.value for name, each in read.attributes.items()} == {"b": "acme"}


TEXT = {"DataType": "String", "StringValue": "acme"}


@pytest.mark.parametrize(
    ("given", "count", "sent"),
    [
        ({"ApproximateReceiveCount": 3, "SentTimestamp": 1_700_000_000_123}, 3, 1_700_000_000.123),
        ({"ApproximateReceiveCount": "3", "SentTimestamp": "2023-11-14T22:13:20Z"}, 3, 1_700_000_000.0),
        ({"ApproximateReceiveCount": "0", "SentTimestamp": "yesterday"}, 1, 0.0),
        ({"ApproximateReceiveCount": "-4", "SentTimestamp": "-1"}, 1, 0.0),
        ({"ApproximateReceiveCount": "99999999999", "SentTimestamp": "9" * 5000}, 1_000_000, 0.0),
        ({"ApproximateReceiveCount": "9" * 5000, "SentTimestamp": ""}, 1, 0.0),
        ({"ApproximateReceiveCount": True, "SentTimestamp": [1]}, 1, 0.0),
        ({"ApproximateReceiveCount": {"N": "1"}, "SentTimestamp": 1e400}, 1, 0.0),
    ],
)
def test_a_statistic_never_costs_a_message(one_kit: Any, given: dict[str, Any], count: int, sent: float) -> None:
    read = both(one_kit, odd(Attributes=given))
    assert (read.receive_count, read.sent_at) == (count, sent)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ({"DataType": "String", "StringValue": "acme", "BinaryValue": ""}, "acme"),
        ({"DataType": "String.uuid", "StringValue": "acme", "BinaryValue": None}, "acme"),
        ({"DataType": "Binary", "StringValue": "", "BinaryValue": "AP8="}, b"\x00\xff"),
        ({"DataType": "Binary.png", "StringValue": "x"}, b""),
        ({"DataType": "Number", "StringValue": 5}, "5"),
        ({"DataType": "Number", "StringValue": 1.5}, "1.5"),
        ({"DataType": "String", "StringValue": "x", "StringListValues": [], "Novel": {}}, "x"),
    ],
)
def test_a_value_goes_by_its_data_type(one_kit: Any, attribute: dict[str, Any], value: str | bytes) -> None:
    assert both(one_kit, odd(MessageAttributes={"tenant": attribute})).attributes["tenant"].value == value


def test_an_attribute_with_an_empty_second_value_is_what_its_md5_says(one_kit: Any) -> None:
    """MD5 of `tenant`, `String`, `acme` as AWS computes it: it covers the value of the data type alone."""
    digest = hashlib.md5(b"\0\0\0\6tenant\0\0\0\6String\1\0\0\0\4acme").hexdigest()
    attribute = {"DataType": "String", "StringValue": "acme", "BinaryValue": ""}
    both(one_kit, odd(MessageAttributes={"tenant": attribute}, MD5OfMessageAttributes=digest))


BAD = [
    b'{"MessageId": "bad", "ReceiptHandle": "r", "Body": "\\ud800"}',
    b'{"MessageId": "bad", "ReceiptHandle": "r", "Body": "\xff"}',
    b'{"MessageId": "bad", "ReceiptHandle": "r", "Body": {"a": 1}}',
    b'{"MessageId": "bad", "Body": "no receipt"}',
    b'{"MessageId": "bad", "ReceiptHandle": null, "Body": "no receipt"}',
    b'{"MessageId": "bad", "ReceiptHandle": "r", "Body": "a", "MessageAttributes": {"tenant": 5}}',
    b'{"MessageId": "bad", "ReceiptHandle": "r", "Body": "a", "MessageAttributes": {"tenant": {"StringValue": "x"}}}',
    b'{"MessageId": "bad", "ReceiptHandle": "r", "Body": "a", "MessageAttributes": [1]}',
    b'"bad"',
    b"null",
]


@pytest.mark.parametrize("bad", BAD)
def test_a_message_that_cannot_be_read_costs_only_itself(
    one_kit: Any, caplog: pytest.LogCaptureFixture, bad: bytes
) -> None:
    good = json.dumps(GOOD).encode()
    with caplog.at_level(logging.ERROR, "leasekeeper.sqs"):
        read = received(one_kit, b'{"Messages": [' + good + b"," + bad + b"," + good + b"]}")
    assert [each.message_id for each in read] == ["good", "good"]
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "ReceiveMessage: a part of the answer cannot be read and was left out: entry 1 ("
    )
    assert ("'bad'" in record.getMessage()) == bad.startswith(b"{")


def test_a_logger_that_raises_costs_no_message(one_kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """L15: the handlers of a logger are a user's code."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit(record.getMessage())

    logger = logging.getLogger("leasekeeper.sqs")
    monkeypatch.setattr(logger, "handlers", [Broken()])
    wrong = odd(MD5OfBody="0" * 32)
    read = received(one_kit, json.dumps({"Messages": [GOOD, 5, wrong]}).encode())
    assert [each.message_id for each in read] == ["good"]


@pytest.mark.parametrize("bad", BAD)
def test_a_receive_without_one_message_that_can_be_read_has_failed(one_kit: Any, bad: bytes) -> None:
    """Else every message of such a server is received, hidden and left alone, without a pause."""
    with pytest.raises(SqsError) as failed:
        received(one_kit, b'{"Messages": [' + bad + b"]}")
    assert (failed.value.verdict, failed.value.code) == (Verdict.UNAVAILABLE, "Garbage")


@pytest.mark.parametrize(
    "answer",
    [b'{"X":' + b"[" * 100_000, b'{"Messages":[' + b"[" * 100_000, b'{"Messages": 5}', b"{", b"\x00", b"1" * 9_000],
)
def test_what_is_no_answer_is_garbage(one_kit: Any, answer: bytes) -> None:
    with pytest.raises(SqsError) as failed:
        received(one_kit, answer)
    assert (failed.value.verdict, failed.value.code) == (Verdict.UNAVAILABLE, "Garbage")
    assert len(str(failed.value)) < 1_000


@pytest.mark.parametrize(
    ("failed", "verdict", "code"),
    [
        (
            {"Id": 1, "Code": "InternalError", "SenderFault": "false", "Message": None},
            Verdict.UNAVAILABLE,
            "InternalError",
        ),
        ({"Id": "1", "Code": "InternalError", "SenderFault": 0, "Message": 5}, Verdict.UNAVAILABLE, "InternalError"),
        ({"Id": "1", "Code": None, "SenderFault": None}, Verdict.UNAVAILABLE, ""),
        ({"Id": "1", "Code": {}, "SenderFault": [], "Message": {}}, Verdict.UNAVAILABLE, ""),
        (
            {"Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": "true"},
            Verdict.LEASE_LOST,
            "ReceiptHandleIsInvalid",
        ),
    ],
)
def test_an_odd_failure_of_an_entry_does_not_hide_the_others(
    one_kit: Any, failed: dict[str, Any], verdict: Verdict, code: str
) -> None:
    """L12: what an entry without a code means is not SQS's final word."""

    async def story(client: SqsClient, _: Any) -> None:
        first, second, third = await client.delete_batch(QUEUE, ["a", "b", "c"])
        assert first is None
        assert third is None
        assert isinstance(second, EntryFailure)
        assert (second.verdict, second.code) == (verdict, code)

    one_kit.play(story, one_kit.answer({"Successful": [{"Id": 0}, {"Id": "2", "Novel": 1}], "Failed": [failed]}))


def test_an_entry_that_is_named_ten_times_confirms_no_other(one_kit: Any) -> None:
    """L12: the answer must name each entry."""

    async def story(client: SqsClient, _: Any) -> None:
        outcome = await client.delete_batch(QUEUE, ["a", "b", "c"])
        assert [each.code if each else None for each in outcome] == [None, "Unconfirmed", "Unconfirmed"]

    one_kit.play(story, one_kit.answer({"Successful": [{"Id": "0"}] * 3}))


def test_confirmations_may_come_in_any_order(one_kit: Any) -> None:
    async def story(client: SqsClient, _: Any) -> None:
        assert await client.delete_batch(QUEUE, ["a", "b", "c"]) == [None, None, None]

    one_kit.play(story, one_kit.answer({"Successful": [{"Id": "2"}, {"Id": "0"}, {"Id": "1"}]}))


def test_odd_answers_to_sends_are_read(one_kit: Any) -> None:
    async def story(client: SqsClient, _: Any) -> None:
        assert await client.send(QUEUE, Outgoing(body="x")) == Sent("5", "18")
        assert await client.send_batch(QUEUE, [Outgoing(body="x"), Outgoing(body="y")]) == [
            Sent("m"),
            EntryFailure(Verdict.UNAVAILABLE, "", "", True),
        ]

    one_kit.play(
        story,
        one_kit.answer({"MessageId": 5, "SequenceNumber": 18}),
        one_kit.answer({"Successful": [{"Id": 0, "MessageId": "m", "SequenceNumber": None}], "Failed": [{"Id": 1}]}),
    )


def test_odd_answers_to_calls_of_administration_are_read(one_kit: Any) -> None:
    task = {"TaskHandle": None, "Status": "FAILED", "StartedTimestamp": "2023-11-14T22:13:20Z", "SourceArn": "a"}

    async def story(client: SqsClient, _: Any) -> None:
        assert await client.queue_attributes(QUEUE) == {"DelaySeconds": "0", "FifoQueue": "true"}
        assert await client.queue_attributes(QUEUE) == {}
        (read,) = await client.list_message_move_tasks("a")
        assert (read.status, read.started_timestamp, read.approximate_number_of_messages_moved) == ("FAILED", 0, 7)
        assert await client.list_queues() == ["5"]
        assert await client.cancel_message_move_task("h") == 3

    one_kit.play(
        story,
        one_kit.answer({"Attributes": {"DelaySeconds": 0, "FifoQueue": True, "Policy": None, "Odd": [1]}}),
        one_kit.answer({"Attributes": None}),
        one_kit.answer({"Results": [{**task, "ApproximateNumberOfMessagesMoved": "7"}]}),
        one_kit.answer({"QueueUrls": [5], "NextToken": None}),
        one_kit.answer({"ApproximateNumberOfMessagesMoved": "3"}),
    )


def test_a_sent_attribute_carries_the_one_value_of_its_type(one_kit: Any) -> None:
    """A copy of an odd message goes to the dead-letter queue, and SQS refuses an attribute with two values (L30)."""
    both_values = {
        "t": MessageAttribute(data_type="String", string_value="acme", binary_value=b""),
        "b": MessageAttribute(data_type="Binary", string_value="", binary_value=b"\0"),
    }

    async def story(client: SqsClient, script: Any) -> None:
        await client.send(QUEUE, Outgoing(body="x", attributes=both_values))
        assert script.asked[0].body["MessageAttributes"] == {
            "t": {"DataType": "String", "StringValue": "acme"},
            "b": {"DataType": "Binary", "BinaryValue": "AA=="},
        }

    one_kit.play(story, one_kit.answer({"MessageId": "m"}))
