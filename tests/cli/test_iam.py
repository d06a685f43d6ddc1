"""The IAM policy of consumers: every action that they use, and none that they do not."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Annotated, Any

import pytest

from leasekeeper.cli.connection import Connection
from leasekeeper.cli.doctor.checks import examine
from leasekeeper.cli.doctor.facts import Facts, Finding, Level
from leasekeeper.cli.doctor.iam import CONSUME, Needs, policy_for
from leasekeeper.cli.doctor.policy_command import print_policy
from leasekeeper.exit_codes import Exit
from leasekeeper.given_options import make_options
from leasekeeper.local import LocalSqs
from leasekeeper.sending import Schedules, Sender
from leasekeeper.sending.senders import Senders
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.step_functions import StepFunctions

ARN = "arn:aws:sqs:eu-west-1:123456789012:"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/"
REDRIVE = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{ARN}orders-dead", "maxReceiveCount": 5})}


def needs(
    queue: str = "orders", attributes: dict[str, str] | None = None, dead: dict[str, str] | None = None, **values: Any
) -> Needs:
    return Needs(
        address=QueueAddress.parse(queue),
        attributes={"QueueArn": f"{ARN}orders", **(attributes or {})},
        options=make_options(values),
        dead_letters=dead,
    )


def statements(*given: Needs) -> list[dict[str, Any]]:
    policy = policy_for(given)
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    assert all(each["Effect"] == "Allow" and each["Action"] for each in found)
    assert not [action for each in found for action in each["Action"] if "*" in action]
    return found


def test_a_plain_consumer_needs_five_actions_on_its_queue() -> None:
    assert statements(needs()) == [
        {"Effect": "Allow", "Action": [*CONSUME, "sqs:GetQueueUrl"], "Resource": f"{ARN}orders"}
    ]


def test_a_queue_that_is_named_by_its_url_is_not_looked_up() -> None:
    [found] = statements(needs("https://sqs.eu-west-1.amazonaws.com/123456789012/orders"))
    assert found["Action"] == list(CONSUME)


@pytest.mark.parametrize(
    ("values", "target", "actions"),
    [
        ({}, f"{ARN}orders-dead", ["sqs:SendMessage", "sqs:GetQueueUrl"]),
        ({"dead_letter_queue": "bad"}, f"{ARN}bad", ["sqs:SendMessage", "sqs:GetQueueUrl"]),
        (
            {"dead_letter_queue": "https://sqs.eu-west-1.amazonaws.com/210987654321/bad"},
            "arn:aws:sqs:eu-west-1:210987654321:bad",
            ["sqs:SendMessage"],
        ),
    ],
)
def test_copies_of_rejected_messages_need_a_statement(values: Any, target: str, actions: list[str]) -> None:
    _, found = statements(needs(attributes=REDRIVE, **values))
    assert (found["Resource"], found["Action"]) == (target, actions)


def test_without_copies_nothing_is_sent() -> None:
    assert len(statements(needs(attributes=REDRIVE, on_reject="redrive"))) == 1
    assert len(statements(needs())) == 1


@pytest.mark.parametrize(
    ("key", "resource", "alias"),
    [
        ("1234-ab", f"{KEY}1234-ab", None),
        (f"{KEY}1234-ab", f"{KEY}1234-ab", None),
        ("alias/shop", f"{KEY}*", "alias/shop"),
        ("arn:aws:kms:eu-west-1:123456789012:alias/shop", f"{KEY}*", "alias/shop"),
    ],
)
def test_an_encrypted_queue_needs_its_key(key: str, resource: str, alias: str | None) -> None:
    _, found = statements(needs(attributes={"KmsMasterKeyId": key}))
    assert (found["Action"], found["Resource"]) == (["kms:Decrypt"], resource)
    assert found.get("Condition") == (
        {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}} if alias is not None else None
    )


def test_a_key_that_aws_keeps_needs_nothing() -> None:
    assert len(statements(needs(attributes={"KmsMasterKeyId": "alias/aws/sqs"}))) == 1


def test_a_copy_is_encrypted_with_the_key_of_its_queue() -> None:
    *_, found = statements(needs(attributes=REDRIVE, dead={"KmsMasterKeyId": "dead"}))
    assert (found["Action"], found["Resource"]) == (["kms:GenerateDataKey", "kms:Decrypt"], f"{KEY}dead")


def test_tasks_of_step_functions_are_reported_and_sns_needs_nothing() -> None:
    assert len(statements(needs(envelope="sns"))) == 1
    _, found = statements(needs(envelope=("sns", StepFunctions())))
    assert found["Action"] == ["states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"]


def test_task_protection_is_for_tasks_of_this_account() -> None:
    *_, found = statements(needs(ecs_protection=True), needs())
    assert found["Action"] == ["ecs:UpdateTaskProtection"]
    assert found["Resource"] == "arn:aws:ecs:eu-west-1:123456789012:task/*"


def test_what_several_consumers_need_is_said_once() -> None:
    assert len(statements(needs(), needs())) == 1


def test_a_queue_that_cannot_be_read_leaves_words_to_replace() -> None:
    unknown = Needs(address=QueueAddress.parse("orders"), attributes={}, options=make_options({}))
    assert statements(unknown)[0]["Resource"] == "arn:aws:sqs:REGION:ACCOUNT:orders"


# What SNS needs of the queue


def subscription(policy: Any, **attributes: str) -> Finding:
    facts = Facts(
        address=QueueAddress.parse("orders"),
        url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
        attributes={
            "QueueArn": f"{ARN}orders",
            "Policy": policy if isinstance(policy, str) else json.dumps({"Statement": policy}),
            **attributes,
        },
        options=make_options({"envelope": "sns"}),
    )
    [found] = [each for each in examine(facts) if each.topic == "subscription"]
    return found


TOPIC = {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:eu-west-1:123456789012:orders"}}
GOOD = {
    "Effect": "Allow",
    "Principal": {"Service": "sns.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": f"{ARN}orders",
    "Condition": TOPIC,
}


@pytest.mark.parametrize(
    ("policy", "level"),
    [
        ([GOOD], Level.OK),
        (GOOD, Level.OK),
        ([{**GOOD, "Principal": "*"}], Level.OK),
        ([{**GOOD, "Principal": {"AWS": "*"}, "Action": ["SQS:SendMessage"]}], Level.OK),
        ([{key: value for key, value in GOOD.items() if key != "Condition"}], Level.WARN),
        ([GOOD, {**GOOD, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}], Level.WARN),
        ([{**GOOD, "Effect": "Deny"}], Level.FAIL),
        ([{**GOOD, "Action": "sqs:ReceiveMessage"}], Level.FAIL),
        ([{**GOOD, "Resource": f"{ARN}bills"}], Level.FAIL),
        ([{**GOOD, "Principal": {"Service": "events.amazonaws.com"}}], Level.FAIL),
        ("", Level.FAIL),
        ("{not json", Level.FAIL),
        ("[]", Level.FAIL),
    ],
)
def test_the_queues_policy_has_to_let_sns_send(policy: Any, level: Level) -> None:
    found = subscription(policy)
    assert found.level is level
    assert bool(found.commands) == (level is not Level.OK)


def test_sns_cannot_use_the_key_that_aws_keeps() -> None:
    found = subscription([GOOD], KmsMasterKeyId="alias/aws/sqs")
    assert found.level is Level.FAIL
    assert "SNS may not use" in found.message


def test_a_queue_without_sns_is_not_asked_about_it() -> None:
    facts = Facts(address=QueueAddress.parse("orders"), url="u", attributes={}, options=make_options({}))
    assert [each for each in examine(facts) if each.topic == "subscription"] == []


@pytest.mark.slow
def test_the_policy_of_real_queues_has_their_arns(capsys: pytest.CaptureFixture[str]) -> None:
    """The doctor reads the queue and its dead-letter queue, and prints nothing but the policy."""
    with LocalSqs() as sqs:
        where: dict[str, Any] = {"endpoint_url": sqs.endpoint_url, "region": "us-east-1"}

        senders = Senders()
        assert senders.gives(
            inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Sender, "shipped"])
        )

        async def ask() -> Exit:
            async with await SqsClient.connect(ClientSettings(**where)) as client:
                dead = await client.create_queue("orders-dead", attributes={"KmsMasterKeyId": "1234"})
                arn = (await client.queue_attributes(dead))["QueueArn"]
                redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
                await client.create_queue("orders", attributes={"RedrivePolicy": redrive})
            return await print_policy([(Connection(queue="orders", **where), None, senders)])

        assert asyncio.run(ask()) is Exit.CLEAN
    printed = capsys.readouterr()
    found = json.loads(printed.out)["Statement"]
    assert printed.err == ""
    assert [each["Resource"].rpartition(":")[2] for each in found] == ["orders", "orders-dead", "key/1234", "shipped"]
    assert found[2]["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]


def test_a_queue_that_handlers_send_to_is_in_the_policy() -> None:
    sending = Needs(
        address=QueueAddress.parse("orders"),
        attributes={"QueueArn": f"{ARN}orders"},
        options=make_options({}),
        sends_to=("shipped",),
    )
    (found,) = [each for each in statements(sending) if each["Resource"] == f"{ARN}shipped"]
    assert "sqs:SendMessage" in found["Action"]


def test_handlers_that_schedule_may_create_schedules_and_pass_their_role_to_the_scheduler_alone() -> None:
    role = "arn:aws:iam::123456789012:role/later"
    scheduling = Needs(
        address=QueueAddress.parse("orders"),
        attributes={"QueueArn": f"{ARN}orders"},
        options=make_options({}),
        schedules=(Schedules(role=role, group="shop"),),
    )
    create, passing = statements(scheduling)[-2:]
    assert create["Action"] == ["scheduler:CreateSchedule", "scheduler:DeleteSchedule"]
    assert create["Resource"] == ARN.replace(":sqs:", ":scheduler:") + "schedule/shop/*"
    assert (passing["Action"], passing["Resource"]) == (["iam:PassRole"], role)
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
