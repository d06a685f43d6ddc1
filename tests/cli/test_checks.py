"""The doctor's checks: facts in, findings out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from leasekeeper.cli.checks import DAY, Facts, Finding, Level, examine
from leasekeeper.sqs.address import QueueAddress

ARN = "arn:aws:sqs:eu-west-1:123456789012:"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
GOOD = {
    "QueueArn": f"{ARN}orders",
    "VisibilityTimeout": "60",
    "MessageRetentionPeriod": str(4 * DAY),
    "ReceiveMessageWaitTimeSeconds": "20",
    "SqsManagedSseEnabled": "true",
    "RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{ARN}orders-dead", "maxReceiveCount": "5"}),
}
DEAD = {"MessageRetentionPeriod": str(14 * DAY), "ApproximateNumberOfMessages": "0"}


def findings(changed: dict[str, str | None] | None = None, **more: Any) -> dict[str, Finding]:
    """All findings about a good queue with something changed, those that are not ok."""
    attributes = {name: value for name, value in {**GOOD, **(changed or {})}.items() if value is not None}
    facts = Facts(
        **{"address": QueueAddress.parse(URL), "url": URL, "attributes": attributes, "dead_letters": DEAD, **more}
    )
    return {each.what: each for each in examine(facts) if each.level is not Level.OK}


def policy(most: int) -> dict[str, str | None]:
    return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{ARN}orders-dead", "maxReceiveCount": most})}


def test_a_good_queue_has_nothing_to_change() -> None:
    assert findings() == {}
    assert findings(handler_seconds=60) == {}


@pytest.mark.parametrize(
    ("changed", "more", "what", "level", "said"),
    [
        ({"VisibilityTimeout": "0"}, {}, "visibility", Level.WARN, "0 s: a consumer that does not set its own"),
        ({}, {"handler_seconds": 61}, "visibility", Level.WARN, "60 s is less than the handler's 61 s"),
        ({"VisibilityTimeout": "7200"}, {}, "visibility", Level.WARN, "messages stay away so long"),
        ({}, {"handler_seconds": 50_000}, "visibility", Level.FAIL, "outlives the 12 hours"),
        ({"RedrivePolicy": None}, {}, "redrive policy", Level.WARN, "none: a message that always fails comes again"),
        (policy(1), {}, "redrive policy", Level.FAIL, "a receive whose answer is lost"),
        (policy(2), {}, "redrive policy", Level.WARN, "stops and lost answers count too"),
        (policy(1000), {}, "redrive policy", Level.WARN, "a poisonous message is tried long"),
        (
            {},
            {"dead_letters": {"MessageRetentionPeriod": str(DAY)}},
            "dead letters",
            Level.FAIL,
            "orders-dead keeps messages 1 day, orders 4 days: a dead letter keeps the time it was first sent",
        ),
        ({}, {"dead_letters": {"MessageRetentionPeriod": str(4 * DAY)}}, "dead letters", Level.WARN, "more time"),
        (
            {},
            {"dead_letters": None, "dead_letters_problem": "denied"},
            "dead letters",
            Level.WARN,
            "orders-dead cannot be looked at: denied",
        ),
        (
            {},
            {"dead_letters": {**DEAD, "ApproximateNumberOfMessages": "7"}},
            "dead letters",
            Level.WARN,
            "orders-dead holds about 7 messages",
        ),
        ({"MessageRetentionPeriod": "3600"}, {}, "retention", Level.WARN, "1 hour: a longer outage"),
        ({"ReceiveMessageWaitTimeSeconds": "0"}, {}, "long polling", Level.WARN, "off by default"),
        ({"SqsManagedSseEnabled": "false"}, {}, "encryption", Level.WARN, "none at rest"),
        (
            {"KmsMasterKeyId": "alias/x", "KmsDataKeyReusePeriodSeconds": "60"},
            {},
            "encryption",
            Level.WARN,
            "KMS may throttle",
        ),
        ({"ApproximateNumberOfMessagesNotVisible": "100000"}, {}, "messages", Level.WARN, "100,000 are in flight"),
        ({"ApproximateNumberOfMessagesNotVisible": "120000"}, {}, "messages", Level.FAIL, "hands out no more"),
        ({}, {"address": QueueAddress.parse("orders.fifo")}, "kind", Level.FAIL, "FIFO"),
    ],
)
def test_each_thing_that_is_wrong_is_found_alone(
    changed: dict[str, str | None], more: dict[str, Any], what: str, level: Level, said: str
) -> None:
    found = findings(changed, **more)
    assert list(found) == [what]
    assert found[what].level is level
    assert said in found[what].said


def test_a_dead_letter_queue_needs_none_of_its_own() -> None:
    assert findings({"RedrivePolicy": None}, sources=("orders",), dead_letters=None) == {}


def test_the_commands_name_queue_attribute_and_endpoint() -> None:
    found = findings({"ReceiveMessageWaitTimeSeconds": "0"}, endpoint_url="http://127.0.0.1:9324")
    (command,) = found["long polling"].fixes
    assert command == (
        f"aws sqs set-queue-attributes --queue-url {URL} --attributes ReceiveMessageWaitTimeSeconds=20 "
        "--endpoint-url http://127.0.0.1:9324"
    )


def test_without_a_redrive_policy_the_commands_create_one() -> None:
    create, change = findings({"RedrivePolicy": None})["redrive policy"].fixes
    assert create == "aws sqs create-queue --queue-name orders-dead --attributes MessageRetentionPeriod=1209600"
    document = json.loads(change.partition("--attributes '")[2].rstrip("'"))
    assert json.loads(document["RedrivePolicy"]) == {
        "deadLetterTargetArn": f"{ARN}orders-dead",
        "maxReceiveCount": "5",
    }
