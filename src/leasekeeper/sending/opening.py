"""Finds the queue that a sender sends to, and what it takes.

Used once by each sender, at its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.api import MAX_BYTES
from leasekeeper.engine.opening import with_advice
from leasekeeper.errors import QueueUnusable, SqsError, Verdict
from leasekeeper.sending.outgoing import TargetQueue

if TYPE_CHECKING:
    from leasekeeper.api import SqsApi
    from leasekeeper.payloads.settings import S3Payloads
    from leasekeeper.sqs.address import QueueAddress


SENDING = "sqs:SendMessage, sqs:GetQueueAttributes and sqs:GetQueueUrl"
"""What a sender must be allowed."""


async def open_target(
    client: SqsApi, address: QueueAddress, payloads: S3Payloads | None = None
) -> tuple[str, TargetQueue]:
    """The queue's URL, and the queue as far as it matters for messages.

    Where its attributes may not be read, it is taken for a queue with the defaults of SQS.

    Raises:
        QueueUnusable: it does not exist, cannot be reached, or we may not use it.
    """
    try:
        url = address.url or await client.queue_url(address.name, account=address.account)
        attributes = await _attributes(client, url)
    except SqsError as error:
        raise QueueUnusable(f"queue {address.name} cannot be used: {with_advice(error, SENDING)}") from error
    most = attributes.get("MaximumMessageSize", "")
    target = TargetQueue(
        address.name,
        fifo=address.fifo or attributes.get("FifoQueue") == "true",
        content_based=attributes.get("ContentBasedDeduplication") == "true",
        most_bytes=min(int(most), MAX_BYTES) if most.isdecimal() else MAX_BYTES,
        payloads=payloads,
    )
    target.url = url
    return url, target


async def _attributes(client: SqsApi, url: str) -> dict[str, str]:
    try:
        return await client.queue_attributes(url, ("All",))
    except SqsError as error:
        if error.verdict is not Verdict.DENIED:
            raise
        return {}  # a sender often has sqs:SendMessage and nothing more
