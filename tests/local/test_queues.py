from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_new_queue_has_the_defaults_of_aws(desk: Any, queue: Any) -> None:
    desk.now = 5
    assert queue.ask("GetQueueAttributes", AttributeNames=["All"])["Attributes"] == {
        "QueueArn": "arn:aws:sqs:us-east-1:000000000000:q",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "CreatedTimestamp": "1700000000",
        "LastModifiedTimestamp": "1700000000",
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "VisibilityTimeout": "30",
        "SqsManagedSseEnabled": "true",
    }


def test_a_fifo_queue_has_four_more_attributes(fifo: Any) -> None:
    names = ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"]
    assert fifo.ask("GetQueueAttributes", AttributeNames=names)["Attributes"] == {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
    }


def test_no_attributes_are_shown_by_default(queue: Any) -> None:
    assert queue.ask("GetQueueAttributes") == {}


def test_only_account_and_name_of_a_url_count(desk: Any, queue: Any) -> None:
    assert queue.url == "http://127.0.0.1/000000000000/q"
    assert desk.ask("GetQueueUrl", QueueName="q") == {"QueueUrl": queue.url}
    for url in ("https://sqs.eu-west-1.amazonaws.com/000000000000/q", "http://localhost:9324/000000000000/q"):
        desk.ask("GetQueueAttributes", QueueUrl=url)
    for other in ("http://127.0.0.1/111111111111/q", "http://127.0.0.1/000000000000/r", "r", "/q", "", None):
        refusal = desk.refused("GetQueueAttributes", QueueUrl=other)
        assert (refusal.status, refusal.kind, refusal.code) == (
            400,
            "com.amazonaws.sqs#QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
        )


def test_a_name_is_accepted_as_a_url(desk: Any, queue: Any) -> None:
    """Recorded from AWS."""
    desk.ask("SendMessage", QueueUrl="q", MessageBody="by name")
    assert queue.bodies() == ["by name"]


def test_another_accounts_queue_is_not_found(desk: Any, queue: Any) -> None:
    assert desk.ask("GetQueueUrl", QueueName="q", QueueOwnerAWSAccountId="000000000000")["QueueUrl"] == queue.url
    refusal = desk.refused("GetQueueUrl", QueueName="q", QueueOwnerAWSAccountId="111111111111")
    assert refusal.code == "AWS.SimpleQueueService.NonExistentQueue"


def test_creating_a_queue_again_fails_only_with_other_attributes(desk: Any, queue: Any) -> None:
    assert desk.ask("CreateQueue", QueueName="q", Attributes={"VisibilityTimeout": "30"})["QueueUrl"] == queue.url
    refusal = desk.refused("CreateQueue", QueueName="q", Attributes={"VisibilityTimeout": "31"})
    assert (refusal.kind, refusal.code) == ("com.amazonaws.sqs#QueueNameExists", "QueueAlreadyExists")


@pytest.mark.parametrize("name", ["", "a" * 81, "a b", "a.b", "ä", "a.fifo", ".fifo"])
def test_bad_names_are_refused(desk: Any, name: str) -> None:
    assert desk.refused("CreateQueue", QueueName=name).code == "InvalidParameterValue"


def test_a_standard_queue_has_no_fifo_attributes(desk: Any, queue: Any) -> None:
    assert desk.refused("CreateQueue", QueueName="a", Attributes={"FifoQueue": "false"}).code == "InvalidAttributeName"
    assert desk.refused("CreateQueue", QueueName="a", Attributes={"FifoQueue": "true"}).code == "InvalidParameterValue"
    refusal = queue.refused("SetQueueAttributes", Attributes={"ContentBasedDeduplication": "true"})
    assert refusal.code == "InvalidAttributeName"
    for name, value in (("DeduplicationScope", "queue"), ("FifoThroughputLimit", "perQueue")):
        refusal = desk.refused("CreateQueue", QueueName="a", Attributes={name: value})
        assert (refusal.code, refusal.message) == (
            "InvalidAttributeName",
            f"You can specify the {name} only when FifoQueue is set to true.",
        )


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("Nonsense", "1", "InvalidAttributeName"),
        ("All", "1", "InvalidAttributeName"),
        ("QueueArn", "1", "InvalidAttributeName"),
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("VisibilityTimeout", "-1", "InvalidAttributeValue"),
        ("VisibilityTimeout", "x", "InvalidAttributeValue"),
        ("VisibilityTimeout", "", "InvalidAttributeValue"),
        ("VisibilityTimeout", "9" * 5_000, "InvalidAttributeValue"),
        ("Policy", "[" * 100_000, "InvalidAttributeValue"),
        ("Policy", '{"Statement": 1}', "InvalidAttributeValue"),
        ("DelaySeconds", "901", "InvalidAttributeValue"),
        ("ReceiveMessageWaitTimeSeconds", "21", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1023", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1048577", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "59", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "1209601", "InvalidAttributeValue"),
        ("SqsManagedSseEnabled", "maybe", "InvalidAttributeValue"),
        ("Policy", "not json", "InvalidAttributeValue"),
        ("RedriveAllowPolicy", "not json", "InvalidAttributeValue"),
        ("RedriveAllowPolicy", "{}", "InvalidParameterValue"),
    ],
)
def test_an_invalid_attribute_is_refused_and_nothing_changes(queue: Any, name: str, value: str, code: str) -> None:
    before = queue.ask("GetQueueAttributes", AttributeNames=["All"])
    refusal = queue.refused("SetQueueAttributes", Attributes={"DelaySeconds": "5", name: value})
    assert (refusal.status, refusal.code) == (400, code)
    assert queue.ask("GetQueueAttributes", AttributeNames=["All"]) == before


def test_attributes_take_effect(desk: Any, queue: Any) -> None:
    desk.now = 9
    queue.ask("SetQueueAttributes", Attributes={"VisibilityTimeout": "3", "DelaySeconds": "2"})
    queue.send("a")
    assert queue.counts() == (0, 0, 1)
    desk.now = 11
    assert queue.bodies() == ["a"]
    desk.now = 14
    assert queue.bodies() == ["a"]
    shown = queue.ask("GetQueueAttributes", AttributeNames=["LastModifiedTimestamp"])["Attributes"]
    assert shown == {"LastModifiedTimestamp": "1700000009"}


def test_unknown_attributes_cannot_be_requested(queue: Any) -> None:
    assert queue.refused("GetQueueAttributes", AttributeNames=["Nonsense"]).code == "InvalidAttributeName"


def test_throughput_by_group_needs_deduplication_by_group(fifo: Any) -> None:
    refusal = fifo.refused("SetQueueAttributes", Attributes={"FifoThroughputLimit": "perMessageGroupId"})
    assert refusal.code == "InvalidAttributeValue"


def test_a_key_and_managed_encryption_exclude_each_other(queue: Any) -> None:
    queue.ask("SetQueueAttributes", Attributes={"KmsMasterKeyId": "alias/k"})
    shown = queue.ask("GetQueueAttributes", AttributeNames=["SqsManagedSseEnabled"])["Attributes"]
    assert shown == {"SqsManagedSseEnabled": "false"}
    refusal = queue.refused("SetQueueAttributes", Attributes={"SqsManagedSseEnabled": "true"})
    assert (refusal.code, refusal.message) == (
        "InvalidAttributeName",
        "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.",
    )


def test_removing_a_key_removes_its_reuse_period(queue: Any) -> None:
    """Recorded from AWS: managed encryption stays off."""
    names = ["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"]
    key = {"KmsMasterKeyId": "testKeyId", "KmsDataKeyReusePeriodSeconds": "6000"}
    queue.ask("SetQueueAttributes", Attributes=key)
    shown = queue.ask("GetQueueAttributes", AttributeNames=names)["Attributes"]
    assert shown == {**key, "SqsManagedSseEnabled": "false"}
    queue.ask("SetQueueAttributes", Attributes={"KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": "300"})
    shown = queue.ask("GetQueueAttributes", AttributeNames=names)["Attributes"]
    assert shown == {"SqsManagedSseEnabled": "false"}


def test_queues_are_listed_by_prefix_and_page(desk: Any) -> None:
    for name in ("b2", "a", "b1", "b3"):
        desk.queue(name)

    def names(answer: dict[str, Any]) -> list[str]:
        return [url.rpartition("/")[2] for url in answer.get("QueueUrls", [])]

    assert names(desk.ask("ListQueues")) == ["a", "b1", "b2", "b3"]
    assert desk.ask("ListQueues", QueueNamePrefix="z") == {}
    first = desk.ask("ListQueues", QueueNamePrefix="b", MaxResults=2)
    assert names(first) == ["b1", "b2"]
    rest = desk.ask("ListQueues", QueueNamePrefix="b", MaxResults=2, NextToken=first["NextToken"])
    assert names(rest) == ["b3"]
    assert "NextToken" not in rest
    for token in ("?", "ä", "\ud800", "/w=="):
        assert desk.refused("ListQueues", NextToken=token).code == "InvalidParameterValue"
    assert desk.refused("ListQueues", MaxResults=1001).code == "InvalidParameterValue"


def test_a_deleted_queue_loses_its_messages(desk: Any, queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive()
    assert queue.ask("DeleteQueue") == {}
    assert queue.refused("SendMessage", MessageBody="x").code == "AWS.SimpleQueueService.NonExistentQueue"
    again = desk.queue()
    assert again.counts() == (0, 0, 0)
    assert again.refused("DeleteMessage", ReceiptHandle=message["ReceiptHandle"]).code == "ReceiptHandleIsInvalid"


def test_the_name_of_a_deleted_queue_can_be_blocked_as_on_aws(new_desk: Callable[..., Any]) -> None:
    desk = new_desk(name_cooldown=60)
    desk.queue().ask("DeleteQueue")
    desk.now = 59
    assert desk.refused("CreateQueue", QueueName="q").code == "AWS.SimpleQueueService.QueueDeletedRecently"
    desk.now = 60
    desk.queue()


def test_tags(desk: Any) -> None:
    desk.ask("CreateQueue", QueueName="q", tags={"a": "1"})
    queue = desk.queue()
    queue.ask("TagQueue", Tags={"b": "2", "a": "3"})
    assert queue.ask("ListQueueTags") == {"Tags": {"a": "3", "b": "2"}}
    queue.ask("UntagQueue", TagKeys=["a", "none"])
    assert queue.ask("ListQueueTags") == {"Tags": {"b": "2"}}
    queue.ask("UntagQueue", TagKeys=["b"])
    assert queue.ask("ListQueueTags") == {}
    assert queue.refused("TagQueue", Tags={str(at): "" for at in range(51)}).code == "InvalidParameterValue"
    assert queue.refused("TagQueue").code == "MissingParameter"
    assert queue.refused("UntagQueue").code == "MissingParameter"


def test_permissions_are_written_into_the_policy(queue: Any) -> None:
    queue.ask("AddPermission", Label="l", AWSAccountIds=["123456789012"], Actions=["SendMessage"])
    queue.ask("AddPermission", Label="m", AWSAccountIds=["1", "2"], Actions=["SendMessage", "DeleteMessage"])
    policy = queue.ask("GetQueueAttributes", AttributeNames=["Policy"])["Attributes"]["Policy"]
    common = {"Effect": "Allow", "Resource": queue.arn}
    several = ["arn:aws:iam::1:root", "arn:aws:iam::2:root"]
    assert json.loads(policy) == {
        "Version": "2008-10-17",
        "Id": f"{queue.arn}/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "l",
                "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                "Action": "SQS:SendMessage",
                **common,
            },
            {"Sid": "m", "Principal": {"AWS": several}, "Action": ["SQS:SendMessage", "SQS:DeleteMessage"], **common},
        ],
    }
    queue.ask("RemovePermission", Label="m")
    assert queue.refused("AddPermission", Label="l", AWSAccountIds=["1"], Actions=["*"]).code == "InvalidParameterValue"
    queue.ask("RemovePermission", Label="l")
    assert queue.ask("GetQueueAttributes", AttributeNames=["Policy"]) == {}
    assert queue.refused("RemovePermission", Label="l").code == "InvalidParameterValue"


def test_unknown_operations_are_refused(desk: Any) -> None:
    refusal = desk.refused("MakeCoffee")
    assert (refusal.kind, refusal.code) == ("com.amazon.coral.service#UnknownOperationException", "InvalidAction")
