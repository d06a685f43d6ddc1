"""What SQS says of a queue: how many messages wait in it, are in flight, delayed, or in its dead-letter queue.

Asked now and then by those that show or scale, on the engine's loop. It leaves out the dead-letter queue when that may
not be read.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from leasekeeper.engine.context import QueueContext

VISIBLE = "ApproximateNumberOfMessages"
IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
DELAYED = "ApproximateNumberOfMessagesDelayed"
LONGEST = 10.0
"""Seconds after which the queue is asked no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """Messages of a queue. SQS counts approximately, and up to a minute late."""

    visible: int
    in_flight: int
    delayed: int
    dead_letters: int | None
    """Messages in its dead-letter queue; None: it has none, or that may not be read."""


async def queue_counts(context: QueueContext) -> QueueCounts:
    """Ask SQS for the counts of a runner's queue, in two or three calls.

    Raises:
        SqsError: the attributes may not be read, or the endpoint cannot be reached.
        TimeoutError: there was no answer in time.
    """
    async with asyncio.timeout(LONGEST):
        found = await context.client.queue_attributes(
            context.source.url, (VISIBLE, IN_FLIGHT, DELAYED, "RedrivePolicy")
        )
        return QueueCounts(
            visible=_number(found.get(VISIBLE)),
            in_flight=_number(found.get(IN_FLIGHT)),
            delayed=_number(found.get(DELAYED)),
            dead_letters=await _dead_letters(context, found.get("RedrivePolicy", "")),
        )


async def _dead_letters(context: QueueContext, policy: str) -> int | None:
    """The count of the dead-letter queue that copies go to, or else of that of the redrive policy."""
    url = context.source.dead_letter_url
    try:
        if url is None:
            target = QueueAddress.parse(str(json.loads(policy or "{}")["deadLetterTargetArn"]))
            url = target.url or await context.client.queue_url(target.name, account=target.account)
        return _number((await context.client.queue_attributes(url, (VISIBLE,))).get(VISIBLE))
    except (SqsError, ConfigurationError, ValueError, LookupError, TypeError):
        return None


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
