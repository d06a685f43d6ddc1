"""The doctor's checks: facts become findings."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest

from leasekeeper.cli.doctor.checks import examine
from leasekeeper.cli.doctor.facts import DAY, Facts, Finding, Level
from leasekeeper.cli.redrive_policy import RedrivePolicy, account_in
from leasekeeper.options import Options
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
    """The findings that are not ok, about a good queue with something changed."""
    attributes = {name: value for name, value in {**GOOD, **(changed or {})}.items() if value is not None}
    facts = Facts(
        **{"address": QueueAddress.parse(URL), "url": URL, "attributes": attributes, "dead_letters": DEAD, **more}
    )
    return {each.topic: each for each in examine(facts) if each.level is not Level.OK}


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
        ({"VisibilityTimeout": "7200"}, {}, "visibility", Level.WARN, "messages stay hidden that long"),
        ({}, {"handler_seconds": 50_000}, "visibility", Level.FAIL, "takes longer than 12 hours"),
        ({"RedrivePolicy": None}, {}, "redrive policy", Level.WARN, "none: a message that always fails comes back"),
        (policy(1), {}, "redrive policy", Level.FAIL, "one lost answer, or one release at a stop"),
        (policy(2), {}, "redrive policy", Level.WARN, "lost answers and releases at a stop count too"),
        (policy(1000), {}, "redrive policy", Level.WARN, "is tried for a long time"),
        (
            {},
            {"dead_letters": {"MessageRetentionPeriod": str(DAY)}},
            "dead letters",
            Level.FAIL,
            "orders-dead keeps messages for 1 day, orders for 4 days: a dead letter's time counts from its first send",
        ),
        ({}, {"dead_letters": {"MessageRetentionPeriod": str(4 * DAY)}}, "dead letters", Level.WARN, "more time"),
        (
            {},
            {"dead_letters": None, "dead_letters_problem": "denied"},
            "dead letters",
            Level.WARN,
            "orders-dead cannot be checked: denied",
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
        ({"SqsManagedSseEnabled": "false"}, {}, "encryption", Level.WARN, "not encrypted at rest"),
        (
            {"KmsMasterKeyId": "alias/x", "KmsDataKeyReusePeriodSeconds": "60"},
            {},
            "encryption",
            Level.WARN,
            "KMS may throttle",
        ),
        ({"ApproximateNumberOfMessagesNotVisible": "100000"}, {}, "messages", Level.WARN, "100,000 in flight"),
        ({"ApproximateNumberOfMessagesNotVisible": "120000"}, {}, "messages", Level.FAIL, "gives out no more"),
    ],
)
def test_each_thing_that_is_wrong_is_found_alone(
    changed: dict[str, str | None], more: dict[str, Any], what: str, level: Level, said: str
) -> None:
    found = findings(changed, **more)
    assert list(found) == [what]
    assert found[what].level is level
    assert said in found[what].message


def test_a_dead_letter_queue_of_several_queues_is_one_to_consider() -> None:
    found = findings(dead_letters_of=("bills", "orders", "refunds"))
    assert list(found) == ["redrive"]
    assert found["redrive"].message.startswith("orders-dead is also the dead-letter queue of bills and refunds: ")
    assert findings(dead_letters_of=("orders",)) == {}


def test_a_consumer_sets_its_own_wait() -> None:
    """So the queue's default is no finding about it; of a queue alone it is one to consider."""
    assert findings({"ReceiveMessageWaitTimeSeconds": "0"}, options=Options(), stop=30.0) == {}


def test_a_dead_letter_queue_needs_no_further_one() -> None:
    assert findings({"RedrivePolicy": None}, sources=("orders",), dead_letters=None) == {}


def test_the_commands_name_queue_attribute_endpoint_and_region() -> None:
    flags = ("--endpoint-url", "http://127.0.0.1:9324", "--region", "eu-west-1")
    (command,) = findings({"ReceiveMessageWaitTimeSeconds": "0"}, flags=flags)["long polling"].commands
    assert command == (
        f"aws sqs set-queue-attributes --queue-url {URL} --attributes ReceiveMessageWaitTimeSeconds=20 "
        "--endpoint-url http://127.0.0.1:9324 --region eu-west-1"
    )


def test_without_a_redrive_policy_the_commands_create_one() -> None:
    create, change = findings({"RedrivePolicy": None})["redrive policy"].commands
    assert create == "aws sqs create-queue --queue-name orders-dead --attributes MessageRetentionPeriod=1209600"
    document = json.loads(shlex.split(change)[-1])
    assert json.loads(document["RedrivePolicy"]) == {
        "deadLetterTargetArn": f"{ARN}orders-dead",
        "maxReceiveCount": "5",
    }


def test_every_word_of_a_command_is_quoted_for_the_shell() -> None:
    """A server may put anything into a URL or an ARN; a shell must take it for text."""
    hostile = "http://[::1]:9324/1/o$(id);'x'"
    changed: dict[str, str | None] = {
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": "arn:aws:sqs:x:1:`id`", "maxReceiveCount": 1})
    }
    found = findings(
        changed,
        url=hostile,
        flags=("--endpoint-url", "http://[::1]:9324/?a&b"),
        dead_letters={"MessageRetentionPeriod": "1"},
    )
    for command in (*found["redrive policy"].commands, *found["dead letters"].commands):
        words = shlex.split(command)
        assert words[:4] == ["aws", "sqs", "set-queue-attributes", "--queue-url"]
        assert words[4] in {hostile, "http://[::1]:9324/1/`id`"}
        assert words[-2:] == ["--endpoint-url", "http://[::1]:9324/?a&b"]
        assert len(words) == 9


@pytest.mark.parametrize(
    "policy", ["", "{", "[]", "null", '{"deadLetterTargetArn": 5}', "[" * 100_000, '{"maxReceiveCount": "5"}']
)
def test_a_redrive_policy_that_cannot_be_read_is_none(policy: str) -> None:
    assert RedrivePolicy.read({"RedrivePolicy": policy}) is None


@pytest.mark.parametrize(
    ("target", "name", "account"),
    [
        (f"{ARN}orders-dead", "orders-dead", "123456789012"),
        ("arn:aws:sqs:elasticmq:000000000000:dead", "dead", "000000000000"),
        ("yrn:yc:ymq:ru-central1:b1g:dead", "dead", None),
        ("arn:scw:sqs:fr-par:project-1:dead", "dead", None),
        ("http://host/000000000000/dead/", "dead", None),
        ("dead", "dead", None),
    ],
)
def test_a_name_is_read_from_every_spelling_of_an_arn(target: str, name: str, account: str | None) -> None:
    policy = RedrivePolicy.read({"RedrivePolicy": json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": "x"})})
    assert policy is not None
    assert (policy.name, policy.max_receives) == (name, None)
    assert account_in(target) == account


# FIFO queues, and the options of a consumer

FIFO = {"address": QueueAddress.parse(f"{URL}.fifo"), "url": f"{URL}.fifo"}


def test_a_fifo_queue_with_a_dead_letter_queue_loses_its_order_at_a_dead_letter() -> None:
    found = findings(policy(10), **FIFO)
    assert list(found) == ["order"]
    assert found["order"].level is Level.WARN
    assert "breaks the order" in found["order"].message


@pytest.mark.parametrize(("most", "level"), [(1, Level.FAIL), (2, Level.WARN), (9, Level.WARN)])
def test_a_fifo_queue_needs_ten_receives(most: int, level: Level) -> None:
    found = findings(policy(most), **FIFO)["redrive policy"]
    assert found.level is level
    document = json.loads(shlex.split(found.commands[0])[-1])
    assert json.loads(document["RedrivePolicy"])["maxReceiveCount"] == "10"


def test_on_a_fifo_queue_without_a_redrive_policy_a_group_stands_still() -> None:
    found = findings({"RedrivePolicy": None}, **FIFO, dead_letters=None)
    assert list(found) == ["redrive policy"]
    assert found["redrive policy"].message.endswith("; until then its group stands still")
    assert findings({"RedrivePolicy": None}, **FIFO, dead_letters=None, sources=("a", "b", "c")) == {}


@pytest.mark.parametrize(("days", "topics"), [(14, []), (4, ["halt"])])
def test_a_halt_needs_a_queue_without_a_redrive_policy_and_ends_with_the_retention(
    days: int, topics: list[str]
) -> None:
    options = Options(on_exhausted="halt", wait_time=10)
    changed: dict[str, str | None] = {"RedrivePolicy": None, "MessageRetentionPeriod": str(days * DAY)}
    assert list(findings(changed, **FIFO, options=options, dead_letters=None)) == topics
    refused = findings(policy(10), **FIFO, options=options)["halt"]
    assert refused.level is Level.FAIL
    assert shlex.split(refused.commands[0])[-1] == "RedrivePolicy="


@pytest.mark.parametrize(
    ("wait", "visible", "waits", "level"),
    [(20, 31, "20 s", None), (20, 30, "19 s", None), (20, 20, "9 s", Level.WARN), (5, 8, "1 s", Level.WARN)],
)
def test_on_a_fifo_queue_the_wait_must_fit_into_the_visibility_timeout(
    wait: float, visible: int, waits: str, level: Level | None
) -> None:
    options = Options(wait_time=wait, visibility_timeout=visible)
    facts = Facts(address=QueueAddress.parse(f"{URL}.fifo"), url=f"{URL}.fifo", attributes={}, options=options)
    (polling,) = [each for each in examine(facts) if each.topic == "polling"]
    assert polling.level is (level or Level.OK)
    assert f"receives wait {waits}" in polling.message
    assert (f"Use visibility_timeout={wait + 11} or more" in polling.message) is (level is Level.WARN)
    assert "polling" not in findings(options=options)


def test_the_visibility_timeout_of_a_consumer_is_its_option() -> None:
    facts = Facts(
        address=QueueAddress.parse(URL),
        url=URL,
        attributes={"VisibilityTimeout": "30"},
        handler_seconds=20,
    )
    said = {option: _visibility(replace(facts, options=Options(visibility_timeout=option))) for option in (10, 30)}
    assert said == {
        10: "10 s by visibility_timeout, extended while a handler runs; the queue's 30 s are for other consumers",
        30: "30 s by visibility_timeout, extended while a handler runs",
    }
    assert _visibility(facts) == "30 s"
    assert findings({"VisibilityTimeout": "0"}, options=Options()) == {}
    assert findings(handler_seconds=50_000, options=Options())["visibility"].level is Level.FAIL


def _visibility(facts: Facts) -> str:
    (found,) = [each for each in examine(facts) if each.topic == "visibility"]
    assert found.level is Level.OK
    return found.message


def test_on_a_fifo_queue_the_redrive_policy_limits_the_attempts() -> None:
    found = findings(policy(10), **FIFO, options=Options(max_attempts=12, wait_time=10))["attempts"]
    assert found.message == (
        "max_attempts=12, but on a FIFO queue a message has no more attempts than maxReceiveCount=10"
    )
    assert "attempts" not in findings(policy(10), **FIFO, options=Options(max_attempts=10, wait_time=10))


@pytest.mark.parametrize(
    ("most", "more", "said"),
    [
        (4, {}, "max_attempts=5, and after 4 receives SQS moves a message itself"),
        (5, {}, "max_attempts=5, and after 5 receives SQS moves a message itself"),
        (6, {}, None),
        (None, {}, "max_attempts=5 without a dead-letter queue"),
        (None, {"dead_letter_queue": "rejects"}, None),
    ],
)
def test_attempts_must_be_fewer_than_the_receives_that_sqs_allows(
    most: int | None, more: dict[str, Any], said: str | None
) -> None:
    changed: dict[str, str | None] = {"RedrivePolicy": None} if most is None else policy(most)
    found = findings(changed, options=Options(max_attempts=5, **more)).get("attempts")
    assert (found is not None) is (said is not None)
    assert found is None or (found.level is Level.WARN and found.message.startswith(str(said)))
    if found is not None and found.commands:
        document = json.loads(shlex.split(found.commands[0])[-1])
        assert json.loads(document["RedrivePolicy"])["maxReceiveCount"] == "8"
