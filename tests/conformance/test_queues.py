from __future__ import annotations

import json
from typing import Any

import pytest

differs = pytest.mark.differs


@pytest.mark.differs("ministack", because="the largest message is 256 KiB")
def test_a_new_queue_has_awss_defaults(queue: Any) -> None:
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


def test_a_fifo_queue_says_so(fifo: Any) -> None:
    assert fifo.attributes()["FifoQueue"] == "true"
    assert fifo.attributes()["ContentBasedDeduplication"] == "true"


def test_a_url_is_found_by_its_name_and_listed_by_its_prefix(sqs: Any, queue: Any) -> None:
    assert sqs.client.get_queue_url(QueueName=queue.name)["QueueUrl"] == queue.url
    assert sqs.client.list_queues(QueueNamePrefix=queue.name)["QueueUrls"] == [queue.url]
    assert not sqs.client.list_queues(QueueNamePrefix="no-such-prefix").get("QueueUrls")


def test_a_queue_that_is_not_there(sqs: Any, queue: Any) -> None:
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


def test_creating_it_again_alike_is_no_error_otherwise_it_is(sqs: Any, queue: Any) -> None:
    assert sqs.client.create_queue(QueueName=queue.name)["QueueUrl"] == queue.url
    refused = sqs.refused("create_queue", QueueName=queue.name, Attributes={"VisibilityTimeout": "31"})
    assert (refused.code, refused.status) == ("QueueAlreadyExists", 400)


@pytest.mark.differs("ministack", because="any name will do")
@pytest.mark.parametrize("name", ["a b", "a" * 81, "a.b"])
def test_bad_names_are_refused(sqs: Any, name: str) -> None:
    assert sqs.refused("create_queue", QueueName=name).code == "InvalidParameterValue"


def test_attributes_take_effect(queue: Any) -> None:
    queue.ask("set_queue_attributes", Attributes={"VisibilityTimeout": "1", "DelaySeconds": "0"})
    assert queue.attributes()["VisibilityTimeout"] == "1"
    queue.send("a")
    queue.receive()
    assert queue.one()["Body"] == "a"


@pytest.mark.differs("moto", because="attributes to be set are not checked")
@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        pytest.param("Nonsense", "1", "InvalidAttributeName", marks=differs("ministack", because="any name will do")),
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("VisibilityTimeout", "x", "InvalidAttributeValue"),
        pytest.param(
            "FifoQueue", "true", "InvalidAttributeName", marks=differs("ministack", because="any name will do")
        ),
    ],
)
def test_an_attribute_that_cannot_be_is_refused(queue: Any, name: str, value: str, code: str) -> None:
    refused = queue.refused("set_queue_attributes", Attributes={name: value})
    assert (refused.code, refused.status) == (code, 400)


@pytest.mark.differs("ministack", because="unknown attributes are passed over")
def test_unknown_attributes_cannot_be_asked_for(queue: Any) -> None:
    assert queue.refused("get_queue_attributes", AttributeNames=["Nonsense"]).code == "InvalidAttributeName"


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
def test_values_beyond_their_bounds_are_refused(queue: Any, operation: str, request_: dict[str, Any]) -> None:
    queue.send("x")  # so that a server that takes a wait of 21 s answers at once
    assert queue.refused(operation, **request_)[:2] == ("InvalidParameterValue", 400)


@pytest.mark.differs("ministack", because="the largest message is 256 KiB")
def test_a_mebibyte_is_taken_and_a_byte_more_is_not(queue: Any) -> None:
    queue.send("x" * 1_048_576)
    assert queue.refused("send_message", MessageBody="x" * 1_048_577).code == "InvalidParameterValue"


@pytest.mark.differs("moto", because="any character will do")
@pytest.mark.parametrize("bad", ["\x00", "\x0b", "\ufffe"])
def test_characters_outside_the_set_are_refused(queue: Any, bad: str) -> None:
    assert queue.refused("send_message", MessageBody=bad).code == "InvalidMessageContents"


# ---- on the wire


@pytest.mark.differs("moto", "ministack", because="the body is an empty object")
def test_void_operations_answer_with_an_empty_body(sqs: Any, queue: Any) -> None:
    answer = sqs.raw("TagQueue", {"QueueUrl": queue.url, "Tags": {"a": "1"}})
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.differs("moto", "ministack", because="no tags are an empty object")
def test_what_is_empty_is_absent(sqs: Any, queue: Any) -> None:
    assert json.loads(sqs.raw("ReceiveMessage", {"QueueUrl": queue.url}).body) == {}
    assert json.loads(sqs.raw("ListQueueTags", {"QueueUrl": queue.url}).body) == {}
    assert json.loads(sqs.raw("ListQueues", {"QueueNamePrefix": "no-such-prefix"}).body) == {}
    sent = sqs.raw("SendMessageBatch", {"QueueUrl": queue.url, "Entries": [{"Id": "0", "MessageBody": "x"}]})
    assert list(json.loads(sent.body)) == ["Successful"]


@pytest.mark.differs("moto", "ministack", because="the status is 400")
@pytest.mark.parametrize("operation", ["DeleteMessage", "ChangeMessageVisibility"])
def test_text_that_is_no_receipt_is_not_found(sqs: Any, queue: Any, operation: str) -> None:
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
                differs("moto", because="it is a receipt that is invalid"),
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


@pytest.mark.differs("moto", "ministack", because="it is taken for an empty request")
def test_what_is_no_json_is_malformed(sqs: Any) -> None:
    answer = sqs.raw("ListQueues", b"no json")
    assert answer.status == 400
    assert json.loads(answer.body)["__type"] == "com.amazon.coral.service#SerializationException"
