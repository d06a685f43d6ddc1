from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest


def test_one_receive_returns_the_messages_of_a_group_in_order(fifo: Any) -> None:
    for body in ("1", "2", "3"):
        fifo.send(body, group="a")
    assert fifo.bodies() == ["1", "2", "3"]


def test_a_receive_takes_all_of_one_group_then_of_the_next(fifo: Any) -> None:
    for at in range(8):
        fifo.send(f"{at}", group="ab"[at % 2])
    assert fifo.bodies() == ["0", "2", "4", "6", "1", "3", "5", "7"]


def test_a_group_is_locked_while_one_of_its_messages_is_in_flight(fifo: Any) -> None:
    for body in ("1", "2", "3"):
        fifo.send(body, group="a")
    one, two = fifo.receive(2)
    assert fifo.receive() == []
    fifo.delete(one)
    assert fifo.receive() == []
    fifo.delete(two)
    assert fifo.bodies() == ["3"]


def test_a_locked_group_locks_no_other_group(fifo: Any) -> None:
    fifo.send("a1", group="a")
    fifo.receive()
    fifo.send("a2", group="a")
    fifo.send("b1", group="b")
    assert fifo.bodies() == ["b1"]


def test_a_released_message_is_received_without_later_ones_in_flight(fifo: Any) -> None:
    for body in ("1", "2", "3"):
        fifo.send(body, group="a")
    one, _ = fifo.receive(2)
    fifo.hide(one, 0)
    assert fifo.bodies() == ["1"]


def test_only_messages_after_an_invisible_one_wait(fifo: Any) -> None:
    for body in ("1", "2", "3"):
        fifo.send(body, group="a")
    one, two, three = fifo.receive()
    fifo.hide(two, 60)
    fifo.hide(three, 0)
    fifo.hide(one, 0)
    assert fifo.bodies() == ["1"]


def test_messages_released_from_the_last_on_keep_their_order(fifo: Any) -> None:
    """L24: FIFO messages that are released from the last to the first keep their order."""
    for body in ("1", "2", "3"):
        fifo.send(body, group="a")
    for message in reversed(fifo.receive()):
        assert fifo.receive() == []
        fifo.hide(message, 0)
    assert fifo.bodies() == ["1", "2", "3"]


def test_messages_keep_their_order_after_the_visibility_timeout(desk: Any, fifo: Any) -> None:
    for body in ("1", "2"):
        fifo.send(body, group="a")
    fifo.receive(VisibilityTimeout=5)
    fifo.send("3", group="a")
    desk.now = 5
    assert fifo.bodies() == ["1", "2", "3"]


def test_a_delete_after_the_visibility_timeout_fails(desk: Any, fifo: Any) -> None:
    fifo.send("1", group="a")
    (message,) = fifo.receive(VisibilityTimeout=1)
    desk.now = 1
    refusal = fifo.refused("DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    assert (refusal.status, refusal.code) == (400, "InvalidParameterValue")
    assert refusal.message.endswith("Reason: The receipt handle has expired.")
    batch = fifo.ask("DeleteMessageBatch", Entries=[{"Id": "0", "ReceiptHandle": message["ReceiptHandle"]}])
    assert batch == {
        "Failed": [
            {
                "Id": "0",
                "Code": "ReceiptHandleIsInvalid",
                "Message": "The receipt handle has expired",
                "SenderFault": True,
            }
        ]
    }


def test_a_delete_with_an_older_receipt_fails(desk: Any, fifo: Any) -> None:
    fifo.send("1", group="a")
    (old,) = fifo.receive(VisibilityTimeout=1)
    desk.now = 1
    (new,) = fifo.receive()
    assert "expired" in fifo.refused("DeleteMessage", ReceiptHandle=old["ReceiptHandle"]).message
    fifo.delete(new)
    fifo.delete(new)
    assert fifo.counts() == (0, 0, 0)


def test_a_message_extended_in_time_can_be_deleted(desk: Any, fifo: Any) -> None:
    fifo.send("1", group="a")
    (message,) = fifo.receive(VisibilityTimeout=5)
    desk.now = 4
    fifo.hide(message, 10)
    desk.now = 13
    fifo.delete(message)
    assert fifo.counts() == (0, 0, 0)


def test_the_visibility_of_a_visible_message_cannot_change(desk: Any, fifo: Any) -> None:
    fifo.send("1", group="a")
    (message,) = fifo.receive(VisibilityTimeout=1)
    desk.now = 1
    refusal = fifo.refused("ChangeMessageVisibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=5)
    assert refusal.code == "AWS.SimpleQueueService.MessageNotInflight"


def test_a_duplicate_within_five_minutes_is_not_stored(desk: Any, fifo: Any) -> None:
    first = fifo.send("same", group="a")
    desk.now = 299.9
    second = fifo.send("same", group="b")
    assert second == first
    assert fifo.counts() == (1, 0, 0)
    desk.now = 300
    third = fifo.send("same", group="b")
    assert third["MessageId"] != first["MessageId"]
    assert fifo.counts() == (2, 0, 0)


def test_a_copy_of_a_deleted_message_is_a_duplicate(fifo: Any) -> None:
    first = fifo.send("same", group="a")
    fifo.delete(fifo.receive()[0])
    assert fifo.send("same", group="a")["MessageId"] == first["MessageId"]
    assert fifo.receive() == []


def test_an_explicit_deduplication_id_replaces_the_content(fifo: Any) -> None:
    fifo.send("same", group="a", MessageDeduplicationId="1")
    fifo.send("same", group="a", MessageDeduplicationId="2")
    fifo.send("other", group="a", MessageDeduplicationId="2")
    assert fifo.bodies() == ["same", "same"]


def test_a_deduplication_id_is_required_without_content_deduplication(desk: Any) -> None:
    fifo = desk.queue("strict.fifo")
    refusal = fifo.refused("SendMessage", MessageBody="x", MessageGroupId="a")
    assert refusal.code == "InvalidParameterValue"
    assert "ContentBasedDeduplication" in refusal.message


def test_with_high_throughput_each_group_has_its_duplicates(desk: Any) -> None:
    fifo = desk.queue(
        "ht.fifo",
        ContentBasedDeduplication="true",
        DeduplicationScope="messageGroup",
        FifoThroughputLimit="perMessageGroupId",
    )
    fifo.send("same", group="a")
    fifo.send("same", group="b")
    fifo.send("same", group="b")
    assert fifo.counts() == (2, 0, 0)


def test_the_default_deduplication_id_is_the_hash_of_the_body(fifo: Any) -> None:
    sent = fifo.send("body", group="a")
    (message,) = fifo.receive()
    assert message["Attributes"]["MessageDeduplicationId"] == hashlib.sha256(b"body").hexdigest()
    assert message["Attributes"]["SequenceNumber"] == sent["SequenceNumber"]
    assert message["Attributes"]["MessageGroupId"] == "a"


def test_sequence_numbers_have_twenty_digits_and_grow(fifo: Any) -> None:
    numbers = [fifo.send(str(at), group=str(at))["SequenceNumber"] for at in range(5)]
    assert all(len(number) == 20 for number in numbers)
    assert numbers == sorted(set(numbers))


def test_the_delay_of_the_queue_applies_to_each_message(desk: Any) -> None:
    fifo = desk.queue("slow.fifo", ContentBasedDeduplication="true", DelaySeconds="10")
    fifo.send("1", group="a")
    desk.now = 5
    fifo.send("2", group="a")
    assert fifo.counts() == (0, 0, 2)
    desk.now = 10
    (one,) = fifo.receive()
    desk.now = 15
    assert fifo.counts() == (1, 1, 0)
    assert fifo.receive() == []
    fifo.delete(one)
    assert fifo.bodies() == ["2"]


def test_a_delayed_message_does_not_hold_back_a_later_one_that_is_visible(desk: Any) -> None:
    fifo = desk.queue("slow.fifo", ContentBasedDeduplication="true", DelaySeconds="10")
    for body in ("1", "2"):
        fifo.send(body, group="a")
    fifo.ask("SetQueueAttributes", Attributes={"DelaySeconds": "0"})
    fifo.send("3", group="a")
    assert fifo.counts() == (1, 0, 2)
    (third,) = fifo.receive()
    assert third["Body"] == "3"
    desk.now = 10
    assert fifo.bodies(1) == ["1"]
    fifo.hide(third, 0)
    assert fifo.bodies() == []


def test_messages_keep_their_order_when_their_delays_end_at_once(desk: Any) -> None:
    fifo = desk.queue("slow.fifo", ContentBasedDeduplication="true", DelaySeconds="10")
    for body in ("1", "2"):
        fifo.send(body, group="a")
    fifo.ask("SetQueueAttributes", Attributes={"DelaySeconds": "0"})
    for body in ("3", "4"):
        fifo.send(body, group="a")
    desk.now = 10
    assert fifo.bodies() == ["1", "2", "3", "4"]


def test_a_delayed_message_that_expires_leaves_no_trace(desk: Any) -> None:
    fifo = desk.queue("q.fifo", ContentBasedDeduplication="true", DelaySeconds="900", MessageRetentionPeriod="60")
    fifo.send("1", group="a")
    desk.now = 61
    assert fifo.counts() == (0, 0, 0)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"MessageDeduplicationId": "d"}, "The request must contain the parameter MessageGroupId."),
        (
            {"MessageGroupId": "a"},
            (
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
                "explicitly"
            ),
        ),
    ],
)
def test_a_batch_with_an_entry_that_lacks_an_id_is_refused_as_a_whole(
    desk: Any, entry: dict[str, str], sentence: str
) -> None:
    """Recorded from AWS. The code differs from that of a single send without a group."""
    fifo = desk.queue("strict.fifo")
    good = {"Id": "0", "MessageBody": "a", "MessageGroupId": "a", "MessageDeduplicationId": "0"}
    refusal = fifo.refused("SendMessageBatch", Entries=[good, {"Id": "1", "MessageBody": "b", **entry}])
    assert (refusal.status, refusal.code, refusal.message) == (400, "InvalidParameterValue", sentence)
    assert fifo.counts() == (0, 0, 0)


def test_a_purge_forgets_deduplication_ids_and_attempts(fifo: Any) -> None:
    first = fifo.send("same", group="a")
    fifo.receive(ReceiveRequestAttemptId="try")
    fifo.ask("PurgeQueue")
    second = fifo.send("same", group="a")
    assert second["MessageId"] != first["MessageId"]
    assert fifo.bodies(ReceiveRequestAttemptId="try") == ["same"]


def test_the_type_of_a_queue_can_only_be_set_to_itself(desk: Any, fifo: Any, queue: Any) -> None:
    assert fifo.ask("SetQueueAttributes", Attributes={"FifoQueue": "true"}) == {}
    refusal = fifo.refused("SetQueueAttributes", Attributes={"FifoQueue": "false"})
    assert (refusal.code, refusal.message) == (
        "InvalidAttributeValue",
        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
    )
    refusal = queue.refused("SetQueueAttributes", Attributes={"FifoQueue": "true"})
    assert (refusal.code, refusal.message) == ("InvalidAttributeName", "Unknown Attribute FifoQueue.")


def test_a_message_moved_back_passes_delayed_messages(desk: Any) -> None:
    """A moved message has no delay, even if the queue has one."""
    dead = desk.queue("dead.fifo", ContentBasedDeduplication="true")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    source = desk.queue("q.fifo", ContentBasedDeduplication="true", DelaySeconds="10", RedrivePolicy=policy)
    dead.send("moved", group="a")
    source.send("delayed", group="a")
    desk.ask("StartMessageMoveTask", SourceArn=dead.arn, DestinationArn=source.arn)
    assert source.bodies() == ["moved"]


def test_a_delay_of_a_single_message_is_refused(fifo: Any) -> None:
    assert fifo.refused("SendMessage", MessageBody="x", MessageGroupId="a", DelaySeconds=1).code == (
        "InvalidParameterValue"
    )


def test_a_group_is_required(fifo: Any) -> None:
    refusal = fifo.refused("SendMessage", MessageBody="x")
    assert (refusal.kind, refusal.code) == (
        "com.amazon.coral.service#MissingRequiredParameterException",
        "MissingParameter",
    )


# ---- ReceiveRequestAttemptId


def test_a_repeated_attempt_returns_the_same_receipts_with_a_new_timeout(desk: Any, fifo: Any) -> None:
    fifo.send("1", group="a")
    fifo.send("2", group="b")
    first = fifo.receive(ReceiveRequestAttemptId="try", VisibilityTimeout=10)
    desk.now = 9
    assert fifo.receive(ReceiveRequestAttemptId="try", VisibilityTimeout=10) == first
    desk.now = 18.9
    assert fifo.counts() == (0, 2, 0)
    desk.now = 19
    assert fifo.counts() == (2, 0, 0)


@pytest.mark.parametrize("change", ["delete", "extend", "release"])
def test_an_attempt_is_refused_after_a_change_to_one_of_its_messages(fifo: Any, change: str) -> None:
    for body in "12":
        fifo.send(body, group=body)
    first, _ = fifo.receive(ReceiveRequestAttemptId="try")
    if change == "delete":
        fifo.delete(first)
    else:
        fifo.hide(first, 60 if change == "extend" else 0)
    for _ in range(2):
        refusal = fifo.refused("ReceiveMessage", ReceiveRequestAttemptId="try")
        assert (refusal.code, refusal.message) == (
            "InvalidParameterValue",
            (
                "Value try for parameter ReceiveRequestAttemptId is invalid. "
                "Reason: The receiveRequestAttemptId is not valid anymore since the receive call is not retryable."
            ),
        )
    assert fifo.bodies(ReceiveRequestAttemptId="another") == (["1"] if change == "release" else [])


def test_a_repeated_attempt_is_a_new_receive_once_its_messages_are_visible(desk: Any, fifo: Any) -> None:
    fifo.send("1", group="a")
    (first,) = fifo.receive(ReceiveRequestAttemptId="try", VisibilityTimeout=10)
    desk.now = 10
    (second,) = fifo.receive(ReceiveRequestAttemptId="try", VisibilityTimeout=10)
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert fifo.receive(ReceiveRequestAttemptId="try") == [second]


def test_an_attempt_is_forgotten_after_five_minutes(desk: Any, fifo: Any) -> None:
    fifo.send("1", group="a")
    fifo.receive(ReceiveRequestAttemptId="try", VisibilityTimeout=600)
    desk.now = 299
    assert fifo.bodies(ReceiveRequestAttemptId="try", VisibilityTimeout=600) == ["1"]
    desk.now = 300
    assert fifo.bodies(ReceiveRequestAttemptId="try") == []


def test_an_attempt_id_is_for_fifo_queues(queue: Any) -> None:
    assert queue.refused("ReceiveMessage", ReceiveRequestAttemptId="try").code == "InvalidParameterValue"


def test_a_large_group_does_not_slow_its_receives(desk: Any, fifo: Any) -> None:
    """A receive looks only at the messages it takes, however many wait in the group."""
    for at in range(2_000):
        fifo.send(str(at), group="a")
    seen: list[str] = []
    while messages := fifo.receive():
        seen += [message["Body"] for message in messages]
        for message in messages:
            fifo.delete(message)
    assert seen == [str(at) for at in range(2_000)]
    assert not desk.account.queues["q.fifo"]._order._groups


# ---- The redrive policy


def test_each_delivery_of_a_follower_counts_and_all_of_a_group_are_moved_together(desk: Any) -> None:
    """A consumer that gives a whole group back spends the receives of messages that it never ran."""
    dead = desk.queue("dead.fifo")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2})
    source = desk.queue("q.fifo", ContentBasedDeduplication="true", RedrivePolicy=policy)
    for body in "123":
        source.send(body, group="a")
    for _ in range(2):
        for message in source.receive():
            source.hide(message, 0)
    assert source.bodies() == []
    assert (source.counts(), dead.counts()) == ((0, 0, 0), (3, 0, 0))
    assert dead.bodies() == ["1", "2", "3"]


def test_a_message_at_its_limit_is_moved_and_the_next_of_its_group_is_received_at_once(desk: Any) -> None:
    dead = desk.queue("dead.fifo")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2})
    source = desk.queue("q.fifo", ContentBasedDeduplication="true", RedrivePolicy=policy)
    for body in "12":
        source.send(body, group="a")
    for _ in range(2):
        (one,) = source.receive(1)
        source.hide(one, 0)
    assert source.bodies() == ["2"]
    assert dead.bodies() == ["1"]


def test_a_message_behind_one_in_flight_is_not_moved_before_its_turn(desk: Any) -> None:
    """The limit is applied by a receive, and no receive reaches a message behind one that is in flight."""
    dead = desk.queue("dead.fifo")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    source = desk.queue("q.fifo", ContentBasedDeduplication="true", RedrivePolicy=policy)
    for body in "12":
        source.send(body, group="a")
    one, two = source.receive()
    source.hide(two, 0)
    assert source.receive() == []
    assert dead.counts() == (0, 0, 0)
    source.delete(one)
    assert source.receive() == []
    assert dead.bodies() == ["2"]


def test_a_repeat_of_an_attempt_raises_no_receive_count(desk: Any, fifo: Any) -> None:
    fifo.send("1", group="a")
    fifo.receive(ReceiveRequestAttemptId="try")
    (again,) = fifo.receive(ReceiveRequestAttemptId="try")
    assert again["Attributes"]["ApproximateReceiveCount"] == "1"
