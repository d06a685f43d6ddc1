"""The model answers or refuses every request, whatever its members."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper.local.model import OPERATIONS, Account, Refusal

MEMBERS = [
    "QueueName", "QueueNamePrefix", "MessageBody", "MessageAttributes", "MessageSystemAttributes", "Entries", "Id",
    "ReceiptHandle", "VisibilityTimeout", "MaxNumberOfMessages", "WaitTimeSeconds", "DelaySeconds", "Attributes",
    "AttributeNames", "MessageAttributeNames", "MessageGroupId", "MessageDeduplicationId", "ReceiveRequestAttemptId",
    "Tags", "tags", "TagKeys", "SourceArn", "DestinationArn", "TaskHandle", "MaxResults", "NextToken", "Label",
    "AWSAccountIds", "Actions", "DataType", "StringValue", "BinaryValue", "AWSTraceHeader", "RedrivePolicy",
    "RedriveAllowPolicy", "Policy", "deadLetterTargetArn", "maxReceiveCount", "FifoQueue", "QueueOwnerAWSAccountId",
]  # fmt: skip
TEXTS = st.sampled_from([
    "", "q", "q.fifo", "x", "All", "String", "Binary", "Number", "AA==", "1", "-1", "1e9", "\x00", "true",
    "{}", "[]", "null", '{"Statement": 1}', '{"Statement": [1]}', '{"Statement": [{}]}',
    '{"deadLetterTargetArn": [], "maxReceiveCount": {}}', '{"redrivePermission": "byQueue", "sourceQueueArns": {}}',
    "arn:aws:sqs:us-east-1:000000000000:q",
])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 12) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=6,
)


CALLS = st.tuples(st.sampled_from(sorted(OPERATIONS)), st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=6))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=4), st.sampled_from(["q", "q.fifo"]))
def test_every_request_is_answered_or_refused(calls: list[tuple[str, dict[str, Any]]], name: str) -> None:
    account = Account(Random(0))
    attributes = {"FifoQueue": "true"} if name == "q.fifo" else {}
    url = account.call("CreateQueue", {"QueueName": name, "Attributes": attributes}, 0.0)["QueueUrl"]
    for now, (operation, request) in enumerate(calls):
        try:
            answer = account.call(operation, {"QueueUrl": url, **request}, now)
        except Refusal:
            continue
        assert isinstance(answer, dict)
