from __future__ import annotations

import threading
import time
from typing import Any

import pytest


@pytest.mark.always
def test_a_message_is_received_as_it_was_sent(queue: Any) -> None:
    attributes = {
        "text": {"DataType": "String.kind", "StringValue": "v"},
        "number": {"DataType": "Number", "StringValue": "1.50"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sent = queue.send("grüß dich, 世界 😀", MessageAttributes=attributes)
    message = queue.one()
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == "grüß dich, 世界 😀"
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]


def test_system_attributes_are_text_and_times_epoch_milliseconds(queue: Any) -> None:
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
    before = time.time() * 1000 - 1000
    queue.send("a", MessageSystemAttributes=trace)
    attributes = queue.one()["Attributes"]
    assert attributes["ApproximateReceiveCount"] == "1"
    assert attributes["AWSTraceHeader"] == trace["AWSTraceHeader"]["StringValue"]
    assert before <= int(attributes["SentTimestamp"]) <= int(attributes["ApproximateFirstReceiveTimestamp"])
    assert attributes["SenderId"]


def test_no_attributes_are_returned_by_default(queue: Any) -> None:
    queue.send("a", MessageAttributes={"k": {"DataType": "String", "StringValue": "v"}})
    message = queue.one(MessageSystemAttributeNames=[], MessageAttributeNames=[])
    assert "Attributes" not in message
    assert "MessageAttributes" not in message
    assert "MD5OfMessageAttributes" not in message


def test_attributes_are_chosen_by_name_and_prefix(queue: Any) -> None:
    value = {"DataType": "String", "StringValue": "v"}
    queue.send("a", MessageAttributes=dict.fromkeys(("a.b", "a.c", "d", "e"), value))
    message = queue.one(MessageAttributeNames=["a.*", "d"])
    assert sorted(message["MessageAttributes"]) == ["a.b", "a.c", "d"]


@pytest.mark.parametrize(
    "wanted",
    ["All", ".*", pytest.param("*", marks=pytest.mark.differs("moto", "ministack", because="* is not known"))],
)
def test_all_attributes_are_chosen_in_three_ways(queue: Any, wanted: str) -> None:
    value = {"DataType": "String", "StringValue": "v"}
    queue.send("a", MessageAttributes=dict.fromkeys(("a.b", "c"), value))
    assert sorted(queue.one(MessageAttributeNames=[wanted])["MessageAttributes"]) == ["a.b", "c"]


def test_an_empty_receive_has_no_messages_member(queue: Any) -> None:
    assert "Messages" not in queue.ask("receive_message")


def test_a_receive_returns_one_message_by_default(queue: Any) -> None:
    for body in "abc":
        queue.send(body)
    assert len(queue.ask("receive_message")["Messages"]) == 1


def test_a_message_is_received_again_after_its_timeout_with_another_receipt(queue: Any) -> None:
    queue.send("a")
    first = queue.one(VisibilityTimeout=1)
    assert queue.bodies() == []
    second = queue.one()
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"


def test_the_timeout_of_the_queue_is_the_default(sqs: Any) -> None:
    queue = sqs.queue(VisibilityTimeout="1")
    queue.send("a")
    queue.receive()
    assert queue.bodies() == []
    assert queue.one()["Body"] == "a"


def test_a_deleted_message_is_not_received_again(queue: Any) -> None:
    queue.send("a")
    queue.delete(queue.one(VisibilityTimeout=1))
    assert queue.bodies(wait=2) == []


@pytest.mark.differs("ministack", because="the receipt of a deleted message is refused")
def test_a_message_can_be_deleted_twice(queue: Any) -> None:
    queue.send("a")
    message = queue.one()
    queue.delete(message)
    queue.delete(message)


def test_the_latest_receipt_deletes_after_its_timeout(queue: Any) -> None:
    queue.send("a")
    message = queue.one(VisibilityTimeout=0)
    queue.delete(message)
    assert queue.bodies(wait=1) == []


def test_text_that_is_not_a_receipt_is_refused(queue: Any) -> None:
    for operation, extra in (("delete_message", {}), ("change_message_visibility", {"VisibilityTimeout": 1})):
        assert queue.refused(operation, ReceiptHandle="garbage", **extra).code == "ReceiptHandleIsInvalid"


def test_a_new_timeout_starts_with_the_call_that_sets_it(queue: Any) -> None:
    queue.send("a")
    message = queue.one(VisibilityTimeout=1)
    queue.hide(message, 60)
    assert queue.bodies(wait=2) == []
    queue.hide(message, 1)
    assert queue.one()["Body"] == "a"


def test_timeout_0_releases_a_message_at_once(queue: Any) -> None:
    queue.send("a")
    queue.hide(queue.one(), 0)
    assert queue.bodies() == ["a"]


@pytest.mark.differs("moto", "ministack", because="the error is ReceiptHandleIsInvalid")
def test_the_visibility_of_a_deleted_message_cannot_change(queue: Any) -> None:
    queue.send("a")
    message = queue.one()
    queue.delete(message)
    refused = queue.refused("change_message_visibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=1)
    assert (refused.code, refused.status) == ("InvalidParameterValue", 400)


@pytest.mark.differs("ministack", because="an old receipt is refused")
def test_an_old_receipt_releases_a_message_that_was_received_again(queue: Any) -> None:
    queue.send("a")
    first = queue.one(VisibilityTimeout=0)
    queue.one(VisibilityTimeout=60)
    queue.hide(first, 0)
    assert queue.bodies() == ["a"]


def test_the_latest_receipt_changes_the_visibility_after_its_timeout(queue: Any) -> None:
    queue.send("a")
    message = queue.one(VisibilityTimeout=0)
    queue.hide(message, 30)


@pytest.mark.differs("ministack", because="there is no limit of twelve hours")
def test_visibility_ends_at_most_twelve_hours_after_the_receive(queue: Any) -> None:
    queue.send("a")
    message = queue.one()
    refused = queue.refused(
        "change_message_visibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=43_200
    )
    assert refused.code == "InvalidParameterValue"
    assert "beyond the limit [43200 seconds]" in refused.message
    queue.hide(message, 43_190)


def test_a_delayed_message_is_received_after_its_delay(sqs: Any) -> None:
    queue = sqs.queue(DelaySeconds="30")
    queue.send("of the queue")
    queue.send("own", DelaySeconds=1)
    assert queue.counts() == (0, 0, 2)
    assert queue.bodies() == []
    assert queue.one()["Body"] == "own"


def test_a_long_poll_of_an_empty_queue_waits(queue: Any) -> None:
    started = time.monotonic()
    assert queue.bodies(wait=1) == []
    assert 0.9 < time.monotonic() - started < 15


@pytest.mark.parametrize("cause", ["send", "release"])
def test_a_long_poll_ends_when_a_message_arrives(queue: Any, cause: str) -> None:
    message = None
    if cause == "release":
        queue.send("a")
        message = queue.one()
    act = threading.Timer(0.5, lambda: queue.hide(message, 0) if message else queue.send("a"))
    act.start()
    started = time.monotonic()
    assert queue.bodies(wait=20) == ["a"]
    assert time.monotonic() - started < 10
    act.join()


def test_the_wait_of_the_queue_is_the_default(sqs: Any) -> None:
    queue = sqs.queue(ReceiveMessageWaitTimeSeconds="1")
    started = time.monotonic()
    assert "Messages" not in queue.ask("receive_message")
    assert time.monotonic() - started > 0.9


def test_a_group_id_on_a_standard_queue_is_returned_and_locks_no_message(queue: Any) -> None:
    for body in "abc":
        queue.send(body, group="tenant")
    messages = queue.receive()
    assert len(messages) == 3
    assert messages[0]["Attributes"]["MessageGroupId"] == "tenant"


def test_the_counts_are_by_place(queue: Any) -> None:
    for body in "abc":
        queue.send(body)
    queue.send("d", DelaySeconds=60)
    queue.receive(1)
    assert queue.counts() == (2, 1, 1)


def test_a_purge_empties_the_queue(queue: Any) -> None:
    queue.send("in flight")
    queue.one(VisibilityTimeout=1)
    queue.send("visible")
    queue.ask("purge_queue")
    assert queue.bodies(wait=2) == []
    assert queue.counts() == (0, 0, 0)


@pytest.mark.differs("ministack", because="a queue may be purged at any time")
def test_a_second_purge_within_a_minute_is_refused(queue: Any) -> None:
    queue.ask("purge_queue")
    refused = queue.refused("purge_queue")
    assert (refused.code, refused.status) == ("AWS.SimpleQueueService.PurgeQueueInProgress", 403)


# ---- batches


def test_messages_are_sent_and_deleted_in_batches(queue: Any) -> None:
    entries = [{"Id": f"e{at}", "MessageBody": str(at)} for at in range(10)]
    sent = queue.ask("send_message_batch", Entries=entries)
    assert [entry["Id"] for entry in sent["Successful"]] == [entry["Id"] for entry in entries]
    assert not sent.get("Failed")
    messages = queue.receive()
    assert sorted(message["Body"] for message in messages) == [str(at) for at in range(10)]
    entries = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(messages)]
    assert len(queue.ask("delete_message_batch", Entries=entries)["Successful"]) == 10
    assert queue.counts() == (0, 0, 0)


@pytest.mark.differs("ministack", because="an old receipt is refused")
def test_two_deliveries_of_one_message_are_deleted_in_one_batch(queue: Any) -> None:
    """L11: SQS distinguishes entries only by their id."""
    queue.send("a")
    receipts = [queue.one(VisibilityTimeout=0)["ReceiptHandle"] for _ in range(2)]
    entries = [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate(receipts)]
    answer = queue.ask("delete_message_batch", Entries=entries)
    assert {entry["Id"] for entry in answer["Successful"]} == {"0", "1"}
    assert queue.bodies(wait=1) == []


def test_only_the_invalid_entry_of_a_batch_fails(queue: Any) -> None:
    queue.send("a")
    receipt = queue.one()["ReceiptHandle"]
    deleted = queue.ask(
        "delete_message_batch",
        Entries=[{"Id": "good", "ReceiptHandle": receipt}, {"Id": "bad", "ReceiptHandle": "garbage"}],
    )
    assert [entry["Id"] for entry in deleted["Successful"]] == ["good"]
    (failed,) = deleted["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "ReceiptHandleIsInvalid", True)


def test_only_the_invalid_entry_of_a_visibility_batch_fails(queue: Any) -> None:
    queue.send("a")
    receipt = queue.one()["ReceiptHandle"]
    changed = queue.ask(
        "change_message_visibility_batch",
        Entries=[
            {"Id": "good", "ReceiptHandle": receipt, "VisibilityTimeout": 0},
            {"Id": "bad", "ReceiptHandle": "garbage", "VisibilityTimeout": 0},
        ],
    )
    assert [entry["Id"] for entry in changed["Successful"]] == ["good"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in changed["Failed"]] == [("bad", True)]
    assert queue.bodies() == ["a"]


@pytest.mark.differs("moto", because="characters are not checked")
def test_an_invalid_body_fails_only_its_entry(queue: Any) -> None:
    entries = [{"Id": "good", "MessageBody": "a"}, {"Id": "bad", "MessageBody": "\x00"}]
    sent = queue.ask("send_message_batch", Entries=entries)
    assert [entry["Id"] for entry in sent["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"]) for entry in sent["Failed"]] == [("bad", "InvalidMessageContents")]


@pytest.mark.differs("ministack", because="the rules of batches are not checked")
@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ([], "EmptyBatchRequest"),
        pytest.param(
            [str(at) for at in range(11)],
            "TooManyEntriesInBatchRequest",
            marks=pytest.mark.differs("moto", because="entries are not counted"),
        ),
        pytest.param(
            ["a", "a"],
            "BatchEntryIdsNotDistinct",
            marks=pytest.mark.differs("moto", because="it checks receipts instead of ids"),
        ),
        pytest.param(
            ["a b"], "InvalidBatchEntryId", marks=pytest.mark.differs("moto", because="entry ids are not checked")
        ),
    ],
)
def test_an_invalid_batch_is_refused_as_a_whole(queue: Any, ids: list[str], code: str) -> None:
    entries = [{"Id": entry_id, "ReceiptHandle": f"r{at}"} for at, entry_id in enumerate(ids)]
    refused = queue.refused("delete_message_batch", Entries=entries)
    assert (refused.code, refused.status) == (f"AWS.SimpleQueueService.{code}", 400)


def test_a_batch_is_limited_to_a_mebibyte_in_total(queue: Any) -> None:
    half = "x" * 524_288
    entries = [{"Id": str(at), "MessageBody": half + "x" * at} for at in range(2)]
    assert queue.refused("send_message_batch", Entries=entries).code == ("AWS.SimpleQueueService.BatchRequestTooLong")
