"""The queues and buckets of consumers on a local SQS, created before they start: for `leasekeeper run --local`.

Owned by the command line. It promises to create nothing elsewhere than on this machine.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from leasekeeper.cli.words import listed
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.consumer import Consumer
    from leasekeeper.options import Options

log = safe_logger("leasekeeper.run")

WAIT, PAUSE = 30.0, 0.05
"""Seconds that the local SQS may take to start, and between two looks."""
HERE = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")


def check_places(consumers: Sequence[Consumer]) -> None:
    """Refuse consumers that do not consume here.

    Raises:
        ConfigurationError: a consumer has a client of its own, or consumes elsewhere.
    """
    for consumer in consumers:
        options = consumer.options
        if options.client is not None or not (options.endpoint_url or "").startswith(HERE):
            raise ConfigurationError(
                f"queue {consumer.address.name}: --local needs a consumer without an option client, on this machine"
            )


async def create_queues(consumers: Sequence[Consumer]) -> None:
    """Create the queue of each consumer, and those that it names or sends to, if they are not there.

    Raises:
        SqsError: the local SQS refuses a queue, or does not answer.
    """
    for consumer in consumers:
        options = consumer.options
        settings = ClientSettings(endpoint_url=options.endpoint_url, region=options.region, http=options.http)
        names = [consumer.address.name]
        if options.dead_letter_queue:
            names.append(QueueAddress.parse(options.dead_letter_queue).name)
        names += [QueueAddress.parse(queue).name for queue in consumer.senders.queues]
        async with await SqsClient.connect(settings) as client:
            await _until_it_answers(client)
            for name in names:
                await client.create_queue(name, attributes={"FifoQueue": "true"} if name.endswith(".fifo") else {})
        if options.payloads is not None and options.endpoint_url is not None:
            await _create_buckets(options.payloads, options)
    names = sorted({each.address.name for each in consumers})
    log.info("the local SQS has %s %s", "queue" if len(names) == 1 else "queues", listed(names))


async def _create_buckets(payloads: Any, options: Options) -> None:
    """Have payloads of this process go to the local S3, unless they have another place, and create their buckets."""
    os.environ.setdefault("AWS_ENDPOINT_URL_S3", options.endpoint_url or "")
    store: Any = await payloads.connect(region=options.region, profile=options.profile, credentials=options.credentials)
    try:
        if getattr(store, "endpoint_url", "").startswith(HERE):
            for bucket in sorted(payloads.buckets):
                await store.create(bucket)
    finally:
        if store is not payloads.client:
            await store.close()


async def _until_it_answers(client: SqsClient) -> None:
    """Wait for the server: it is started at the same time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + WAIT
    while True:
        try:
            await client.list_queues()
        except SqsError:
            if loop.time() > until:
                raise
            await asyncio.sleep(PAUSE)
        else:
            return
