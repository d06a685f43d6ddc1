"""Opening a queue: find its URL, look at its attributes, and refuse at the start what could not work (L18).

Used once by a consumer before its runner is made. It promises that a queue that is missing, denied or of a kind we
cannot consume is said at the start, with what to do about it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from leasekeeper.engine.context import SourceQueue
from leasekeeper.errors import ConfigurationError, QueueUnusable, SqsError, Verdict
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from leasekeeper.api import SqsApi
    from leasekeeper.options import Options

ADVICE = {
    Verdict.MISSING: "create it, or check name, account and region",
    Verdict.DENIED: (
        "allow sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:GetQueueAttributes and "
        "sqs:GetQueueUrl to these credentials, and check that they belong to the right account"
    ),
    Verdict.CREDENTIALS: "check that the credentials are valid and not expired",
    Verdict.UNAVAILABLE: "check the endpoint, the network and the region",
    Verdict.THROTTLED: "too many calls are made with these credentials; start again in a moment",
}


async def open_queue(client: SqsApi, address: QueueAddress, options: Options) -> SourceQueue:
    """The queue to work on.

    Raises:
        QueueUnusable: it does not exist, cannot be reached, or we may not use it.
        ConfigurationError: it is of a kind that cannot be consumed with these options.
    """
    if address.fifo:
        raise ConfigurationError(
            f"queue {address.name} is a FIFO queue: consuming it in order is not supported yet, and out of order would "
            "break its promise; use a standard queue"
        )
    try:
        url = address.url or await client.queue_url(address.name, account=address.account)
        attributes = await _attributes(client, url, options)
        return SourceQueue(name=address.name, url=url, dead_letter_url=await _dead_letters(client, attributes, options))
    except SqsError as error:
        advice = ADVICE.get(error.verdict)
        raise QueueUnusable(
            f"queue {address.name} cannot be used: {str(error).rstrip('.')}" + (f"; {advice}" if advice else "")
        ) from error


async def _attributes(client: SqsApi, url: str, options: Options) -> dict[str, str]:
    """The queue's attributes; nothing when only these are denied, which is common across accounts."""
    try:
        return await client.queue_attributes(url)
    except SqsError as error:
        if error.verdict is not Verdict.DENIED:
            raise
        options.logger.warning(
            "the attributes of %s may not be read (%s); rejected messages have no dead-letter queue unless "
            "dead_letter_queue says one",
            url,
            error,
        )
        return {}


async def _dead_letters(client: SqsApi, attributes: dict[str, str], options: Options) -> str | None:
    """The URL of the queue that rejected messages are copied to."""
    reference = options.dead_letter_queue
    if reference is None and options.on_reject == "dead-letter":
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        reference = policy.get("deadLetterTargetArn")
    if not reference:
        return None
    address = QueueAddress.parse(reference)
    if address.url:
        return address.url
    try:
        return await client.queue_url(address.name, account=address.account)
    except SqsError as error:
        if options.dead_letter_queue is not None:
            raise
        options.logger.warning(
            "the dead-letter queue %s cannot be found (%s); rejected messages are left to the redrive policy",
            reference,
            error,
        )
        return None
