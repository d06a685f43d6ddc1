"""The operations on queues: create, find, list, describe, change, tag, purge and delete them.

Each function is one API operation: `(account, request, now) -> answer`, raising `Refusal`. They promise the defaults,
names and order of checks of AWS, as far as these are recorded.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from leasekeeper.local.model import fields, refusals, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.local.model.account import AccountState
    from leasekeeper.local.model.fields import Request
    from leasekeeper.local.model.queue import Queue

_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo|[A-Za-z0-9_-]{1,80}")
MOST_TAGS = 50
PAGE = 1_000


def create_queue(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """CreateQueue: a new queue, or the existing one when no given attribute differs."""
    name = fields.text(request, "QueueName")
    given = fields.texts(request, "Attributes")
    tags = fields.texts(request, "tags")
    fifo = _check_queue_name(name, given)
    existing = account.queues.get(name)
    if existing is not None:
        wanted = settings.changed(existing.settings, given)
        for attribute in given:
            if wanted.shown.get(attribute) != existing.settings.shown.get(attribute):
                raise refusals.queue_exists(
                    f"A queue already exists with the same name and a different value for attribute {attribute}"
                )
        return {"QueueUrl": account.url(existing)}
    if now - account.deleted.get(name, -account.name_cooldown) < account.name_cooldown:
        raise refusals.queue_deleted_recently(
            f"You must wait {account.name_cooldown:g} seconds after deleting a queue before you can create another "
            "with the same name."
        )
    _check_tags(tags)
    initial = settings.initial(given, fifo=fifo)
    _check_dead_letter_queue(account, account.arn(name), initial)
    queue = account.new_queue(name, initial, now)
    queue.tags.update(tags)
    return {"QueueUrl": account.url(queue)}


def delete_queue(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """DeleteQueue: the queue and its messages."""
    queue = account.queue(request, now)
    del account.queues[queue.name]
    if account.name_cooldown:
        account.deleted[queue.name] = now
    account.readable.add(queue)  # wake the receives that wait, so that they find it deleted
    return {}


def get_queue_url(account: AccountState, request: Request, _now: float) -> dict[str, Any]:
    """GetQueueUrl: the URL of a queue, by its name."""
    queue = account.queues.get(fields.text(request, "QueueName"))
    owner = fields.optional_text(request, "QueueOwnerAWSAccountId")
    if queue is None or owner not in (None, account.account_id):
        raise refusals.no_such_queue()
    return {"QueueUrl": account.url(queue)}


def list_queues(account: AccountState, request: Request, _now: float) -> dict[str, Any]:
    """ListQueues: the URLs of the queues with a prefix in their names, by name."""
    prefix = fields.optional_text(request, "QueueNamePrefix") or ""
    found = [queue for name, queue in sorted(account.queues.items()) if name.startswith(prefix)]
    return _page(account, request, found, "QueueUrls")


def list_dead_letter_source_queues(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """ListDeadLetterSourceQueues: the URLs of the queues that have this one as dead-letter queue, by name."""
    target = account.queue(request, now).arn
    sources = [queue for _, queue in sorted(account.queues.items()) if _target(queue) == target]
    return _page(account, request, sources, "queueUrls")


def get_queue_attributes(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """GetQueueAttributes: the requested attributes that the queue has."""
    queue = account.queue(request, now)
    names = fields.names(request, "AttributeNames")
    for name in names:
        if name not in settings.KNOWN:
            raise refusals.bad_attribute_name(f"Unknown Attribute {name}.")
    if not names:
        return {}
    attributes = {
        "QueueArn": queue.arn,
        "ApproximateNumberOfMessages": str(queue.visible),
        "ApproximateNumberOfMessagesNotVisible": str(queue.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
        "CreatedTimestamp": str(int(queue.created + account.epoch)),
        "LastModifiedTimestamp": str(int(queue.modified + account.epoch)),
        **queue.settings.shown,
    }
    if "All" not in names:
        attributes = {name: attributes[name] for name in names if name in attributes}
    return {"Attributes": attributes} if attributes else {}


def set_queue_attributes(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """SetQueueAttributes: takes effect at once (AWS: within a minute; retention within fifteen)."""
    queue = account.queue(request, now)
    given = fields.texts(request, "Attributes")
    if not given:
        raise refusals.missing("Attributes")
    changed = settings.changed(queue.settings, given)
    if "RedrivePolicy" in given:
        _check_dead_letter_queue(account, queue.arn, changed)
    queue.configure(changed, now)
    return {}


def purge_queue(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """PurgeQueue: delete all messages, also those in flight; once a minute at most."""
    account.queue(request, now).purge(now)
    return {}


def tag_queue(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """TagQueue: set tags, and replace those with the same key."""
    queue = account.queue(request, now)
    tags = fields.texts(request, "Tags")
    if not tags:
        raise refusals.missing("Tags")
    _check_tags({**queue.tags, **tags})
    queue.tags.update(tags)
    return {}


def untag_queue(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """UntagQueue: remove tags. A tag that does not exist is no error."""
    queue = account.queue(request, now)
    keys = fields.names(request, "TagKeys")
    if not keys:
        raise refusals.missing("TagKeys")
    for key in keys:
        queue.tags.pop(key, None)
    return {}


def list_queue_tags(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """ListQueueTags: the tags of the queue; an empty answer when there are none."""
    tags = account.queue(request, now).tags
    return {"Tags": dict(tags)} if tags else {}


def add_permission(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """AddPermission: add a statement to the policy of the queue. The policy is not enforced."""
    queue = account.queue(request, now)
    label = fields.text(request, "Label")
    policy = _policy(queue)
    if any(statement.get("Sid") == label for statement in policy["Statement"]):
        raise refusals.bad_parameter(f"Value {label} for parameter Label is invalid. Reason: Already exists.")
    accounts = [f"arn:aws:iam::{number}:root" for number in fields.names(request, "AWSAccountIds")]
    actions = [f"SQS:{action}" for action in fields.names(request, "Actions")]
    if not accounts or not actions:
        raise refusals.missing("Actions" if accounts else "AWSAccountIds")
    policy["Statement"].append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_many(accounts)},
            "Action": _one_or_many(actions),
            "Resource": queue.arn,
        }
    )
    queue.configure(settings.changed(queue.settings, {"Policy": json.dumps(policy)}), now)
    return {}


def remove_permission(account: AccountState, request: Request, now: float) -> dict[str, Any]:
    """RemovePermission: remove the statement with that label from the policy of the queue."""
    queue = account.queue(request, now)
    label = fields.text(request, "Label")
    policy = _policy(queue)
    kept = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
    if len(kept) == len(policy["Statement"]):
        raise refusals.bad_parameter(f"Value {label} for parameter Label is invalid. Reason: can't find label.")
    shown = json.dumps({**policy, "Statement": kept}) if kept else ""
    queue.configure(settings.changed(queue.settings, {"Policy": shown}), now)
    return {}


def _policy(queue: Queue) -> dict[str, Any]:
    shown = queue.settings.shown.get("Policy")
    policy: dict[str, Any] = (
        json.loads(shown) if shown else {"Version": "2008-10-17", "Id": f"{queue.arn}/SQSDefaultPolicy"}
    )
    policy.setdefault("Statement", [])
    return policy


def _one_or_many(values: list[str]) -> str | list[str]:
    """A policy has a single value as text (recorded from AWS)."""
    return values[0] if len(values) == 1 else values


def _check_queue_name(name: str, given: dict[str, str]) -> bool:
    if not _NAME.fullmatch(name):
        raise refusals.bad_parameter(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        )
    fifo = name.endswith(".fifo")
    if fifo != (given.get("FifoQueue", "").lower() == "true"):
        if "FifoQueue" in given and not fifo and given["FifoQueue"].lower() == "false":
            raise refusals.bad_attribute_name("Unknown Attribute FifoQueue.")
        raise refusals.bad_parameter(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with "
            ".fifo suffix and be 1 to 80 in length."
        )
    return fifo


def _check_tags(tags: dict[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        raise refusals.bad_parameter(f"Too many tags added for queue: {len(tags)}, at most {MOST_TAGS} are allowed.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise refusals.bad_parameter(f"Tag {key} is invalid: a key has 1 to 128 characters, a value at most 256.")


def _check_dead_letter_queue(account: AccountState, source: str, wanted: settings.QueueSettings) -> None:
    if wanted.redrive is None or wanted.redrive.target == source:
        return  # as on AWS, a queue may be its own dead-letter queue
    target = account.by_arn(wanted.redrive.target)
    policy = f"Value {wanted.shown['RedrivePolicy']} for parameter RedrivePolicy is invalid. Reason: "
    if target is None:
        raise refusals.bad_parameter(policy + "Dead letter target does not exist.")
    if target.settings.fifo != wanted.fifo:
        raise refusals.bad_parameter(policy + "Dead letter queue must be same type of queue as the source.")
    if not settings.allows_source(target.settings, source):
        raise refusals.bad_parameter(policy + "The dead letter queue's RedriveAllowPolicy does not allow this queue.")


def _target(queue: Queue) -> str | None:
    return queue.settings.redrive.target if queue.settings.redrive else None


def _page(account: AccountState, request: Request, queues: Sequence[Queue], member: str) -> dict[str, Any]:
    size = fields.integer(request, "MaxResults", 1, PAGE)
    after = _read_token(request)
    left = [queue for queue in queues if queue.name > after]
    page = left[: size or PAGE]
    answer: dict[str, Any] = {member: [account.url(queue) for queue in page]} if page else {}
    if size is not None and len(left) > size:
        answer["NextToken"] = base64.b64encode(page[-1].name.encode()).decode()
    return answer


def _read_token(request: Request) -> str:
    token = fields.optional_text(request, "NextToken")
    if not token:
        return ""
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError as error:
        raise refusals.bad_parameter("Invalid or expired next token.") from error


OPERATIONS = {
    "AddPermission": add_permission,
    "CreateQueue": create_queue,
    "DeleteQueue": delete_queue,
    "GetQueueAttributes": get_queue_attributes,
    "GetQueueUrl": get_queue_url,
    "ListDeadLetterSourceQueues": list_dead_letter_source_queues,
    "ListQueueTags": list_queue_tags,
    "ListQueues": list_queues,
    "PurgeQueue": purge_queue,
    "RemovePermission": remove_permission,
    "SetQueueAttributes": set_queue_attributes,
    "TagQueue": tag_queue,
    "UntagQueue": untag_queue,
}
