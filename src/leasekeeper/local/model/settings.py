"""The attributes of a queue: their names, bounds and defaults.

Owned by the queue. It promises that settings made here are valid, and that they are shown as AWS shows them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from leasekeeper.local.model import refusals

DAY = 86_400

_ARN = re.compile(r"arn:[^:]+:sqs:[^:]+:[0-9]+:[^:]+")
_WHOLE = re.compile(r"[0-9]{1,10}")

_BOUNDS = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1_024, 1_048_576),
    "MessageRetentionPeriod": (60, 14 * DAY),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
    "KmsDataKeyReusePeriodSeconds": (60, DAY),
}
_CHOICES = {
    "SqsManagedSseEnabled": ("true", "false"),
    "FifoQueue": ("true", "false"),
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_FIFO_ONLY = ("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
_SCOPES = ("DeduplicationScope", "FifoThroughputLimit")
_FREE = ("Policy", "KmsMasterKeyId", "RedrivePolicy", "RedriveAllowPolicy")
COMPUTED = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)
KNOWN = frozenset((*_BOUNDS, *_CHOICES, *_FREE, *COMPUTED, "All"))

_DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
    "SqsManagedSseEnabled": "true",
}
_FIFO_DEFAULTS = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}


@dataclass(frozen=True, slots=True)
class Redrive:
    """A redrive policy: the receive after `max_receives` receives moves a message to the queue `target` (an ARN)."""

    target: str
    max_receives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The attributes of a queue, as text and parsed. Times are in seconds, sizes in bytes."""

    shown: dict[str, str]
    fifo: bool
    delay: int = 0
    most_bytes: int = 1_048_576
    retention: int = 345_600
    wait: int = 0
    visibility: int = 30
    content_dedup: bool = False
    dedup_by_group: bool = False
    redrive: Redrive | None = None
    allow: dict[str, Any] = field(default_factory=dict)


def initial(given: dict[str, str], *, fifo: bool) -> QueueSettings:
    """The settings of a new queue with these attributes; raises `Refusal`."""
    defaults = _DEFAULTS | (_FIFO_DEFAULTS if fifo else {})
    return changed(QueueSettings(shown=defaults, fifo=fifo), given)


def changed(settings: QueueSettings, given: dict[str, str]) -> QueueSettings:
    """The settings after setting these attributes; an empty value removes one. Raises `Refusal`."""
    shown = dict(settings.shown)
    for name, value in given.items():
        _check_name(name, fifo=settings.fifo)
        if value == "" and name in _FREE:
            shown.pop(name, None)
        else:
            shown[name] = _checked_value(name, value)
    _settle_encryption(shown, given)
    if shown.get("FifoThroughputLimit") == "perMessageGroupId" and shown.get("DeduplicationScope") != "messageGroup":
        raise refusals.bad_attribute_value(
            "Invalid value for the parameter FifoThroughputLimit. "
            "Reason: perMessageGroupId is allowed only when the value for DeduplicationScope is messageGroup."
        )
    return _parsed(settings, shown)


def _settle_encryption(shown: dict[str, str], given: dict[str, str]) -> None:
    """Apply the rules recorded from AWS: one type of encryption, and a reuse period only with a key."""
    if "KmsMasterKeyId" not in shown:
        shown.pop("KmsDataKeyReusePeriodSeconds", None)
    elif given.get("SqsManagedSseEnabled") == "true":
        raise refusals.bad_attribute_name(
            "You can use one type of server-side encryption (SSE) at one time. "
            "You can either enable KMS SSE or SQS SSE."
        )
    else:
        shown["SqsManagedSseEnabled"] = "false"


def _parsed(settings: QueueSettings, shown: dict[str, str]) -> QueueSettings:
    policy = json.loads(shown["RedrivePolicy"]) if "RedrivePolicy" in shown else None
    return replace(
        settings,
        shown=shown,
        delay=int(shown["DelaySeconds"]),
        most_bytes=int(shown["MaximumMessageSize"]),
        retention=int(shown["MessageRetentionPeriod"]),
        wait=int(shown["ReceiveMessageWaitTimeSeconds"]),
        visibility=int(shown["VisibilityTimeout"]),
        content_dedup=shown.get("ContentBasedDeduplication") == "true",
        dedup_by_group=shown.get("DeduplicationScope") == "messageGroup",
        redrive=Redrive(policy["deadLetterTargetArn"], policy["maxReceiveCount"]) if policy else None,
        allow=json.loads(shown["RedriveAllowPolicy"]) if "RedriveAllowPolicy" in shown else {},
    )


def _check_name(name: str, *, fifo: bool) -> None:
    if name in _SCOPES and not fifo:
        raise refusals.bad_attribute_name(f"You can specify the {name} only when FifoQueue is set to true.")
    if name not in KNOWN or name in COMPUTED or name == "All" or (name in _FIFO_ONLY and not fifo):
        raise refusals.bad_attribute_name(f"Unknown Attribute {name}.")


def _checked_value(name: str, value: str) -> str:
    invalid = refusals.bad_attribute_value(f"Invalid value for the parameter {name}.")
    if name in _BOUNDS:
        low, high = _BOUNDS[name]
        if not (_WHOLE.fullmatch(value) and low <= int(value) <= high):
            raise invalid
        return str(int(value))
    if name in _CHOICES:
        choice = value.lower() if name in ("SqsManagedSseEnabled", "FifoQueue", "ContentBasedDeduplication") else value
        if choice not in _CHOICES[name]:
            raise invalid
        if (name, choice) == ("FifoQueue", "false"):
            raise refusals.bad_attribute_value(f"{invalid.message} Reason: Modifying queue type is not supported.")
        return choice
    if name == "RedrivePolicy":
        return _redrive_policy(value)
    if name == "RedriveAllowPolicy":
        return _allow_policy(value)
    if name == "Policy":
        statements = _json_object(name, value).get("Statement", [])
        if not isinstance(statements, list) or not all(isinstance(statement, dict) for statement in statements):
            raise invalid
    return value


def _json_object(name: str, value: str) -> dict[str, Any]:
    decoded = _object(value)
    if decoded is None:
        raise refusals.bad_attribute_value(f"Invalid value for the parameter {name}. Reason: not a JSON object.")
    return decoded


def _object(value: str) -> dict[str, Any] | None:
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _redrive_policy(value: str) -> str:
    refuse = refusals.bad_parameter
    text = f"Value {value} for parameter RedrivePolicy is invalid. Reason: "
    policy = _object(value)
    if policy is None or not {"deadLetterTargetArn", "maxReceiveCount"} <= policy.keys():
        raise refuse(
            text + "Redrive policy does not contain mandatory attributes: deadLetterTargetArn, maxReceiveCount."
        )
    target, max_receives = str(policy["deadLetterTargetArn"]), str(policy["maxReceiveCount"])
    if not (_WHOLE.fullmatch(max_receives) and 1 <= int(max_receives) <= 1_000):
        raise refuse(text + "Invalid value for maxReceiveCount: must be between 1 and 1000.")
    if not _ARN.fullmatch(target):
        raise refuse(text + "Invalid value for deadLetterTargetArn.")
    shown = {"deadLetterTargetArn": target, "maxReceiveCount": int(max_receives)}
    return json.dumps(shown, separators=(",", ":"))


def _allow_policy(value: str) -> str:
    policy = _json_object("RedriveAllowPolicy", value)
    sources = policy.get("sourceQueueArns", [])
    by_queue = policy.get("redrivePermission") == "byQueue"
    listed = isinstance(sources, list) and all(isinstance(arn, str) for arn in sources)
    if (
        policy.get("redrivePermission") not in ("allowAll", "denyAll", "byQueue")
        or not listed
        or bool(sources) != by_queue
        or len(sources) > 10
    ):
        raise refusals.bad_parameter(f"Value {value} for parameter RedriveAllowPolicy is invalid.")
    return json.dumps(policy, separators=(",", ":"))


def allows_source(settings: QueueSettings, source: str) -> bool:
    """Whether the queue with these settings may be the dead-letter queue of the queue with the ARN `source`."""
    permission = settings.allow.get("redrivePermission", "allowAll")
    return permission == "allowAll" or (permission == "byQueue" and source in settings.allow["sourceQueueArns"])
