from __future__ import annotations

import hashlib
from typing import Any

import pytest


def test_one_receive_returns_the_messages_of_a_group_in_order(fifo: Any) -> None:
    for body in "123":
        fifo.send(body, group="a")
    assert fifo.bodies() == ["1", "2", "3"]


@pytest.mark.always
def test_a_group_is_locked_until_all_its_received_messages_are_deleted(fifo: Any) -> None:
    for body in "123":
        fifo.send(body, group="a")
    one, two = fifo.receive(2)
    assert fifo.bodies() == []
    fifo.delete(one)
    assert fifo.bodies() == []
    fifo.delete(two)
    assert fifo.bodies() == ["3"]


def test_a_locked_group_locks_no_other_group(fifo: Any) -> None:
    fifo.send("a1", group="a")
    fifo.receive()
    fifo.send("a2", group="a")
    fifo.send("b1", group="b")
    assert fifo.bodies() == ["b1"]


@pytest.mark.differs("moto", "ministack", because="any message in flight locks its whole group")
def test_a_released_message_is_received_without_later_ones_in_flight(fifo: Any) -> None:
    for body in "12":
        fifo.send(body, group="a")
    one, _ = fifo.receive()
    fifo.hide(one, 0)
    assert fifo.bodies() == ["1"]


@pytest.mark.differs("moto", "ministack", because="any message in flight locks its whole group")
def test_messages_after_an_invisible_one_wait(fifo: Any) -> None:
    for body in "123":
        fifo.send(body, group="a")
    one, two, three = fifo.receive()
    fifo.hide(two, 60)
    fifo.hide(three, 0)
    fifo.hide(one, 0)
    assert fifo.bodies() == ["1"]


def test_messages_released_from_the_last_on_keep_their_order(fifo: Any) -> None:
    """L24: FIFO messages that are released from the last to the first keep their order."""
    for body in "123":
        fifo.send(body, group="a")
    for message in reversed(fifo.receive()):
        fifo.hide(message, 0)
    assert fifo.bodies() == ["1", "2", "3"]


@pytest.mark.differs("moto", because="an expired receipt still deletes")
@pytest.mark.differs("ministack", because="the error is ReceiptHandleIsInvalid")
def test_a_delete_after_the_visibility_timeout_fails(fifo: Any) -> None:
    fifo.send("1", group="a")
    message = fifo.one(VisibilityTimeout=1)
    fifo.one()
    refused = fifo.refused("delete_message", ReceiptHandle=message["ReceiptHandle"])
    assert (refused.code, refused.status) == ("InvalidParameterValue", 400)
    assert "The receipt handle has expired" in refused.message


@pytest.mark.differs("moto", because="a duplicate is answered with a new id")
def test_a_duplicate_is_answered_like_the_first_and_not_stored(fifo: Any) -> None:
    first = fifo.send("same", group="a")
    fifo.delete(fifo.one())
    second = fifo.send("same", group="a")
    assert second["MessageId"] == first["MessageId"]
    assert second["SequenceNumber"] == first["SequenceNumber"]
    assert fifo.bodies() == []


def test_an_explicit_deduplication_id_replaces_the_content(fifo: Any) -> None:
    fifo.send("same", group="a", MessageDeduplicationId="1")
    fifo.send("same", group="a", MessageDeduplicationId="2")
    fifo.send("other", group="a", MessageDeduplicationId="2")
    assert fifo.bodies() == ["same", "same"]


@pytest.mark.differs("moto", because="a send is not answered with a SequenceNumber")
def test_system_attributes_of_a_fifo_message(fifo: Any) -> None:
    sent = fifo.send("body", group="a")
    attributes = fifo.one()["Attributes"]
    assert attributes["MessageGroupId"] == "a"
    assert attributes["MessageDeduplicationId"] == hashlib.sha256(b"body").hexdigest()
    assert attributes["SequenceNumber"] == sent["SequenceNumber"]
    assert len(attributes["SequenceNumber"]) == 20


def test_a_group_is_required(fifo: Any) -> None:
    assert fifo.refused("send_message", MessageBody="x").code == "MissingParameter"


def test_a_deduplication_id_is_required_without_content_deduplication(sqs: Any) -> None:
    fifo = sqs.queue(fifo=True, ContentBasedDeduplication="false")
    assert fifo.refused("send_message", MessageBody="x", MessageGroupId="a").code == "InvalidParameterValue"


@pytest.mark.differs("ministack", because="the delay is accepted")
def test_a_delay_of_a_single_message_is_refused(fifo: Any) -> None:
    refused = fifo.refused("send_message", MessageBody="x", MessageGroupId="a", DelaySeconds=5)
    assert refused.code == "InvalidParameterValue"


@pytest.mark.differs("moto", "ministack", because="a standard queue accepts it")
def test_a_deduplication_id_is_for_fifo_queues(queue: Any) -> None:
    refused = queue.refused("send_message", MessageBody="x", MessageDeduplicationId="d")
    assert refused.code == "InvalidParameterValue"


@pytest.mark.differs("moto", "ministack", because="attempt ids are ignored")
def test_a_receive_repeated_with_its_attempt_id_returns_the_same(fifo: Any) -> None:
    fifo.send("1", group="a")
    first = fifo.receive(ReceiveRequestAttemptId="try")
    assert len(first) == 1
    again = fifo.receive(ReceiveRequestAttemptId="try")
    assert [message["ReceiptHandle"] for message in again] == [message["ReceiptHandle"] for message in first]


@pytest.mark.parametrize(
    "scope",
    [
        "queue",
        pytest.param("messageGroup", marks=pytest.mark.differs("moto", because="duplicates are always of the queue")),
    ],
)
def test_duplicates_are_found_in_the_queue_or_in_the_group(sqs: Any, scope: str) -> None:
    limit = "perMessageGroupId" if scope == "messageGroup" else "perQueue"
    fifo = sqs.queue(fifo=True, DeduplicationScope=scope, FifoThroughputLimit=limit)
    fifo.send("same", group="a")
    fifo.send("same", group="b")
    assert len(fifo.receive()) == (1 if scope == "queue" else 2)


def test_a_delayed_message_does_not_hold_back_a_later_one_that_is_visible(sqs: Any) -> None:
    fifo = sqs.queue(fifo=True, DelaySeconds="900")
    fifo.send("1", group="a")
    fifo.ask("set_queue_attributes", Attributes={"DelaySeconds": "0"})
    fifo.send("2", group="a")
    assert fifo.bodies(1) in (["2"], ["1"])  # AWS documents that the new delay applies to messages in the queue too


@pytest.mark.differs("ministack", because="the entry is accepted")
@pytest.mark.parametrize(
    "missing",
    [
        pytest.param("MessageGroupId", marks=pytest.mark.differs("moto", because="the code is MissingParameter")),
        "MessageDeduplicationId",
    ],
)
def test_a_batch_with_an_entry_that_lacks_an_id_is_refused_as_a_whole(sqs: Any, missing: str) -> None:
    fifo = sqs.queue(fifo=True, ContentBasedDeduplication="false")
    entries = [
        {"Id": str(at), "MessageBody": "x", "MessageGroupId": "a", "MessageDeduplicationId": str(at)} for at in range(2)
    ]
    del entries[1][missing]
    refused = fifo.refused("send_message_batch", Entries=entries)
    assert (refused.code, refused.status) == ("InvalidParameterValue", 400)
    assert fifo.counts() == (0, 0, 0)


@pytest.mark.differs("ministack", because="a purge keeps deduplication ids")
def test_a_purge_forgets_deduplication_ids(fifo: Any) -> None:
    fifo.send("same", group="a")
    fifo.ask("purge_queue")
    fifo.send("same", group="a")
    assert fifo.bodies(wait=1) == ["same"]


@pytest.mark.differs("moto", "ministack", because="attempt ids are ignored")
def test_an_attempt_is_refused_after_a_change_to_one_of_its_messages(fifo: Any) -> None:
    fifo.send("1", group="a")
    (message,) = fifo.receive(ReceiveRequestAttemptId="try")
    fifo.hide(message, 60)
    refused = fifo.refused("receive_message", ReceiveRequestAttemptId="try")
    assert refused.code == "InvalidParameterValue"
    assert "not valid anymore since the receive call is not retryable" in refused.message
