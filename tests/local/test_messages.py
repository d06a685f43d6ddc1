from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

STRING = {"DataType": "String", "StringValue": "v"}


def test_body_and_digest_are_those_of_the_send(queue: Any) -> None:
    body = "grüß dich, \t 世界 😀\r\n"
    sent = queue.send(body)
    assert sent["MD5OfMessageBody"] == hashlib.md5(body.encode()).hexdigest()
    (message,) = queue.receive()
    assert message["Body"] == body
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MessageId"] == sent["MessageId"]


def test_the_digest_of_attributes_is_that_of_aws(queue: Any) -> None:
    """The digest is computed here as the developer guide describes it."""
    attributes = {
        "b": {"DataType": "Binary.png", "BinaryValue": base64.b64encode(b"\x00\xff").decode()},
        "a": {"DataType": "Number", "StringValue": "1.50"},
    }
    packed = (
        b"\x00\x00\x00\x01a\x00\x00\x00\x06Number\x01\x00\x00\x00\x041.50"
        b"\x00\x00\x00\x01b\x00\x00\x00\x0aBinary.png\x02\x00\x00\x00\x02\x00\xff"
    )
    sent = queue.send("x", MessageAttributes=attributes)
    assert sent["MD5OfMessageAttributes"] == hashlib.md5(packed).hexdigest()
    (message,) = queue.receive()
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"] == attributes


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ([], []),
        (["All"], ["a.b", "a.c", "d"]),
        ([".*"], ["a.b", "a.c", "d"]),
        (["*"], ["a.b", "a.c", "d"]),
        (["a.*"], ["a.b", "a.c"]),
        (["d"], ["d"]),
        (["d", "a.b"], ["a.b", "d"]),
        (["none"], []),
    ],
)
def test_only_requested_attributes_are_returned_with_their_digest(
    queue: Any, wanted: list[str], names: list[str]
) -> None:
    queue.send("x", MessageAttributes=dict.fromkeys(("a.b", "a.c", "d"), STRING))
    (message,) = queue.receive(MessageAttributeNames=wanted)
    assert sorted(message.get("MessageAttributes", [])) == names
    if names:
        chosen = queue.send("y", MessageAttributes=dict.fromkeys(names, STRING))
        assert message["MD5OfMessageAttributes"] == chosen["MD5OfMessageAttributes"]
    else:
        assert "MD5OfMessageAttributes" not in message


@pytest.mark.parametrize("member", ["AttributeNames", "MessageSystemAttributeNames"])
def test_only_requested_system_attributes_are_returned(queue: Any, member: str) -> None:
    queue.send("x")
    asked = {"MessageSystemAttributeNames": [], member: ["ApproximateReceiveCount", "SequenceNumber"]}
    (message,) = queue.receive(**asked)
    assert message["Attributes"] == {"ApproximateReceiveCount": "1"}
    assert "Attributes" not in queue.send("y")


def test_no_attributes_are_returned_by_default(queue: Any) -> None:
    queue.send("x", MessageAttributes={"a": STRING})
    (message,) = queue.receive(MessageSystemAttributeNames=[], MessageAttributeNames=[])
    assert sorted(message) == ["Body", "MD5OfBody", "MessageId", "ReceiptHandle"]


def test_times_are_epoch_milliseconds_and_the_first_receive_is_kept(desk: Any, queue: Any) -> None:
    desk.now = 1.5
    queue.send("x")
    desk.now = 2
    queue.receive(VisibilityTimeout=1)
    desk.now = 3
    (message,) = queue.receive()
    assert message["Attributes"]["SentTimestamp"] == "1700000001500"
    assert message["Attributes"]["ApproximateFirstReceiveTimestamp"] == "1700000002000"


@pytest.mark.parametrize("bad", ["\x00", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_characters_outside_the_set_are_refused(queue: Any, bad: str) -> None:
    assert queue.refused("SendMessage", MessageBody=f"ok {bad}").code == "InvalidMessageContents"


@pytest.mark.parametrize("bad", ["\x00", "\x08", "\x0b", "\ufffe", "\ud800"])
def test_characters_outside_the_set_are_refused_in_attributes_with_another_code(queue: Any, bad: str) -> None:
    """Recorded from AWS."""
    for attributes in (
        {"MessageAttributes": {"a": {"DataType": "String", "StringValue": bad}}},
        {"MessageAttributes": {"a": {"DataType": f"String.{bad}", "StringValue": "v"}}},
        {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": bad}}},
    ):
        assert queue.refused("SendMessage", MessageBody="ok", **attributes).code == "InvalidParameterValue"


def test_attribute_names_may_have_letters_of_any_language(queue: Any) -> None:
    """Recorded from AWS, which documents A-Z and a-z only."""
    queue.send("ok", MessageAttributes={"attr.1øßä": STRING})
    for name in ("Invalid-!-attr", 'Invalid-"-attr', "Invalid-§-attr", "Invalid-(-attr", "Invalid-?-attr"):
        assert queue.refused("SendMessage", MessageBody="ok", MessageAttributes={name: STRING}).code == (
            "InvalidParameterValue"
        )


@pytest.mark.parametrize(
    ("operation", "request_", "sentence"),
    [
        (
            "ReceiveMessage",
            {"MaxNumberOfMessages": 11},
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            "ReceiveMessage",
            {"WaitTimeSeconds": 21},
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ),
        (
            "SendMessage",
            {"MessageBody": "x", "MessageAttributes": {"k": {"DataType": "String", "StringValue": ""}}},
            "Message (user) attribute 'k' must contain a non-empty value of type 'String'.",
        ),
        (
            "SendMessageBatch",
            {"Entries": []},
            "There should be at least one SendMessageBatchRequestEntry in the request.",
        ),
        (
            "DeleteMessageBatch",
            {"Entries": []},
            "There should be at least one DeleteMessageBatchRequestEntry in the request.",
        ),
        (
            "ChangeMessageVisibilityBatch",
            {"Entries": []},
            "There should be at least one ChangeMessageVisibilityBatchRequestEntry in the request.",
        ),
    ],
)
def test_the_sentences_of_aws(queue: Any, operation: str, request_: dict[str, Any], sentence: str) -> None:
    assert queue.refused(operation, **request_).message == sentence


def test_a_trace_in_the_header_of_a_send_is_the_trace_of_its_messages(queue: Any) -> None:
    own = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=own"}}
    header = {"X-Amzn-Trace-Id": "Root=header"}
    assert "MD5OfMessageSystemAttributes" not in queue.send("single", **header)
    entries = [{"Id": "0", "MessageBody": "batch"}, {"Id": "1", "MessageBody": "own", "MessageSystemAttributes": own}]
    queue.ask("SendMessageBatch", Entries=entries, **header)
    traces = {message["Body"]: message["Attributes"]["AWSTraceHeader"] for message in queue.receive()}
    assert traces == {"single": "Root=header", "batch": "Root=header", "own": "Root=own"}


@pytest.mark.parametrize("good", ["\t\n\r", "\x7f\x80\x9f", "\ud7ff\ue000\ufffd", "\U00010000\U0010ffff"])
def test_the_edges_of_the_set_are_accepted(queue: Any, good: str) -> None:
    queue.send(good)
    assert queue.bodies() == [good]


def test_a_body_is_required(queue: Any) -> None:
    assert queue.refused("SendMessage").code == "MissingParameter"
    assert queue.refused("SendMessage", MessageBody="").code == "MissingParameter"


def test_a_mebibyte_is_accepted_and_one_byte_more_is_refused(queue: Any) -> None:
    queue.send("x" * 1_048_576)
    refusal = queue.refused("SendMessage", MessageBody="x" * 1_048_577)
    assert refusal.code == "InvalidParameterValue"
    assert "Message must be shorter than 1048576 bytes" in refusal.message


def test_the_size_is_that_of_utf8_and_of_attribute_names_types_and_values(desk: Any) -> None:
    queue = desk.queue(MaximumMessageSize="1024")
    attributes = {"ab": {"DataType": "String", "StringValue": "vv"}}
    queue.send("é" * 507, MessageAttributes=attributes)
    assert queue.refused("SendMessage", MessageBody="é" * 507 + "x", MessageAttributes=attributes).code == (
        "InvalidParameterValue"
    )


def test_the_trace_header_is_kept_and_adds_nothing_to_the_size(desk: Any) -> None:
    queue = desk.queue(MaximumMessageSize="1024")
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"}}
    assert queue.send("x" * 1024, MessageSystemAttributes=trace)["MD5OfMessageSystemAttributes"]
    assert queue.receive()[0]["Attributes"]["AWSTraceHeader"] == "Root=1-2-3"
    assert queue.refused("SendMessage", MessageBody="x", MessageSystemAttributes={"Other": STRING}).code == (
        "InvalidParameterValue"
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {str(at): STRING for at in range(11)},
        {"": STRING},
        {"a b": STRING},
        {".a": STRING},
        {"a.": STRING},
        {"a..b": STRING},
        {"AWS.a": STRING},
        {"amazon.a": STRING},
        {"a" * 257: STRING},
        {"a": {"StringValue": "v"}},
        {"a": {"DataType": "Text", "StringValue": "v"}},
        {"a": {"DataType": "String"}},
        {"a": {"DataType": "String", "StringValue": ""}},
        {"a": {"DataType": "Binary", "StringValue": "v"}},
        {"a": {"DataType": "Number", "StringValue": "one"}},
    ],
)
def test_invalid_attributes_are_refused(queue: Any, attributes: dict[str, Any]) -> None:
    assert queue.refused("SendMessage", MessageBody="x", MessageAttributes=attributes).code == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("ReceiveMessage", {"MaxNumberOfMessages": 0}),
        ("ReceiveMessage", {"MaxNumberOfMessages": 11}),
        ("ReceiveMessage", {"WaitTimeSeconds": 21}),
        ("ReceiveMessage", {"WaitTimeSeconds": -1}),
        ("ReceiveMessage", {"VisibilityTimeout": 43_201}),
        ("ChangeMessageVisibility", {"ReceiptHandle": "x", "VisibilityTimeout": 43_201}),
        ("SendMessage", {"MessageBody": "x", "DelaySeconds": 901}),
        ("SendMessage", {"MessageBody": "x", "MessageDeduplicationId": "d"}),
        ("SendMessage", {"MessageBody": "x", "MessageGroupId": ""}),
        ("SendMessage", {"MessageBody": "x", "MessageGroupId": "a" * 129}),
    ],
)
def test_values_out_of_bounds_are_refused(queue: Any, operation: str, request_: dict[str, Any]) -> None:
    refusal = queue.refused(operation, **request_)
    assert (refusal.status, refusal.kind, refusal.code) == (
        400,
        "com.amazon.coral.service#InvalidParameterValueException",
        "InvalidParameterValue",
    )


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("ReceiveMessage", {"MaxNumberOfMessages": "1"}),
        ("ReceiveMessage", {"MaxNumberOfMessages": True}),
        ("ReceiveMessage", {"AttributeNames": "All"}),
        ("ReceiveMessage", {"AttributeNames": [1]}),
        ("SendMessage", {"MessageBody": 1}),
        ("SendMessage", {"MessageBody": "x", "MessageAttributes": []}),
        ("SendMessage", {"MessageBody": "x", "MessageAttributes": {"a": 1}}),
        ("SendMessage", {"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": "?"}}}),
        ("SendMessage", {"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": "ä"}}}),
        ("DeleteMessageBatch", {"Entries": {}}),
        ("DeleteMessageBatch", {"Entries": [1]}),
        ("TagQueue", {"Tags": {"a": 1}}),
        ("GetQueueAttributes", {"QueueUrl": 5}),
    ],
)
def test_values_of_a_wrong_type_are_refused(desk: Any, queue: Any, operation: str, request_: dict[str, Any]) -> None:
    refusal = desk.refused(operation, **{"QueueUrl": queue.url, **request_})
    assert (refusal.status, refusal.code) == (400, "MalformedInput")


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("DeleteMessage", {}),
        ("ChangeMessageVisibility", {"VisibilityTimeout": 1}),
        ("ChangeMessageVisibility", {"ReceiptHandle": "RECEIPT"}),
        ("SendMessageBatch", {}),
        ("SetQueueAttributes", {}),
    ],
)
def test_a_missing_parameter_is_named(queue: Any, operation: str, request_: dict[str, Any]) -> None:
    refusal = queue.refused(operation, **request_)
    assert (refusal.kind, refusal.code) == (
        "com.amazon.coral.service#MissingRequiredParameterException",
        "MissingParameter",
    )


@pytest.mark.parametrize("receipt", ["", "garbage", "AQEB", "AQEB00-1-1", "AQEB" + "0" * 12 + "-1-1"])
def test_text_that_is_not_a_receipt_is_refused(queue: Any, receipt: str) -> None:
    for operation, extra in (("DeleteMessage", {}), ("ChangeMessageVisibility", {"VisibilityTimeout": 1})):
        refusal = queue.refused(operation, ReceiptHandle=receipt, **extra)
        assert (refusal.status, refusal.code) == (404, "ReceiptHandleIsInvalid")


# ---- batches


def test_a_batch_answers_each_entry(queue: Any) -> None:
    answer = queue.ask(
        "SendMessageBatch",
        Entries=[{"Id": "good", "MessageBody": "a"}, {"Id": "bad", "MessageBody": "\x00"}, {"Id": "late"}],
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [
        ("bad", "InvalidMessageContents", True),
        ("late", "MissingParameter", True),
    ]
    assert queue.bodies() == ["a"]


def test_two_entries_with_one_receipt_both_succeed(queue: Any) -> None:
    """L11: SQS distinguishes entries only by their id."""
    queue.send("a")
    (message,) = queue.receive()
    entries = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at in range(2)]
    assert queue.ask("DeleteMessageBatch", Entries=entries) == {"Successful": [{"Id": "0"}, {"Id": "1"}]}


def test_a_visibility_batch_answers_each_entry(queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive()
    answer = queue.ask(
        "ChangeMessageVisibilityBatch",
        Entries=[
            {"Id": "0", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0},
            {"Id": "1", "ReceiptHandle": "garbage", "VisibilityTimeout": 0},
            {"Id": "2", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 43_201},
        ],
    )
    assert answer["Successful"] == [{"Id": "0"}]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [
        ("1", "ReceiptHandleIsInvalid"),
        ("2", "InvalidParameterValue"),
    ]


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        ([], "EmptyBatchRequest"),
        ([str(at) for at in range(11)], "TooManyEntriesInBatchRequest"),
        (["a", "a"], "BatchEntryIdsNotDistinct"),
        ([""], "InvalidBatchEntryId"),
        (["a b"], "InvalidBatchEntryId"),
        (["a" * 81], "InvalidBatchEntryId"),
    ],
)
@pytest.mark.parametrize("operation", ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
def test_an_invalid_batch_is_refused_as_a_whole(queue: Any, operation: str, ids: list[str], kind: str) -> None:
    entries = [{"Id": entry_id, "MessageBody": "x", "ReceiptHandle": "x", "VisibilityTimeout": 1} for entry_id in ids]
    refusal = queue.refused(operation, Entries=entries)
    assert (refusal.status, refusal.kind, refusal.code) == (
        400,
        f"com.amazonaws.sqs#{kind}",
        f"AWS.SimpleQueueService.{kind}",
    )


def test_a_batch_is_limited_to_a_mebibyte_in_total(queue: Any) -> None:
    half = "x" * 524_288
    queue.ask("SendMessageBatch", Entries=[{"Id": str(at), "MessageBody": half} for at in range(2)])
    refusal = queue.refused(
        "SendMessageBatch", Entries=[{"Id": str(at), "MessageBody": half + "x" * at} for at in range(2)]
    )
    assert refusal.code == "AWS.SimpleQueueService.BatchRequestTooLong"
    assert queue.counts() == (2, 0, 0)
