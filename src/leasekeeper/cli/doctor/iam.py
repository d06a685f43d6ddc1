"""The IAM policy that a consumer needs, and no more: actions by the options, resources by the queue.

Pure. Owned by `leasekeeper doctor --policy`. It promises statements without a wildcard for actions, and for resources
only where IAM knows no narrower one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from leasekeeper.cli.redrive_policy import RedrivePolicy
from leasekeeper.envelopes.choosing import parts_of
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.options import Options
    from leasekeeper.payloads.settings import S3Payloads
    from leasekeeper.sending.schedules import Schedules

REGION, ACCOUNT = "REGION", "ACCOUNT"
"""Stand where neither the queue nor the code says which."""
CONSUME = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes")
MANAGED = "alias/aws/sqs"
"""The key of KMS that AWS keeps for SQS: its policy lets in all that may use the queue."""


SEND = ("sqs:SendMessage", "sqs:GetQueueUrl", "sqs:GetQueueAttributes")
"""What a sender calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a policy is made from.

    Attributes:
        address: the queue, as the code names it.
        attributes: the queue's attributes; empty when they could not be read.
        dead_letters: the attributes of the queue that copies go to; empty when they could not be read.
        options: those of the consumer.
        region: the region, if the code or the environment says one.
        sends_to: the queues that handlers send to.
        schedules: how handlers have messages sent later.
        outboxes: where the relays of outboxes keep payloads.
    """

    address: QueueAddress
    attributes: Mapping[str, str]
    options: Options
    dead_letters: Mapping[str, str] | None = None
    region: str | None = None
    sends_to: Sequence[str] = ()
    schedules: Sequence[Schedules] = ()
    outboxes: Sequence[S3Payloads] = ()

    @property
    def sender_arns(self) -> list[str]:
        """The ARNs of the queues that handlers send to."""
        return [self._arn_of(QueueAddress.parse(queue)) for queue in self.sends_to]

    @property
    def arn(self) -> str:
        """The queue's ARN."""
        return self.attributes.get("QueueArn") or self._arn_of(self.address)

    def _arn_of(self, address: QueueAddress) -> str:
        own = self.attributes.get("QueueArn", "").split(":")
        partition, region, account = (own[1], own[3], own[4]) if len(own) == 6 else ("aws", self.region, None)
        where = address.region or region or self.address.region or REGION
        owner = address.account or account or self.address.account or ACCOUNT
        return f"arn:{partition}:sqs:{where}:{owner}:{address.name}"

    @property
    def dead_letter_arn(self) -> str | None:
        """The ARN of the queue that rejected messages are copied to; None: to no queue."""
        if self.options.dead_letter_queue is not None:
            return self._arn_of(QueueAddress.parse(self.options.dead_letter_queue))
        policy = RedrivePolicy.read(self.attributes)
        return policy.target if policy is not None and self.options.on_reject == "dead-letter" else None


def policy_for(needs: Sequence[Needs]) -> dict[str, Any]:
    """The policy for all consumers of a process."""
    statements: list[dict[str, Any]] = []
    for each in needs:
        statements += [found for found in _statements(each) if found not in statements]
    if any(each.options.ecs_protection for each in needs):
        statements.append(_protection(needs[0]))
    return {"Version": "2012-10-17", "Statement": statements}


def _statements(needs: Needs) -> list[dict[str, Any]]:
    looked_up = () if needs.address.url else ("sqs:GetQueueUrl",)
    found = [_allow((*CONSUME, *looked_up), needs.arn), *_key(needs.attributes, needs.arn, ("kms:Decrypt",))]
    target = needs.dead_letter_arn
    if target is not None:
        by_url = needs.options.dead_letter_queue is not None and "://" in needs.options.dead_letter_queue
        found.append(_allow(("sqs:SendMessage",) if by_url else ("sqs:SendMessage", "sqs:GetQueueUrl"), target))
        found += _key(needs.dead_letters or {}, target, ("kms:GenerateDataKey", "kms:Decrypt"))
    found += [_allow(SEND, arn) for arn in needs.sender_arns]
    for schedules in needs.schedules:
        found += _scheduling(needs, schedules)
    found += _payloads(needs)
    for payloads in needs.outboxes:
        found += _writing(needs, payloads)
    if _reports_tasks(needs.options):
        # IAM knows no resource for a task token.
        found.append(_allow(("states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"), "*"))
    return found


def _scheduling(needs: Needs, schedules: Schedules) -> list[dict[str, Any]]:
    _, partition, _, region, account, _ = needs.arn.split(":")
    place = f"arn:{partition}:scheduler:{schedules.region or region}:{account}:schedule/{schedules.group}/*"
    passed = {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    return [
        _allow(("scheduler:CreateSchedule", "scheduler:DeleteSchedule"), place),
        {**_allow(("iam:PassRole",), schedules.role), "Condition": passed},
    ]


def _payloads(needs: Needs) -> list[dict[str, Any]]:
    """What payloads in S3 need. Without s3:ListBucket, S3 says of missing objects that access is denied."""
    payloads = cast("S3Payloads | None", needs.options.payloads)
    if payloads is None:
        return []
    partition = needs.arn.split(":")[1]
    reads = ("s3:GetObject", "s3:DeleteObject") if payloads.delete == "acked" else ("s3:GetObject",)
    found = []
    for bucket in sorted(payloads.buckets):
        arn = f"arn:{partition}:s3:::{bucket}"
        found += [_allow(reads, f"{arn}/*"), _allow(("s3:ListBucket",), arn)]
    if needs.sends_to:
        return [*found, *_writing(needs, payloads)]
    return [*found, *_key_of(needs, payloads)]


def _writing(needs: Needs, payloads: S3Payloads) -> list[dict[str, Any]]:
    partition = needs.arn.split(":")[1]
    puts = _allow(("s3:PutObject",), f"arn:{partition}:s3:::{payloads.bucket}/{payloads.prefix}*")
    return [puts, *_key_of(needs, payloads)]


def _key_of(needs: Needs, payloads: S3Payloads) -> list[dict[str, Any]]:
    return _key({"KmsMasterKeyId": payloads.kms_key or ""}, needs.arn, ("kms:Decrypt", "kms:GenerateDataKey"))


def _allow(actions: Sequence[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def _key(attributes: Mapping[str, str], queue: str, actions: Sequence[str]) -> list[dict[str, Any]]:
    """What a queue's key of KMS needs: its id, ARN or alias is in the attributes."""
    key = attributes.get("KmsMasterKeyId", "")
    if not key or key.endswith(MANAGED):
        return []
    _, partition, _, region, account, _ = (*queue.split(":"), *("",) * 6)[:6]
    base = f"arn:{partition or 'aws'}:kms:{region or REGION}:{account or ACCOUNT}"
    alias = key.partition(":alias/")[2] if key.startswith("arn:") else key.removeprefix("alias/")
    if ":alias/" in key or key.startswith("alias/"):  # a policy cannot name a key by its alias
        condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{alias}"}}
        return [{**_allow(actions, f"{base}:key/*"), "Condition": condition}]
    return [_allow(actions, key if key.startswith("arn:") else f"{base}:key/{key}")]


def _reports_tasks(options: Options) -> bool:
    if options.envelope is None:
        return False
    from leasekeeper.step_functions import StepFunctions

    return any(isinstance(part, StepFunctions) for part in parts_of(options.envelope))


def _protection(needs: Needs) -> dict[str, Any]:
    _, partition, _, region, account, _ = needs.arn.split(":")
    return _allow(("ecs:UpdateTaskProtection",), f"arn:{partition}:ecs:{region}:{account}:task/*")
