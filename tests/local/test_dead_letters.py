from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest


def redrive_to(target: Any, most: int = 2) -> str:
    return json.dumps({"deadLetterTargetArn": target.arn, "maxReceiveCount": most})


@pytest.fixture
def dead(desk: Any) -> Any:
    return desk.queue("dead")


@pytest.fixture
def source(desk: Any, dead: Any) -> Any:
    return desk.queue("source", RedrivePolicy=redrive_to(dead), VisibilityTimeout="1")


def receive_until_dead(desk: Any, source: Any) -> None:
    for _ in range(3):
        source.receive()
        desk.now += 1


def test_the_receive_after_the_last_allowed_one_moves_the_message(desk: Any, source: Any, dead: Any) -> None:
    source.send("a")
    for _ in range(2):
        assert source.bodies() == ["a"]
        desk.now += 1
    assert dead.counts() == (0, 0, 0)
    assert source.counts() == (1, 0, 0)
    assert source.bodies() == []
    assert source.counts() == (0, 0, 0)
    assert dead.counts() == (1, 0, 0)


def test_a_dead_letter_keeps_its_id_its_attributes_and_its_count(desk: Any, source: Any, dead: Any) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
    sent = source.send(
        "a",
        MessageAttributes={"k": {"DataType": "String", "StringValue": "v"}},
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    receive_until_dead(desk, source)
    (message,) = dead.receive()
    assert message["MessageId"] == sent["MessageId"]
    assert message["MessageAttributes"]["k"]["StringValue"] == "v"
    attributes = message["Attributes"]
    assert attributes["ApproximateReceiveCount"] == "3"
    assert attributes["DeadLetterQueueSourceArn"] == source.arn
    assert attributes["AWSTraceHeader"] == trace
    assert attributes["SentTimestamp"] == "1700000000000"
    assert attributes["ApproximateFirstReceiveTimestamp"] == "1700000000000"


def test_a_receive_passes_over_dead_letters(desk: Any, source: Any, dead: Any) -> None:
    source.send("old")
    for _ in range(2):
        source.receive()
        desk.now += 1
    source.send("new")
    assert source.bodies() == ["new"]
    assert dead.bodies() == ["old"]


def test_a_dead_letter_queue_counts_its_own_receives_towards_its_own_limit(desk: Any) -> None:
    """Recorded from AWS: in a chain of three queues, each receives the message once before it moves on."""
    last = desk.queue("last")
    middle = desk.queue("middle", RedrivePolicy=redrive_to(last, 1), VisibilityTimeout="0")
    first = desk.queue("first", RedrivePolicy=redrive_to(middle, 3), VisibilityTimeout="0")
    first.send("a")
    for count in "123":
        assert first.receive()[0]["Attributes"]["ApproximateReceiveCount"] == count
    assert first.bodies() == []
    (message,) = middle.receive()
    assert message["Attributes"]["ApproximateReceiveCount"] == "4"
    assert middle.bodies() == []
    assert last.bodies() == ["a"]


def test_a_queue_may_be_its_own_dead_letter_queue_and_keeps_its_messages(desk: Any, queue: Any) -> None:
    """AWS was recorded to accept this policy. What it then does with the messages is not known."""
    queue.ask("SetQueueAttributes", Attributes={"RedrivePolicy": redrive_to(queue, 1)})
    queue.send("a")
    for _ in range(3):
        assert queue.bodies(VisibilityTimeout=0) == ["a"]


def test_text_that_is_not_an_arn_is_refused_before_a_lookup(queue: Any) -> None:
    policy = json.dumps({"deadLetterTargetArn": "dummy", "maxReceiveCount": 42})
    refusal = queue.refused("SetQueueAttributes", Attributes={"RedrivePolicy": policy})
    assert (refusal.code, refusal.message) == (
        "InvalidParameterValue",
        f"Value {policy} for parameter RedrivePolicy is invalid. Reason: Invalid value for deadLetterTargetArn.",
    )


def test_without_its_dead_letter_queue_a_message_is_received_again(desk: Any, source: Any, dead: Any) -> None:
    dead.ask("DeleteQueue")
    source.send("a")
    for _ in range(5):
        assert source.bodies() == ["a"]
        desk.now += 1


def test_a_fifo_dead_letter_unlocks_its_group(desk: Any) -> None:
    dead = desk.queue("dead.fifo")
    source = desk.queue(
        "source.fifo", ContentBasedDeduplication="true", RedrivePolicy=redrive_to(dead, 1), VisibilityTimeout="1"
    )
    sent = source.send("1", group="a")
    source.send("2", group="a")
    source.receive(1)
    desk.now = 1
    assert source.bodies() == ["2"]
    (message,) = dead.receive()
    assert message["Body"] == "1"
    assert message["Attributes"]["MessageDeduplicationId"] == sent["MessageId"]


def test_a_standard_dead_letter_queue_counts_retention_from_the_first_sending(desk: Any, source: Any) -> None:
    dead = desk.queue("short", MessageRetentionPeriod="60")
    source.ask("SetQueueAttributes", Attributes={"RedrivePolicy": redrive_to(dead)})
    source.send("a")
    desk.now = 50
    receive_until_dead(desk, source)
    assert dead.counts() == (1, 0, 0)
    desk.now = 61
    assert dead.receive() == []


def test_the_sources_of_a_dead_letter_queue_are_listed(desk: Any, source: Any, dead: Any) -> None:
    other = desk.queue("other", RedrivePolicy=redrive_to(dead))
    assert dead.ask("ListDeadLetterSourceQueues") == {"queueUrls": [other.url, source.url]}
    assert source.ask("ListDeadLetterSourceQueues") == {}


@pytest.mark.parametrize(
    "policy",
    [
        "no json",
        "{}",
        json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"}),
        json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 0}),
        json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 1001}),
        json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:none", "maxReceiveCount": 1}),
        json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead.fifo", "maxReceiveCount": 1}),
    ],
)
@pytest.mark.usefixtures("dead")
def test_a_redrive_policy_that_cannot_work_is_refused(desk: Any, queue: Any, policy: str) -> None:
    desk.queue("dead.fifo")
    refusal = queue.refused("SetQueueAttributes", Attributes={"RedrivePolicy": policy})
    assert refusal.code == "InvalidParameterValue"
    assert "RedrivePolicy" in refusal.message


def test_a_redrive_policy_shows_a_number_and_an_empty_one_removes_it(source: Any, dead: Any) -> None:
    source.ask("SetQueueAttributes", Attributes={"RedrivePolicy": redrive_to(dead).replace("2", '"7"')})
    shown = source.ask("GetQueueAttributes", AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    assert json.loads(shown) == {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 7}
    source.ask("SetQueueAttributes", Attributes={"RedrivePolicy": ""})
    assert source.ask("GetQueueAttributes", AttributeNames=["RedrivePolicy"]) == {}


@pytest.mark.parametrize(
    ("allow", "fine"),
    [
        ({"redrivePermission": "denyAll"}, False),
        ({"redrivePermission": "allowAll"}, True),
        ({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:us-east-1:000000000000:q"]}, True),
        ({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:us-east-1:000000000000:x"]}, False),
    ],
)
def test_a_dead_letter_queue_chooses_its_sources(dead: Any, queue: Any, allow: dict[str, Any], *, fine: bool) -> None:
    dead.ask("SetQueueAttributes", Attributes={"RedriveAllowPolicy": json.dumps(allow)})
    request = {"Attributes": {"RedrivePolicy": redrive_to(dead)}}
    if fine:
        queue.ask("SetQueueAttributes", **request)
    else:
        assert queue.refused("SetQueueAttributes", **request).code == "InvalidParameterValue"


# ---- message move tasks


@pytest.fixture
def full(desk: Any, source: Any, dead: Any) -> Any:
    """The dead-letter queue with ten messages of `source`."""
    for at in range(10):
        source.send(str(at))
    receive_until_dead(desk, source)
    assert dead.counts() == (10, 0, 0)
    return dead


def test_a_move_puts_new_messages_into_the_source_queues(desk: Any, source: Any, full: Any) -> None:
    old = {message["MessageId"] for message in full.receive(VisibilityTimeout=0)}
    desk.ask("StartMessageMoveTask", SourceArn=full.arn)
    desk.now += 1
    (task,) = desk.ask("ListMessageMoveTasks", SourceArn=full.arn)["Results"]
    assert task["Status"] == "COMPLETED"
    assert task["ApproximateNumberOfMessagesMoved"] == task["ApproximateNumberOfMessagesToMove"] == 10
    assert "TaskHandle" not in task
    moved = source.receive()
    assert sorted(message["Body"] for message in moved) == [str(at) for at in range(10)]
    assert not old & {message["MessageId"] for message in moved}
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in moved} == {"1"}
    assert not any("DeadLetterQueueSourceArn" in message["Attributes"] for message in moved)


def test_a_move_keeps_to_its_rate_and_can_be_cancelled(desk: Any, full: Any) -> None:
    elsewhere = desk.queue("elsewhere")
    task = desk.ask(
        "StartMessageMoveTask", SourceArn=full.arn, DestinationArn=elsewhere.arn, MaxNumberOfMessagesPerSecond=2
    )
    assert elsewhere.counts() == (1, 0, 0)
    desk.now += 1
    (shown,) = desk.ask("ListMessageMoveTasks", SourceArn=full.arn)["Results"]
    assert shown["Status"] == "RUNNING"
    assert shown["TaskHandle"] == task["TaskHandle"]
    assert elsewhere.counts() == (3, 0, 0)
    refusal = desk.refused("StartMessageMoveTask", SourceArn=full.arn)
    assert (refusal.status, refusal.code, refusal.message) == (
        400,
        "InvalidParameterValue",
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
    )
    assert desk.ask("CancelMessageMoveTask", **task) == {"ApproximateNumberOfMessagesMoved": 3}
    desk.now += 10
    assert elsewhere.counts() == (3, 0, 0)
    assert full.counts() == (7, 0, 0)
    assert desk.refused("CancelMessageMoveTask", **task).code == "AWS.SimpleQueueService.UnsupportedOperation"


def test_a_task_handle_is_base64_of_json(desk: Any, full: Any) -> None:
    handle = desk.ask("StartMessageMoveTask", SourceArn=full.arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    decoded = json.loads(base64.b64decode(handle))
    assert decoded == {"taskId": str(uuid.UUID(decoded["taskId"])), "sourceArn": full.arn}


@pytest.mark.parametrize(
    "garbage", ["foobared", "none", "ä", "", "bm9uZQ==", base64.b64encode(b'{"taskId": 1, "sourceArn": "a"}').decode()]
)
def test_a_handle_that_cannot_be_read_is_refused(desk: Any, garbage: str) -> None:
    refusal = desk.refused("CancelMessageMoveTask", TaskHandle=garbage)
    assert (refusal.status, refusal.code, refusal.message) == (
        400,
        "InvalidParameterValue",
        "Value for parameter TaskHandle is invalid.",
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none", "The resource that you specified for the SourceArn parameter doesn't exist."),
        ("dead", "Task does not exist."),
    ],
)
@pytest.mark.usefixtures("dead")
def test_a_handle_of_an_unknown_queue_or_task_finds_no_resource(desk: Any, name: str, sentence: str) -> None:
    handle = json.dumps({"taskId": str(uuid.UUID(int=1)), "sourceArn": desk.account.arn(name)})
    refusal = desk.refused("CancelMessageMoveTask", TaskHandle=base64.b64encode(handle.encode()).decode())
    assert (refusal.status, refusal.code, refusal.message) == (404, "ResourceNotFoundException", sentence)


def test_a_move_fails_when_its_destination_is_deleted(desk: Any, full: Any) -> None:
    elsewhere = desk.queue("elsewhere")
    desk.ask("StartMessageMoveTask", SourceArn=full.arn, DestinationArn=elsewhere.arn, MaxNumberOfMessagesPerSecond=1)
    elsewhere.ask("DeleteQueue")
    desk.now += 1
    (task,) = desk.ask("ListMessageMoveTasks", SourceArn=full.arn)["Results"]
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")


def test_the_last_ten_moves_are_listed(desk: Any, full: Any) -> None:
    for at in range(12):
        desk.now = 100 + at
        desk.ask("StartMessageMoveTask", SourceArn=full.arn)
    tasks = desk.ask("ListMessageMoveTasks", SourceArn=full.arn, MaxResults=10)["Results"]
    assert [task["StartedTimestamp"] for task in tasks] == [1_700_000_111_000 - 1000 * at for at in range(10)]
    assert len(desk.account.moves) == 10


def test_a_move_leaves_messages_in_flight(desk: Any, source: Any, full: Any) -> None:
    held = full.receive(4)
    desk.ask("StartMessageMoveTask", SourceArn=full.arn)
    desk.now += 1
    desk.ask("ListMessageMoveTasks", SourceArn=full.arn)
    assert full.counts() == (0, 4, 0)
    assert source.counts() == (6, 0, 0)
    full.delete(held[0])


def test_a_move_of_a_message_without_a_source_fails(desk: Any, source: Any, dead: Any) -> None:
    dead.send("sent here directly")
    assert source.counts() == (0, 0, 0)
    desk.ask("StartMessageMoveTask", SourceArn=dead.arn)
    (task,) = desk.ask("ListMessageMoveTasks", SourceArn=dead.arn)["Results"]
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert dead.counts() == (1, 0, 0)


def test_only_a_dead_letter_queue_can_be_moved_from(desk: Any, queue: Any, full: Any) -> None:
    assert desk.refused("StartMessageMoveTask", SourceArn=queue.arn).code == "InvalidParameterValue"
    for wrong in (
        {"SourceArn": desk.account.arn("none")},
        {"SourceArn": full.arn, "DestinationArn": desk.account.arn("none")},
    ):
        refusal = desk.refused("StartMessageMoveTask", **wrong)
        assert (refusal.status, refusal.code) == (404, "ResourceNotFoundException")
    assert desk.refused("StartMessageMoveTask", SourceArn=full.arn, MaxNumberOfMessagesPerSecond=501).code == (
        "InvalidParameterValue"
    )
