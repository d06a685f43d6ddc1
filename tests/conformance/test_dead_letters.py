from __future__ import annotations

import base64
import json
from typing import Any

import pytest


def with_dead_letters(sqs: Any, most: int = 1) -> tuple[Any, Any]:
    dead = sqs.queue()
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": most})
    return sqs.queue(RedrivePolicy=policy), dead


@pytest.mark.always
def test_the_receive_after_the_last_allowed_one_moves_the_message(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs, 2)
    sent = source.send("a", MessageAttributes={"k": {"DataType": "String", "StringValue": "v"}})
    for _ in range(2):
        assert source.one(VisibilityTimeout=0)["Body"] == "a"
    assert dead.counts() == (0, 0, 0)
    assert source.bodies() == []
    message = dead.one()
    assert message["MessageId"] == sent["MessageId"]
    assert message["MessageAttributes"]["k"]["StringValue"] == "v"
    assert source.counts() == (0, 0, 0)


def test_the_receive_count_continues_in_the_dead_letter_queue(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs)
    source.send("a")
    source.one(VisibilityTimeout=0)
    source.receive()
    assert dead.one()["Attributes"]["ApproximateReceiveCount"] == "2"


@pytest.mark.differs("moto", "ministack", because="dead letters have no DeadLetterQueueSourceArn")
def test_a_dead_letter_names_its_source_queue(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs)
    source.send("a")
    source.one(VisibilityTimeout=0)
    source.receive()
    assert dead.one()["Attributes"]["DeadLetterQueueSourceArn"] == source.arn


@pytest.mark.differs("ministack", because="ListDeadLetterSourceQueues is not known")
def test_the_sources_of_a_dead_letter_queue_are_listed(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs)
    listed = dead.ask("list_dead_letter_source_queues")["queueUrls"]
    assert [url.rpartition("/")[2] for url in listed] == [source.name]


def test_a_redrive_policy_shows_its_count_as_a_number(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs, 3)
    policy = json.loads(source.attributes()["RedrivePolicy"])
    assert policy == {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 3}


@pytest.mark.differs("moto", because="the error is NonExistentQueue")
@pytest.mark.differs("ministack", because="the error is InvalidAttributeValue")
def test_a_redrive_policy_to_an_unknown_queue_is_refused(queue: Any) -> None:
    arn = queue.arn.rpartition(":")[0] + ":none"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    refused = queue.refused("set_queue_attributes", Attributes={"RedrivePolicy": policy})
    assert refused.code == "InvalidParameterValue"


@pytest.mark.differs("moto", because="move tasks answer 500")
@pytest.mark.differs("ministack", because="move tasks are not known")
def test_a_move_task_puts_new_messages_into_the_source_queue(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs)
    sent = source.send("a")
    source.one(VisibilityTimeout=0)
    source.receive()
    assert dead.counts() == (1, 0, 0)
    sqs.client.start_message_move_task(SourceArn=dead.arn)
    message = source.one()
    assert message["MessageId"] != sent["MessageId"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    (task,) = sqs.client.list_message_move_tasks(SourceArn=dead.arn)["Results"]
    assert task["ApproximateNumberOfMessagesMoved"] == 1


@pytest.mark.differs("moto", because="move tasks answer 500")
@pytest.mark.differs("ministack", because="move tasks are not known")
def test_a_move_task_is_from_a_dead_letter_queue(sqs: Any, queue: Any) -> None:
    assert sqs.refused("start_message_move_task", SourceArn=queue.arn).code == "InvalidParameterValue"


@pytest.mark.differs("moto", because="move tasks answer 500")
@pytest.mark.differs("ministack", because="move tasks are not known")
@pytest.mark.parametrize("operation", ["start_message_move_task", "list_message_move_tasks"])
def test_a_move_task_of_an_unknown_queue_finds_no_resource(sqs: Any, operation: str) -> None:
    refused = sqs.refused(operation, SourceArn="arn:aws:sqs:us-east-1:000000000000:none")
    assert refused.code == "ResourceNotFoundException"


@pytest.mark.differs(
    "moto", "ministack", because="receives in the source queue count towards the limit of the dead-letter queue"
)
def test_a_dead_letter_queue_counts_its_own_receives_towards_its_own_limit(sqs: Any) -> None:
    last = sqs.queue()
    policies = [json.dumps({"deadLetterTargetArn": last.arn, "maxReceiveCount": 1})]
    middle = sqs.queue(RedrivePolicy=policies[0])
    policies.append(json.dumps({"deadLetterTargetArn": middle.arn, "maxReceiveCount": 1}))
    first = sqs.queue(RedrivePolicy=policies[1])
    first.send("a")
    for queue in (first, middle):
        assert queue.one(VisibilityTimeout=0)["Body"] == "a"
        assert queue.bodies(VisibilityTimeout=0) == []
    assert last.one()["Body"] == "a"


def test_a_queue_may_be_its_own_dead_letter_queue(queue: Any) -> None:
    policy = json.dumps({"deadLetterTargetArn": queue.arn, "maxReceiveCount": 42})
    queue.ask("set_queue_attributes", Attributes={"RedrivePolicy": policy})
    assert json.loads(queue.attributes()["RedrivePolicy"])["deadLetterTargetArn"] == queue.arn


@pytest.mark.differs("moto", because="the error is NonExistentQueue")
@pytest.mark.differs("ministack", because="the error is InvalidAttributeValue")
def test_text_that_is_not_an_arn_is_no_dead_letter_queue(queue: Any) -> None:
    policy = json.dumps({"deadLetterTargetArn": "dummy", "maxReceiveCount": 42})
    refused = queue.refused("set_queue_attributes", Attributes={"RedrivePolicy": policy})
    assert refused.code == "InvalidParameterValue"
    assert refused.message.endswith("Reason: Invalid value for deadLetterTargetArn.")


@pytest.mark.differs("moto", because="move tasks answer 500")
@pytest.mark.differs("ministack", because="move tasks are not known")
def test_a_queue_has_one_move_task_at_a_time(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs)
    for body in "abc":
        dead.send(body)
    request = {"SourceArn": dead.arn, "DestinationArn": source.arn, "MaxNumberOfMessagesPerSecond": 1}
    handle = sqs.client.start_message_move_task(**request)["TaskHandle"]
    refused = sqs.refused("start_message_move_task", **request)
    assert refused.code == "InvalidParameterValue"
    assert refused.message.endswith("Only one active task is allowed for a source queue arn at a given time.")
    assert json.loads(base64.b64decode(handle))["sourceArn"] == dead.arn
    sqs.client.cancel_message_move_task(TaskHandle=handle)


@pytest.mark.differs("moto", because="move tasks answer 500")
@pytest.mark.differs("ministack", because="move tasks are not known")
def test_a_task_handle_that_cannot_be_read_is_refused(sqs: Any) -> None:
    refused = sqs.refused("cancel_message_move_task", TaskHandle="foobared")
    assert refused == ("InvalidParameterValue", 400, "Value for parameter TaskHandle is invalid.")


@pytest.mark.differs("moto", because="move tasks answer 500")
@pytest.mark.differs("ministack", because="move tasks are not known")
@pytest.mark.parametrize("known", [True, False])
def test_a_task_handle_of_an_unknown_queue_or_task_finds_no_resource(sqs: Any, queue: Any, *, known: bool) -> None:
    arn = queue.arn if known else queue.arn + "-none"
    handle = base64.b64encode(json.dumps({"taskId": "0", "sourceArn": arn}).encode()).decode()
    refused = sqs.refused("cancel_message_move_task", TaskHandle=handle)
    assert (refused.code, refused.status) == ("ResourceNotFoundException", 404)
