"""The checks of `leasekeeper doctor` on a queue that is subscribed to topics of SNS.

Pure. A check promises one finding, or None when it does not apply.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from leasekeeper.cli.doctor.facts import Facts, Finding, Level
from leasekeeper.envelopes.choosing import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SNS = "sns.amazonaws.com"
SEND = ("sqs:sendmessage", "sqs:*", "*")
SOURCES = ("aws:sourcearn", "aws:sourceaccount", "aws:sourceowner", "aws:principalorgid", "aws:sourceorgid")
"""Keys of conditions that say which topics may send."""


def subscription(facts: Facts) -> Finding | None:
    """Whether the queue's policy lets SNS send to it, and only the topics that should."""
    if facts.options is None or facts.options.envelope is None or "sns" not in parts_of(facts.options.envelope):
        return None
    allowed = list(_allowing(facts.attributes.get("Policy", ""), facts.arn))
    if facts.attributes.get("KmsMasterKeyId", "").endswith("alias/aws/sqs"):
        message = (
            "the queue is encrypted with alias/aws/sqs, which SNS may not use: its messages do not arrive. Use a key "
            f"that you made and that lets {SNS} kms:GenerateDataKey and kms:Decrypt, or SSE-SQS"
        )
        return Finding(Level.FAIL, "subscription", message)
    if not allowed:
        message = (
            f"no statement of the queue's policy lets {SNS} send to it: messages of a topic do not arrive. Allow the "
            "topic, with its ARN:"
        )
        return Finding(Level.FAIL, "subscription", message, (_set_policy(facts),))
    if not all(map(_is_bounded, allowed)):
        message = (
            "the queue's policy lets every topic send, of any account: a message can come from anyone. Say which topic "
            "with a condition on aws:SourceArn"
        )
        return Finding(Level.WARN, "subscription", message, (_set_policy(facts),))
    return Finding(Level.OK, "subscription", "the queue's policy lets SNS send, with a condition on the source")


def _allowing(policy: str, arn: str) -> Iterator[dict[str, Any]]:
    """The statements that let SNS, or everyone, send to the queue."""
    try:
        statements = json.loads(policy or "{}").get("Statement", [])
    except (ValueError, AttributeError, RecursionError):
        return
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict) or statement.get("Effect") != "Allow":
            continue
        actions = {str(each).lower() for each in _listed(statement.get("Action"))}
        principal = statement.get("Principal")
        services = _listed(principal.get("Service")) if isinstance(principal, dict) else []
        everyone = principal == "*" or (isinstance(principal, dict) and "*" in _listed(principal.get("AWS")))
        resources = [str(each) for each in _listed(statement.get("Resource"))]
        here = not resources or any(each in {"*", arn} or each.endswith(":*") for each in resources)
        if actions & set(SEND) and here and (SNS in services or everyone):
            yield statement


def _is_bounded(statement: dict[str, Any]) -> bool:
    conditions = statement.get("Condition")
    tests = conditions.values() if isinstance(conditions, dict) else ()
    keys = {str(key).lower() for test in tests if isinstance(test, dict) for key in test}
    return bool(keys & set(SOURCES))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _set_policy(facts: Facts) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": SNS},
        "Action": "sqs:SendMessage",
        "Resource": facts.arn,
        "Condition": {
            "ArnEquals": {"aws:SourceArn": facts.arn.replace(":sqs:", ":sns:").rpartition(":")[0] + ":TOPIC"}
        },
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    document = json.dumps({"Policy": policy})
    return facts.command("aws", "sqs", "set-queue-attributes", "--queue-url", facts.url, "--attributes", document)
