"""Finding the queue that rejected messages are copied to, before the first message is received.

Used by `open_queue`. It promises that a `dead_letter_queue` which cannot work is refused with its own name in the
error, and that a redrive policy which cannot be followed is a warning: rejected messages are then left to SQS.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError, QueueUnusable, SqsError, Verdict
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import SqsApi
    from leasekeeper.options import Options

ADVICE = {
    Verdict.MISSING: "create it, or check its name, account and region",
    Verdict.DENIED: "allow sqs:GetQueueUrl on it, or give its URL; copying to it needs sqs:SendMessage",
}
TRANSIENT = frozenset((Verdict.UNAVAILABLE, Verdict.THROTTLED, Verdict.CREDENTIALS))
"""Verdicts that say nothing about the dead-letter queue: the start fails with them, as for the queue itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The queue that is consumed.

    Attributes:
        attributes: as SQS has them; none if they may not be read.
    """

    address: QueueAddress
    url: str
    attributes: Mapping[str, str]

    @property
    def arn(self) -> str:
        """Its ARN; empty if it is not known."""
        return self.attributes.get("QueueArn", "")

    def region(self, options: Options) -> str | None:
        """Its region, as far as it is known."""
        with suppress(ConfigurationError):
            return QueueAddress.parse(self.arn).region
        return self.address.region or options.region


async def find_dead_letters(client: SqsApi, source: Source, options: Options) -> str | None:
    """The URL of the queue that rejected messages are copied to; None: they are left to the redrive policy.

    Raises:
        ConfigurationError: `dead_letter_queue` names a queue that cannot be the dead-letter queue of this one.
        QueueUnusable: `dead_letter_queue` names a queue that does not exist, or that we may not look for.
        SqsError: the endpoint could not be reached, or SQS is throttling.
    """
    if options.dead_letter_queue is not None:
        return await _named(client, source, options, options.dead_letter_queue)
    policy = source.attributes.get("RedrivePolicy")
    if options.on_reject != "dead-letter" or not policy:
        return None
    try:
        reference = str(json.loads(policy)["deadLetterTargetArn"])
        return await _url(client, source, options, QueueAddress.parse(reference))
    except SqsError as error:
        if error.verdict in TRANSIENT:
            raise
        reason: Exception = error
    except (ValueError, TypeError, KeyError, ConfigurationError) as error:
        reason = error
    safe_logger(options.logger).warning(
        "queue %s: rejected messages are left to the redrive policy, because its dead-letter queue cannot be used "
        "(%s); set dead_letter_queue to have them copied with the reason",
        source.address.name,
        reason,
    )
    return None


async def _named(client: SqsApi, source: Source, options: Options, reference: str) -> str:
    what = f"dead_letter_queue={reference!r} of queue {source.address.name}"
    try:
        return await _url(client, source, options, QueueAddress.parse(reference))
    except ConfigurationError as error:
        raise ConfigurationError(f"{what} cannot be used: {error}") from error
    except SqsError as error:
        if error.verdict in TRANSIENT:
            raise
        advice = ADVICE.get(error.verdict)
        raise QueueUnusable(
            f"{what} cannot be used: {str(error).rstrip('.')}" + (f"; {advice}" if advice else "")
        ) from error


async def _url(client: SqsApi, source: Source, options: Options, address: QueueAddress) -> str:
    if address.fifo is not source.address.fifo:
        kinds = ("a FIFO queue", "a standard queue")
        theirs, ours = kinds if address.fifo else kinds[::-1]
        raise ConfigurationError(
            f"it is {theirs}, and {source.address.name} is {ours}; SQS wants both to be of one kind. Name {ours}"
        )
    region = source.region(options)
    if address.region and region and address.region != region:
        raise ConfigurationError(
            f"it is in {address.region}, and {source.address.name} is in {region}; both must be in one region"
        )
    url = address.url or await client.queue_url(address.name, account=address.account)
    if address.url:
        await _check_that_it_exists(client, url)
    if _same(source, address, url):
        raise ConfigurationError("it is the queue itself: rejected messages would come again at once; name another")
    return url


async def _check_that_it_exists(client: SqsApi, url: str) -> None:
    try:
        await client.queue_attributes(url, ("QueueArn",))
    except SqsError as error:
        if error.verdict is not Verdict.DENIED:  # a role that may only send to it is enough
            raise


def _same(source: Source, address: QueueAddress, url: str) -> bool:
    if url == source.url:
        return True
    with suppress(ConfigurationError):  # URLs of servers that are not AWS's take many forms
        theirs, ours = QueueAddress.parse(url), QueueAddress.parse(source.url)
        return address.name == ours.name and (theirs.account, theirs.region) == (ours.account, ours.region)
    return False
