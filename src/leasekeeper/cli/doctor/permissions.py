"""Whether the credentials allow what a consumer needs, tried with requests that SQS must refuse for another reason.

Owned by `leasekeeper doctor`. It promises to change nothing, and to call an action allowed only when the answer proves
it: an error of the network, of the credentials or of the server proves nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from leasekeeper.api import EntryFailure, Outgoing, Sent
from leasekeeper.cli.connection import with_advice
from leasekeeper.cli.doctor.facts import Finding, Level
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from leasekeeper.api import SqsApi

NO_RECEIPT = "leasekeeper-doctor-asks-whether-this-is-allowed"
"""A receipt that cannot exist."""
UNSENDABLE = Outgoing(body="leasekeeper doctor asks whether this is allowed \x01", delay=901)
"""A message that SQS refuses after it has checked the permission: no body may hold U+0001, no delay is 901 s."""
_PAST_PERMISSION = frozenset({Verdict.LEASE_LOST, Verdict.LEASE_CAPPED})
_REFUSALS = ("InvalidMessageContents", "InvalidParameterValue")


class Answer(Enum):
    """What a trial showed."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedAction:
    """An action of IAM that was tried.

    Attributes:
        action: e.g. `sqs:DeleteMessage`.
        queue: the name of the queue that it was tried on.
        arn: that queue's ARN.
        answer: what it showed.
        error: what came back, for an answer that proves nothing.
        sent: the id of the message, when the server took one that SQS refuses.
    """

    action: str
    queue: str
    arn: str
    answer: Answer
    error: str = ""
    sent: str = ""


async def try_settling(client: SqsApi, url: str, *, queue: str, arn: str) -> list[TriedAction]:
    """Try to delete and to extend a message that does not exist."""
    return [
        await _try(client.delete_batch(url, [NO_RECEIPT]), "sqs:DeleteMessage", queue, arn),
        await _try(client.change_visibility_batch(url, [(NO_RECEIPT, 0)]), "sqs:ChangeMessageVisibility", queue, arn),
    ]


async def try_sending(client: SqsApi, url: str, *, queue: str, arn: str) -> TriedAction:
    """Try to send a message that SQS must refuse."""
    return await _try(client.send_batch(url, [UNSENDABLE]), "sqs:SendMessage", queue, arn)


async def _try(
    attempt: Awaitable[Sequence[Sent | EntryFailure | None]], action: str, queue: str, arn: str
) -> TriedAction:
    try:
        (entry,) = await attempt
    except SqsError as error:
        return TriedAction(action=action, queue=queue, arn=arn, answer=judge(error), error=with_advice(error))
    if not isinstance(entry, EntryFailure):
        sent = entry.message_id if entry is not None else ""
        return TriedAction(action=action, queue=queue, arn=arn, answer=Answer.ALLOWED, sent=sent)
    return TriedAction(action=action, queue=queue, arn=arn, answer=judge(entry), error=f"{entry.code}: {entry.message}")


def judge(error: SqsError | EntryFailure) -> Answer:
    """What an error of SQS says about the permission: SQS checks that before it looks at receipts and bodies."""
    if error.verdict is Verdict.DENIED:
        return Answer.DENIED
    refused = error.verdict is Verdict.REFUSED and any(code in error.code for code in _REFUSALS)
    return Answer.ALLOWED if refused or error.verdict in _PAST_PERMISSION else Answer.UNKNOWN


def findings(trials: Sequence[TriedAction], *, used: Sequence[str]) -> list[Finding]:
    """What the trials showed.

    Args:
        trials: the actions that were tried.
        used: the actions that have succeeded before.
    """
    found = []
    for trial in trials:
        if trial.answer is Answer.DENIED:
            why = ": a rejected message cannot be copied there" if trial.action == "sqs:SendMessage" else ""
            statement = json.dumps({"Effect": "Allow", "Action": trial.action, "Resource": trial.arn})
            message = f"{trial.action} on {trial.queue} is denied{why}. Allow it to these credentials:"
            found.append(Finding(Level.FAIL, "permissions", message, (statement,)))
        elif trial.answer is Answer.UNKNOWN:
            message = f"it is not known whether {trial.action} on {trial.queue} is allowed: {trial.error}"
            found.append(Finding(Level.WARN, "permissions", message))
        elif trial.sent:
            message = f"this server accepted a message that SQS refuses; it is in {trial.queue} now: {trial.sent}"
            found.append(Finding(Level.WARN, "permissions", message))
    allowed = [*used, *(_named(trial) for trial in trials if trial.answer is Answer.ALLOWED)]
    not_tried = "sqs:ReceiveMessage was not tried: a receive counts"
    found.append(Finding(Level.OK, "permissions", f"allowed: {', '.join(allowed)}; {not_tried}"))
    return found


async def check_sending(client: SqsApi, name: str, *, arn: str) -> Finding:
    """Whether a queue that handlers send to is there and takes their messages; `arn` is that of their own queue."""
    other = QueueAddress.parse(name)
    try:
        url = other.url or await client.queue_url(other.name, account=other.account)
    except SqsError as error:
        return Finding(Level.FAIL, "sending", f"a handler sends to {other.name}: {with_advice(error)}")
    return sending(await try_sending(client, url, queue=other.name, arn=f"{arn.rpartition(':')[0]}:{other.name}"))


def sending(trial: TriedAction) -> Finding:
    """What a trial showed of a queue that handlers send to."""
    if trial.answer is Answer.DENIED:
        statement = json.dumps({"Effect": "Allow", "Action": trial.action, "Resource": trial.arn})
        message = f"a handler sends to {trial.queue}, and {trial.action} is denied. Allow it to these credentials:"
        return Finding(Level.FAIL, "sending", message, (statement,))
    if trial.answer is Answer.UNKNOWN or trial.sent:
        found = trial.error or f"this server accepted a message that SQS refuses: {trial.sent}"
        message = f"it is not known whether {trial.action} on {trial.queue} is allowed: {found}"
        return Finding(Level.WARN, "sending", message)
    return Finding(Level.OK, "sending", f"handlers may send to {trial.queue}")


def _named(trial: TriedAction) -> str:
    return f"{trial.action} on {trial.queue}" if trial.action == "sqs:SendMessage" else trial.action
