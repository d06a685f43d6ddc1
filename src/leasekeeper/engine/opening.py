"""Opening a queue: find its URL, read its attributes, and refuse at the start what could not work (L18).

Used once by each start, before the runner is made. It promises an error that names the queue, the reason and what to do
when a queue is missing, denied or of a kind we cannot consume, whether it was given by name, URL or ARN.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from leasekeeper.core.attempts import MORE_RECEIVES
from leasekeeper.engine.context import SourceQueue
from leasekeeper.engine.dead_letter_address import Source, find_dead_letters
from leasekeeper.engine.key_retention import check_keep
from leasekeeper.errors import ConfigurationError, QueueUnusable, SqsError, Verdict
from leasekeeper.loggers import safe_logger
from leasekeeper.option_rules import refuse_for_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import SqsApi
    from leasekeeper.options import Options
    from leasekeeper.sqs.address import QueueAddress

CONSUMING = (
    "sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:GetQueueAttributes and sqs:GetQueueUrl"
)
"""What a consumer must be allowed."""
_ADVICE = {
    Verdict.MISSING: "create it, or check name, account and region",
    Verdict.DENIED: "allow %s to these credentials, and check that they belong to the right account",
    Verdict.CREDENTIALS: "check that the credentials are valid and not expired",
    Verdict.UNAVAILABLE: "check the endpoint, the network and the region",
    Verdict.THROTTLED: "too many calls are made with these credentials; start again in a moment",
}
NO_RECEIPT = "leasekeeper-asks-whether-it-may-delete"
"""A receipt that cannot exist: SQS checks the permission before it looks at receipts."""
AGAIN = 0.5
"""Seconds between tries while `wait_for_endpoint` waits."""


def with_advice(error: SqsError, allow: str) -> str:
    """The error and what to do about it, in one sentence.

    Args:
        error: what SQS or the network answered.
        allow: the permissions that are needed.
    """
    advice = None if error.advised else _ADVICE.get(error.verdict)
    return str(error).rstrip(".") + ("" if advice is None else f"; {advice.replace('%s', allow)}")


async def open_queue(client: SqsApi, address: QueueAddress, options: Options) -> SourceQueue:
    """The queue to work on; an endpoint that is not up yet is waited for, as `wait_for_endpoint` says.

    Raises:
        QueueUnusable: it does not exist, cannot be reached, or we may not use it.
        ConfigurationError: it is of a kind that cannot be consumed with these options.
    """
    loop = asyncio.get_running_loop()
    began, waited = loop.time(), False
    while True:
        try:
            opened = await _open(client, address, options)
        except SqsError as error:
            left = began + options.wait_for_endpoint - loop.time()
            if error.verdict is not Verdict.UNAVAILABLE or left <= 0:
                raise _unusable(address, error, options) from error
            if not waited:
                safe_logger(options.logger).warning("queue %s: the endpoint is not up yet (%s)", address.name, error)
            waited = True
            safe_logger(options.logger).warning(
                "queue %s: waiting for the endpoint, up to %.1f s more", address.name, left
            )
            await asyncio.sleep(min(AGAIN, left))
        else:
            if waited:
                seconds = loop.time() - began
                safe_logger(options.logger).warning("queue %s: the endpoint is up after %.1f s", address.name, seconds)
            _check_fifo(opened, options)
            _check_attempts(opened, options)
            return opened


def _unusable(address: QueueAddress, error: SqsError, options: Options) -> QueueUnusable:
    sentence = f"queue {address.name} cannot be used: {with_advice(error, CONSUMING)}"
    if error.verdict is Verdict.UNAVAILABLE and not options.wait_for_endpoint:
        sentence = f"{sentence}; to wait for an endpoint that is still starting, set wait_for_endpoint"
    return QueueUnusable(sentence)


async def _open(client: SqsApi, address: QueueAddress, options: Options) -> SourceQueue:
    url = address.url or await client.queue_url(address.name, account=address.account)
    source = Source(address=address, url=url, attributes=await _attributes(client, url, options))
    dead_letter_url = await find_dead_letters(client, source, options)
    await check_keep(client, address.name, source.attributes, dead_letter_url, options)
    return SourceQueue(
        name=address.name,
        url=url,
        arn=source.attributes.get("QueueArn", ""),
        dead_letter_url=dead_letter_url,
        max_receives=_max_receives(source.attributes),
        fifo=address.fifo or source.attributes.get("FifoQueue") == "true",
    )


async def _attributes(client: SqsApi, url: str, options: Options) -> dict[str, str]:
    """The queue's attributes; none when only these are denied, which is common across accounts."""
    try:
        return await client.queue_attributes(url)
    except SqsError as error:
        if error.verdict is not Verdict.DENIED:
            raise
        await _check_that_deletes_are_allowed(client, url)
        safe_logger(options.logger).warning(
            "the attributes of %s may not be read (%s); rejected messages have no dead-letter queue unless "
            "dead_letter_queue names one",
            url,
            error,
        )
        return {}


async def _check_that_deletes_are_allowed(client: SqsApi, url: str) -> None:
    """Raise what SQS says if everything is denied: a queue given by name fails earlier, at the look for its URL."""
    (answer,) = await client.delete_batch(url, [NO_RECEIPT])
    if answer is not None and answer.verdict is Verdict.DENIED:
        raise SqsError(answer.verdict, answer.code, answer.message, operation="DeleteMessageBatch")


def _check_fifo(source: SourceQueue, options: Options) -> None:
    """Refuse a halt that cannot be kept: a standard queue has no order, and a redrive policy would move the message."""
    refuse_for_kind(options, source.name, fifo=source.fifo)
    if source.fifo and options.on_exhausted == "halt" and source.max_receives is not None:
        raise ConfigurationError(
            f"on_exhausted='halt' with queue {source.name}: its redrive policy moves a message to the dead-letter "
            f"queue after {source.max_receives} receives, so its group would not stay halted. Remove the redrive "
            "policy, or use on_exhausted='dead-letter'"
        )


def _check_attempts(source: SourceQueue, options: Options) -> None:
    """Warn of attempts that the redrive policy does not allow: SQS moves the message before them."""
    attempts, receives = options.max_attempts or 0, source.max_receives
    if receives is not None and attempts > receives:
        safe_logger(options.logger).warning(
            "queue %s: max_attempts=%d is never reached: SQS moves a message to the dead-letter queue after %d "
            "receives; set maxReceiveCount of the redrive policy to %d or more, or max_attempts to less",
            source.name,
            attempts,
            receives,
            attempts + MORE_RECEIVES,
        )


def _max_receives(attributes: Mapping[str, str]) -> int | None:
    """The redrive policy's `maxReceiveCount`; None without one, or in the spelling of some other server."""
    try:
        return int(json.loads(attributes.get("RedrivePolicy") or "{}")["maxReceiveCount"])
    except (ValueError, TypeError, LookupError):
        return None
