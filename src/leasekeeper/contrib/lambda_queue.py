"""What Lambda cannot do for a message: hide it for a back-off, and copy it to the dead-letter queue.

Used by `leasekeeper.contrib.lambda_`. A queue that is never needed is never opened. What SQS refuses is logged once an
invocation, and left to Lambda: the message comes again when the visibility timeout ends.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from leasekeeper.api import EntryFailure
from leasekeeper.engine.dead_letters import copy_of, failure_of
from leasekeeper.engine.opening import open_queue
from leasekeeper.errors import LeasekeeperError, SqsError, Verdict
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from leasekeeper.api import SqsApi
    from leasekeeper.consumer import Consumer
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import SourceQueue
    from leasekeeper.outcomes import Outcome

CANNOT = (
    "queue %s: %s is left to Lambda and the queue's redrive policy (%s). Allow sqs:ChangeMessageVisibility on the "
    "queue and sqs:SendMessage on its dead-letter queue to the function's role, or give handler(app, calls_sqs=False)"
)


class LambdaQueue:
    """The queue of one consumer, for the calls that the function makes itself."""

    def __init__(self, consumer: Consumer, *, calls_sqs: bool) -> None:
        self._consumer = consumer
        self._name = consumer.address.name
        self._log = safe_logger(consumer.options.logger)
        self._client = consumer.options.client
        self._source: SourceQueue | None = None
        self._usable = calls_sqs
        self._paused = False
        """Whether a call has failed in this invocation: then no more are made."""
        self._opening = asyncio.Lock()

    async def _opened(self, what: str) -> tuple[SqsApi, SourceQueue] | None:
        async with self._opening:
            if not self._usable or self._paused:
                return None
            try:
                if self._client is None:
                    self._client = await SqsClient.connect(self._settings())
                if self._source is None:
                    self._source = await open_queue(self._client, self._consumer.address, self._consumer.options)
            except LeasekeeperError as error:
                self._give_up(what, error)
                return None
            return self._client, self._source

    async def close(self) -> None:
        """Close the connections: they would not outlive the time for which Lambda freezes the process."""
        self._paused = False
        client, self._client = self._client, self._consumer.options.client
        if client is not None and client is not self._client:
            await client.close()

    def _settings(self) -> ClientSettings:
        options = self._consumer.options
        return ClientSettings(
            region=options.region,
            endpoint_url=options.endpoint_url,
            profile=options.profile,
            credentials=options.credentials,
            queue=self._consumer.address,
            http=options.http,
        )

    def _give_up(self, what: str, error: object) -> None:
        if self._paused:  # said already
            return
        self._paused = True
        if isinstance(error, SqsError) and error.verdict is Verdict.DENIED:
            self._usable = False
        self._log.warning(CANNOT, self._name, what, error)

    async def hide(self, row: Delivery, seconds: float) -> None:
        """Let the message come again after that many seconds."""
        opened = await self._opened("the back-off of failed messages")
        if opened is None:
            return
        client, source = opened
        try:
            [refused] = await client.change_visibility_batch(source.url, [(row.receipt, round(seconds))])
        except LeasekeeperError as error:
            self._give_up("the back-off of failed messages", error)
            return
        if refused is not None:
            self._log.warning("queue %s: message %s could not be hidden (%s)", self._name, _id(row), refused.message)

    async def copy(self, row: Delivery, outcome: Outcome, reason: str) -> bool:
        """Copy the message to the dead-letter queue. False: there is none, or the copy failed."""
        opened = await self._opened("what is rejected")
        if opened is None or opened[1].dead_letter_url is None:
            return False
        client, source = opened
        row.failure = failure_of(row, outcome, source, reason=reason, at=time.time())
        try:
            [sent] = await client.send_batch(str(source.dead_letter_url), [copy_of(row)[0]])
        except LeasekeeperError as error:
            self._give_up("what is rejected", error)
            return False
        if isinstance(sent, EntryFailure):
            self._log.warning("queue %s: message %s could not be copied (%s)", self._name, _id(row), sent.message)
            return False
        return True


def _id(row: Delivery) -> str:
    return row.received.message_id
