from __future__ import annotations

import json
from typing import Any

import pytest


def with_dead_letters(sqs: Any, most: int = 1) -> tuple[Any, Any]:
    dead = sqs.queue()
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": most})
    return sqs.queue(RedrivePolicy=policy), dead


def test_the_receive_that_would_exceed_the_maximum_moves_the_message(sqs: Any) -> None:
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


def test_the_count_of_receives_goes_on_in_the_dead_letter_queue(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs)
    source.send("a")
    source.one(VisibilityTimeout=0)
    source.receive()
    assert dead.one()["Attributes"]["ApproximateReceiveCount"] == "2"


@pytest.mark.differs("moto", "ministack", because="dead letters have no DeadLetterQueueSourceArn")
def test_a_dead_letter_says_where_it_came_from(sqs: Any) -> None:
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
def test_a_redrive_policy_to_nowhere_is_refused(queue: Any) -> None:
    arn = queue.arn.rpartition(":")[0] + ":none"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    refused = queue.refused("set_queue_attributes", Attributes={"RedrivePolicy": policy})
    assert refused.code == "InvalidParameterValue"


@pytest.mark.differs("moto", because="move tasks answer 500")
@pytest.mark.differs("ministack", because="move tasks are not known")
def test_a_move_task_takes_dead_letters_back_as_new_messages(sqs: Any) -> None:
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
def test_a_move_task_of_no_queue_finds_no_resource(sqs: Any, operation: str) -> None:
    refused = sqs.refused(operation, SourceArn="arn:aws:sqs:us-east-1:000000000000:none")
    assert refused.code == "ResourceNotFoundException"
