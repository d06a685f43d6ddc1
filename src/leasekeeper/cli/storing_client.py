"""`leasekeeper send --payloads`: bodies that are too large for a message go to S3, and pointers to the queue."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from leasekeeper.payloads import S3Payloads
from leasekeeper.payloads.writing import OutgoingPointer, pointing, threshold
from leasekeeper.sending.opening import open_target
from leasekeeper.sizes import size_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AsyncExitStack

    from leasekeeper.api import EntryFailure, Outgoing, Sent
    from leasekeeper.cli.connection import Connection, OpenQueue
    from leasekeeper.payloads.api import ObjectStore
    from leasekeeper.sqs.client import SqsClient


class StoringClient:
    """Stores the payloads of a batch before it is sent."""

    def __init__(self, client: SqsClient, store: ObjectStore) -> None:
        self._client = client
        self._store = store

    async def send_batch(self, queue_url: str, messages: Sequence[Outgoing]) -> list[Sent | EntryFailure]:
        """As `SqsApi.send_batch`."""
        await asyncio.gather(*(each.store(self._store) for each in messages if isinstance(each, OutgoingPointer)))
        return await self._client.send_batch(queue_url, messages)


async def storing(
    stack: AsyncExitStack, queue: OpenQueue, connection: Connection, place: str, messages: Iterable[Outgoing]
) -> tuple[OpenQueue, Iterator[Outgoing]]:
    """The queue and the messages, with pointers in place of those that are too large.

    Args:
        stack: closes the connection to S3.
        queue: the queue.
        connection: how it is reached; S3 is reached in the same region, with the same credentials.
        place: `s3://bucket` or `s3://bucket/folder`.
        messages: to send.

    Raises:
        ConfigurationError: the place is malformed, or a message has too many attributes.
        NotFound: the bucket does not exist.
        PayloadUnavailable: S3 does not answer, or a payload cannot be stored.
    """
    payloads = S3Payloads.from_url(place)
    settings = connection.settings()
    _, target = await open_target(queue.client, queue.address, payloads)
    store = await payloads.connect(
        region=settings.region or queue.address.region, profile=settings.profile, credentials=settings.credentials
    )
    stack.push_async_callback(store.close)
    await payloads.check(store, now=True)  # before anything is sent: a place that is given has to work
    limit = threshold(payloads, target.most_bytes)

    def made() -> Iterator[Outgoing]:
        for message in messages:
            large = size_of(message.body, message.attributes) > limit
            yield pointing(message, payloads, queue.name) if large else message

    return replace(queue, client=cast("SqsClient", StoringClient(queue.client, store))), made()
