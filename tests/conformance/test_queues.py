from __future__ import annotations

import json
from typing import Any

import pytest

differs = pytest.mark.differs


@pytest.mark.differs("ministack", because="the largest message is 256 KiB")
def test_a_new_queue_has_the_defaults_of_aws(queue: Any) -> None:
    shown = queue.attributes()
    assert {
        name: shown[name]
        for name in (
            "DelaySeconds",
            "MaximumMessageSize",
            "MessageRetentionPeriod",
            "ReceiveMessageWaitTimeSeconds",
            "VisibilityTimeout",
        )
    } == {
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "VisibilityTimeout": "30",
    }
    assert shown["QueueArn"].endswith(f":{queue.name}")
    assert "FifoQueue" not in shown


def test_a_fifo_queue_shows_its_type(fifo: Any) -> None:
    assert fifo.attributes()["FifoQueue"] == "true"
    assert fifo.attributes()["ContentBasedDeduplication"] == "true"


def test_a_url_is_found_by_its_name_and_listed_by_its_prefix(sqs: Any, queue: Any) -> None:
    assert sqs.client.get_queue_url(QueueName=queue.name)["QueueUrl"] == queue.url
    assert sqs.client.list_queues(QueueNamePrefix=queue.name)["QueueUrls"] == [queue.url]
    assert not sqs.client.list_queues(QueueNamePrefix="no-such-prefix").get("QueueUrls")


def test_calls_to_a_queue_that_does_not_exist_are_refused(sqs: Any, queue: Any) -> None:
    expected = ("AWS.SimpleQueueService.NonExistentQueue", 400)
    assert sqs.refused("get_queue_url", QueueName="none")[:2] == expected
    url = queue.url.replace(queue.name, "none")
    for operation, request in (
        ("receive_message", {}),
        ("send_message", {"MessageBody": "x"}),
        ("delete_message", {"ReceiptHandle": "x"}),
        ("get_queue_attributes", {}),
    ):
        assert sqs.refused(operation, QueueUrl=url, **request)[:2] == expected


def test_a_deleted_queue_is_gone(queue: Any) -> None:
    queue.ask("delete_queue")
    assert queue.refused("send_message", MessageBody="x").code == "AWS.SimpleQueueService.NonExistentQueue"


def test_creating_a_queue_again_fails_only_with_other_attributes(sqs: Any, queue: Any) -> None:
    assert sqs.client.create_queue(QueueName=queue.name)["QueueUrl"] == queue.url
    refused = sqs.refused("create_queue", QueueName=queue.name, Attributes={"VisibilityTimeout": "31"})
    assert (refused.code, refused.status) == ("QueueAlreadyExists", 400)


@pytest.mark.differs("ministack", because="names are not checked")
@pytest.mark.parametrize("name", ["a b", "a" * 81, "a.b"])
def test_bad_names_are_refused(sqs: Any, name: str) -> None:
    assert sqs.refused("create_queue", QueueName=name).code == "InvalidParameterValue"


def test_attributes_take_effect(queue: Any) -> None:
    queue.ask("set_queue_attributes", Attributes={"VisibilityTimeout": "1", "DelaySeconds": "0"})
    assert queue.attributes()["VisibilityTimeout"] == "1"
    queue.send("a")
    queue.receive()
    assert queue.one()["Body"] == "a"


@pytest.mark.differs("moto", because="attributes are not checked")
@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        pytest.param(
            "Nonsense", "1", "InvalidAttributeName", marks=differs("ministack", because="names are not checked")
        ),
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("VisibilityTimeout", "x", "InvalidAttributeValue"),
        pytest.param(
            "FifoQueue", "true", "InvalidAttributeName", marks=differs("ministack", because="names are not checked")
        ),
    ],
)
def test_an_invalid_attribute_is_refused(queue: Any, name: str, value: str, code: str) -> None:
    refused = queue.refused("set_queue_attributes", Attributes={name: value})
    assert (refused.code, refused.status) == (code, 400)


@pytest.mark.differs("ministack", because="unknown attributes are ignored")
def test_unknown_attributes_cannot_be_requested(queue: Any) -> None:
    assert queue.refused("get_queue_attributes", AttributeNames=["Nonsense"]).code == "InvalidAttributeName"


@pytest.mark.always
def test_tags_are_kept(queue: Any) -> None:
    assert not queue.ask("list_queue_tags").get("Tags")
    queue.ask("tag_queue", Tags={"a": "1", "b": "2"})
    queue.ask("untag_queue", TagKeys=["a"])
    assert queue.ask("list_queue_tags")["Tags"] == {"b": "2"}


@pytest.mark.differs("ministack", because="no bounds are checked")
@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("receive_message", {"MaxNumberOfMessages": 11}),
        ("receive_message", {"MaxNumberOfMessages": 0}),
        ("receive_message", {"WaitTimeSeconds": 21}),
        ("receive_message", {"VisibilityTimeout": 43_201}),
        ("send_message", {"MessageBody": "x", "DelaySeconds": 901}),
    ],
)
def test_values_out_of_bounds_are_refused(queue: Any, operation: str, request_: dict[str, Any]) -> None:
    queue.send("x")  # so that a server that accepts a wait of 21 s answers at once
    assert queue.refused(operation, **request_)[:2] == ("InvalidParameterValue", 400)


@pytest.mark.differs("ministack", because="the largest message is 256 KiB")
def test_a_mebibyte_is_accepted_and_one_byte_more_is_refused(queue: Any) -> None:
    queue.send("x" * 1_048_576)
    assert queue.refused("send_message", MessageBody="x" * 1_048_577).code == "InvalidParameterValue"


@pytest.mark.differs("moto", because="characters are not checked")
@pytest.mark.parametrize("bad", ["\x00", "\x0b", "\ufffe"])
def test_characters_outside_the_set_are_refused(queue: Any, bad: str) -> None:
    assert queue.refused("send_message", MessageBody=bad).code == "InvalidMessageContents"


def test_a_name_is_accepted_as_a_url(sqs: Any, queue: Any) -> None:
    sqs.client.send_message(QueueUrl=queue.name, MessageBody="by name")
    assert queue.bodies() == ["by name"]


@pytest.mark.differs("moto", "ministack", because="the type of a queue can be changed")
def test_the_type_of_a_fifo_queue_can_only_be_set_to_itself(fifo: Any) -> None:
    fifo.ask("set_queue_attributes", Attributes={"FifoQueue": "true"})
    refused = fifo.refused("set_queue_attributes", Attributes={"FifoQueue": "false"})
    assert refused.code == "InvalidAttributeValue"
    assert "Modifying queue type is not supported." in refused.message


@pytest.mark.differs("moto", "ministack", because="attributes of FIFO queues are accepted")
@pytest.mark.parametrize("name", ["DeduplicationScope", "FifoThroughputLimit"])
def test_a_standard_queue_has_no_attributes_of_a_fifo_queue(sqs: Any, name: str) -> None:
    value = {"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"}[name]
    refused = sqs.refused("create_queue", QueueName="never-made", Attributes={name: value})
    assert refused.code == "InvalidAttributeName"
    assert refused.message == f"You can specify the {name} only when FifoQueue is set to true."


@pytest.mark.differs("moto", because="a key does not switch managed encryption off")
@pytest.mark.differs("ministack", because="SqsManagedSseEnabled is not shown")
def test_removing_a_key_removes_its_reuse_period(queue: Any) -> None:
    queue.ask(
        "set_queue_attributes", Attributes={"KmsMasterKeyId": "testKeyId", "KmsDataKeyReusePeriodSeconds": "6000"}
    )
    shown = queue.attributes()
    assert (shown["KmsMasterKeyId"], shown["KmsDataKeyReusePeriodSeconds"]) == ("testKeyId", "6000")
    assert shown["SqsManagedSseEnabled"] == "false"
    queue.ask("set_queue_attributes", Attributes={"KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": "300"})
    shown = queue.attributes()
    assert "KmsMasterKeyId" not in shown
    assert "KmsDataKeyReusePeriodSeconds" not in shown
    assert shown["SqsManagedSseEnabled"] == "false"


@pytest.mark.differs("moto", "ministack", because="encryption settings are not checked")
def test_a_key_and_managed_encryption_exclude_each_other(queue: Any) -> None:
    attributes = {"KmsMasterKeyId": "testKeyId", "SqsManagedSseEnabled": "true"}
    assert queue.refused("set_queue_attributes", Attributes=attributes).code == "InvalidAttributeName"


@pytest.mark.differs("moto", "ministack", because="the policy has another version")
def test_a_permission_is_a_statement_of_the_policy(queue: Any) -> None:
    permission = {"AWSAccountIds": ["668614515564"], "Actions": ["ReceiveMessage"]}
    queue.ask("add_permission", Label="one", **permission)
    policy = json.loads(queue.attributes()["Policy"])
    assert policy["Version"] == "2008-10-17"
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::668614515564:root"}
    assert statement["Action"] == "SQS:ReceiveMessage"
    assert queue.refused("add_permission", Label="one", **permission).code == "InvalidParameterValue"
    queue.ask("remove_permission", Label="one")
    assert "Policy" not in queue.attributes()


@pytest.mark.differs("moto", because="only the documented characters are accepted")
def test_attribute_names_may_have_letters_of_any_language(queue: Any) -> None:
    name = "attr.1øßä"
    queue.send("a", MessageAttributes={name: {"DataType": "String", "StringValue": "v"}})
    assert list(queue.one()["MessageAttributes"]) == [name]


@pytest.mark.differs("moto", "ministack", because="attribute values are not checked")
def test_a_character_outside_the_set_is_an_invalid_value_in_an_attribute(queue: Any) -> None:
    attributes = {"a": {"DataType": "String", "StringValue": "Invalid-\x08,\x0b"}}
    assert queue.refused("send_message", MessageBody="x", MessageAttributes=attributes).code == "InvalidParameterValue"


@pytest.mark.differs("ministack", because="bounds, values and batches are not checked")
@pytest.mark.parametrize(
    ("operation", "request_", "sentence"),
    [
        pytest.param(
            "receive_message",
            {"MaxNumberOfMessages": 11},
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
            marks=differs("moto", because="the sentence is another"),
        ),
        pytest.param(
            "receive_message",
            {"WaitTimeSeconds": 21},
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
            marks=differs("moto", because="the sentence is another"),
        ),
        pytest.param(
            "send_message",
            {"MessageBody": "x", "MessageAttributes": {"k": {"DataType": "String", "StringValue": ""}}},
            "Message (user) attribute 'k' must contain a non-empty value of type 'String'.",
            marks=differs("moto", because="an empty value is accepted"),
        ),
        (
            "send_message_batch",
            {"Entries": []},
            "There should be at least one SendMessageBatchRequestEntry in the request.",
        ),
    ],
)
def test_a_refusal_has_the_sentence_of_aws(queue: Any, operation: str, request_: dict[str, Any], sentence: str) -> None:
    queue.send("x")  # so that a server that accepts a wait of 21 s answers at once
    assert queue.refused(operation, **request_).message == sentence


# ---- on the wire


@pytest.mark.differs("moto", "ministack", because="the body is an empty object")
def test_void_operations_answer_with_an_empty_body(sqs: Any, queue: Any) -> None:
    answer = sqs.raw("TagQueue", {"QueueUrl": queue.url, "Tags": {"a": "1"}})
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.differs("moto", "ministack", because="no tags are an empty object")
def test_empty_members_are_absent(sqs: Any, queue: Any) -> None:
    assert json.loads(sqs.raw("ReceiveMessage", {"QueueUrl": queue.url}).body) == {}
    assert json.loads(sqs.raw("ListQueueTags", {"QueueUrl": queue.url}).body) == {}
    assert json.loads(sqs.raw("ListQueues", {"QueueNamePrefix": "no-such-prefix"}).body) == {}
    sent = sqs.raw("SendMessageBatch", {"QueueUrl": queue.url, "Entries": [{"Id": "0", "MessageBody": "x"}]})
    assert list(json.loads(sent.body)) == ["Successful"]


@pytest.mark.differs("moto", "ministack", because="the status is 400")
@pytest.mark.parametrize("operation", ["DeleteMessage", "ChangeMessageVisibility"])
def test_text_that_is_not_a_receipt_is_not_found(sqs: Any, queue: Any, operation: str) -> None:
    request = {"QueueUrl": queue.url, "ReceiptHandle": "garbage"}
    if operation == "ChangeMessageVisibility":
        request["VisibilityTimeout"] = 1
    answer = sqs.raw(operation, request)
    assert answer.status == 404
    assert answer.headers["x-amzn-query-error"] == "ReceiptHandleIsInvalid;Sender"


def test_an_answer_has_a_request_id_and_the_protocols_type(sqs: Any, queue: Any) -> None:
    answer = sqs.raw("ReceiveMessage", {"QueueUrl": queue.url})
    assert json.loads(answer.body) == {}
    assert answer.headers["x-amzn-requestid"]
    assert answer.headers["content-type"].startswith("application/x-amz-json-1.0")


@pytest.mark.parametrize(
    ("operation", "request_", "kind", "code"),
    [
        pytest.param(
            "GetQueueUrl",
            {"QueueName": "none"},
            "com.amazonaws.sqs#QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            marks=differs("ministack", because="types have no namespace"),
        ),
        pytest.param(
            "ReceiveMessage",
            {"MaxNumberOfMessages": 11},
            "com.amazon.coral.service#InvalidParameterValueException",
            "InvalidParameterValue",
            marks=[
                differs("moto", because="another namespace"),
                differs("ministack", because="no bounds are checked"),
            ],
        ),
        pytest.param(
            "DeleteMessage",
            {},
            "com.amazon.coral.service#MissingRequiredParameterException",
            "MissingParameter",
            marks=[
                differs("moto", because="the error is that of an invalid receipt"),
                differs("ministack", because="types have no namespace"),
            ],
        ),
        pytest.param(
            "MakeCoffee",
            {},
            "com.amazon.coral.service#UnknownOperationException",
            "InvalidAction",
            marks=[differs("moto", because="it answers 500"), differs("ministack", because="types have no namespace")],
        ),
    ],
)
def test_an_error_names_its_type_and_its_older_code(
    queue: Any, operation: str, request_: dict[str, Any], kind: str, code: str
) -> None:
    if operation != "GetQueueUrl":
        request_ = {"QueueUrl": queue.url, **request_}
    answer = queue.sqs.raw(operation, request_)
    assert answer.status == 400
    assert json.loads(answer.body)["__type"] == kind
    assert answer.headers["x-amzn-query-error"] == f"{code};Sender"


@pytest.mark.differs("moto", "ministack", because="it is treated as an empty request")
def test_text_that_is_not_json_is_malformed(sqs: Any) -> None:
    answer = sqs.raw("ListQueues", b"no json")
    assert answer.status == 400
    assert json.loads(answer.body)["__type"] == "com.amazon.coral.service#SerializationException"


@pytest.mark.differs("moto", "ministack", because="the token is ignored")
def test_a_token_that_is_not_ascii_is_refused(sqs: Any) -> None:
    assert sqs.raw("ListQueues", {"NextToken": "ä"}).status == 400


@pytest.mark.differs("moto", "ministack", because="the header is ignored")
def test_a_trace_in_the_header_of_a_send_arrives_as_a_system_attribute(sqs: Any, queue: Any) -> None:
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    sent = sqs.raw("SendMessage", {"QueueUrl": queue.url, "MessageBody": "a"}, {"X-Amzn-Trace-Id": trace})
    assert sent.status == 200
    assert queue.one()["Attributes"]["AWSTraceHeader"] == trace
