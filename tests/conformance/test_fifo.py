from __future__ import annotations

import hashlib
from typing import Any

import pytest


def test_a_groups_messages_come_in_order_in_one_receive(fifo: Any) -> None:
    for body in "123":
        fifo.send(body, group="a")
    assert fifo.bodies() == ["1", "2", "3"]


def test_a_group_is_locked_until_all_that_was_received_of_it_is_deleted(fifo: Any) -> None:
    for body in "123":
        fifo.send(body, group="a")
    one, two = fifo.receive(2)
    assert fifo.bodies() == []
    fifo.delete(one)
    assert fifo.bodies() == []
    fifo.delete(two)
    assert fifo.bodies() == ["3"]


def test_a_locked_group_locks_no_other(fifo: Any) -> None:
    fifo.send("a1", group="a")
    fifo.receive()
    fifo.send("a2", group="a")
    fifo.send("b1", group="b")
    assert fifo.bodies() == ["b1"]


@pytest.mark.differs("moto", "ministack", because="any message in flight locks its whole group")
def test_a_message_released_comes_without_those_still_held(fifo: Any) -> None:
    for body in "12":
        fifo.send(body, group="a")
    one, _ = fifo.receive()
    fifo.hide(one, 0)
    assert fifo.bodies() == ["1"]


@pytest.mark.differs("moto", "ministack", because="any message in flight locks its whole group")
def test_those_behind_an_invisible_message_wait(fifo: Any) -> None:
    for body in "123":
        fifo.send(body, group="a")
    one, two, three = fifo.receive()
    fifo.hide(two, 60)
    fifo.hide(three, 0)
    fifo.hide(one, 0)
    assert fifo.bodies() == ["1"]


def test_released_from_the_tail_the_order_holds(fifo: Any) -> None:
    """L24: FIFO messages released from the tail come again in their order."""
    for body in "123":
        fifo.send(body, group="a")
    for message in reversed(fifo.receive()):
        fifo.hide(message, 0)
    assert fifo.bodies() == ["1", "2", "3"]


@pytest.mark.differs("moto", because="an expired receipt still deletes")
@pytest.mark.differs("ministack", because="the error is ReceiptHandleIsInvalid")
def test_deleting_after_the_visibility_timeout_fails(fifo: Any) -> None:
    fifo.send("1", group="a")
    message = fifo.one(VisibilityTimeout=1)
    fifo.one()
    refused = fifo.refused("delete_message", ReceiptHandle=message["ReceiptHandle"])
    assert (refused.code, refused.status) == ("InvalidParameterValue", 400)
    assert "The receipt handle has expired" in refused.message


@pytest.mark.differs("moto", because="a duplicate is answered with an id of its own")
def test_a_duplicate_is_answered_as_the_first_and_not_kept(fifo: Any) -> None:
    first = fifo.send("same", group="a")
    fifo.delete(fifo.one())
    second = fifo.send("same", group="a")
    assert second["MessageId"] == first["MessageId"]
    assert second["SequenceNumber"] == first["SequenceNumber"]
    assert fifo.bodies() == []


def test_an_explicit_deduplication_id_goes_before_the_content(fifo: Any) -> None:
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


def test_a_group_is_needed(fifo: Any) -> None:
    assert fifo.refused("send_message", MessageBody="x").code == "MissingParameter"


def test_an_id_is_needed_where_content_does_not_count(sqs: Any) -> None:
    fifo = sqs.queue(fifo=True, ContentBasedDeduplication="false")
    assert fifo.refused("send_message", MessageBody="x", MessageGroupId="a").code == "InvalidParameterValue"


@pytest.mark.differs("ministack", because="the delay is taken")
def test_a_messages_own_delay_is_refused(fifo: Any) -> None:
    refused = fifo.refused("send_message", MessageBody="x", MessageGroupId="a", DelaySeconds=5)
    assert refused.code == "InvalidParameterValue"


@pytest.mark.differs("moto", "ministack", because="a standard queue takes it")
def test_a_deduplication_id_is_for_fifo_queues(queue: Any) -> None:
    refused = queue.refused("send_message", MessageBody="x", MessageDeduplicationId="d")
    assert refused.code == "InvalidParameterValue"


@pytest.mark.differs("moto", "ministack", because="attempt ids mean nothing")
def test_a_receive_repeated_under_its_attempt_id_brings_the_same(fifo: Any) -> None:
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
def test_duplicates_are_of_the_queue_or_of_the_group(sqs: Any, scope: str) -> None:
    limit = "perMessageGroupId" if scope == "messageGroup" else "perQueue"
    fifo = sqs.queue(fifo=True, DeduplicationScope=scope, FifoThroughputLimit=limit)
    fifo.send("same", group="a")
    fifo.send("same", group="b")
    assert len(fifo.receive()) == (1 if scope == "queue" else 2)
