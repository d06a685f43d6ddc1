"""The same handlers in AWS Lambda: `handler = leasekeeper.contrib.lambda_.handler(app)`.

For a function that an event source mapping of SQS invokes, with `ReportBatchItemFailures`. It promises what a consumer
promises of a message, as far as Lambda allows: decoding, envelopes, routing, middleware, injection, `Retry` and
`Reject`, batches, and the order of message groups. Lambda polls, keeps the lease and deletes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from leasekeeper.app import Leasekeeper
from leasekeeper.channel import Channel
from leasekeeper.contrib.lambda_event import answer_for, delivery_of, records_of
from leasekeeper.contrib.lambda_queue import LambdaQueue
from leasekeeper.contrib.lambda_run import Invocation
from leasekeeper.errors import ConfigurationError
from leasekeeper.lanes.parameters import NO_LIFESPAN
from leasekeeper.observe.logs import Logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.consumer import Consumer
    from leasekeeper.contrib.lambda_event import Record
    from leasekeeper.lanes.parameters import Resources

MARGIN = 1.0
"""Seconds before the end of the function's time at which handlers are cancelled."""
UNKNOWN = 30.0
"""Seconds that a message appears to have where there is no context."""


def handler(app: Leasekeeper | Consumer, *, calls_sqs: bool = True, margin: float = MARGIN) -> LambdaHandler:
    """The handler of a Lambda function, for the queues of an app or a consumer.

    Set `ReportBatchItemFailures` in the event source mapping: without it Lambda deletes messages that have failed.

    Args:
        app: an app or a consumer. The messages of an event are run by the consumer of their queue's name.
        calls_sqs: whether to do what Lambda cannot: hide a failed message for its back-off
            (sqs:ChangeMessageVisibility), and copy a rejected one to the dead-letter queue (sqs:GetQueueAttributes,
            sqs:GetQueueUrl, sqs:SendMessage). Otherwise both come again when the visibility timeout ends, until the
            redrive policy takes them.
        margin: seconds before the end of the function's time at which handlers are cancelled. What has not ended then
            comes again.

    Raises:
        ConfigurationError: the app has no consumers.
    """
    return LambdaHandler(app, calls_sqs=calls_sqs, margin=margin)


class LambdaHandler:
    """What Lambda calls; made by `handler`. Its event loop and the app's lifespan stay open between invocations."""

    def __init__(self, app: Leasekeeper | Consumer, *, calls_sqs: bool, margin: float) -> None:
        consumers = app.consumers if isinstance(app, Leasekeeper) else (app,)
        self._margin = margin
        self._queues = {consumer.address.name: _Queue(consumer, calls_sqs=calls_sqs) for consumer in consumers}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, event: Mapping[str, Any], context: Any = None) -> dict[str, list[dict[str, str]]]:
        """Run the messages of an event; the ids of those that have failed, as Lambda wants them.

        Args:
            event: of an event source mapping of SQS.
            context: Lambda's, for the time that is left; None: no limit.

        Raises:
            ConfigurationError: an event of another kind, or of a queue without a consumer. Lambda brings all of its
                messages again.
            LifespanError: the lifespan failed to open.
        """
        records = records_of(event)
        for record in records:
            if record.queue not in self._queues:
                known = ", ".join(self._queues)
                raise ConfigurationError(f"this event is of queue {record.queue}, and there are consumers of {known}")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(self._run(records, context))

    async def _run(self, records: list[Record], context: Any) -> dict[str, list[dict[str, str]]]:
        failed: dict[str, object] = {}
        names = dict.fromkeys(record.queue for record in records)
        runs = [
            self._queues[name].run([record for record in records if record.queue == name], context, self._margin)
            for name in names
        ]
        for rows in await asyncio.gather(*runs):
            failed.update((row.received.message_id, row) for row in rows)
        return answer_for(failed)

    def close(self) -> None:
        """Close the lifespan and the event loop: for tests. Lambda ends the process without a word."""
        if self._loop is not None:
            for queue in self._queues.values():
                self._loop.run_until_complete(queue.close())
            self._loop.close()
            self._loop = None

    def __repr__(self) -> str:
        return f"<LambdaHandler of {', '.join(self._queues)}>"


class _Queue:
    """A consumer as Lambda uses it."""

    def __init__(self, consumer: Consumer, *, calls_sqs: bool) -> None:
        self._consumer = consumer
        self._queue = LambdaQueue(consumer, calls_sqs=calls_sqs)
        self._threads = ThreadPoolExecutor(consumer.options.thread_count, "leasekeeper-handler")
        self._channel = Channel()
        Logs(self._channel, consumer.options.logger)
        for each in consumer.options.listeners:
            if hasattr(each, "subscribe_to"):
                each.subscribe_to(self._channel)
        for subscriber, kinds in consumer.subscriptions:
            self._channel.subscribe(subscriber, *kinds)
        self._found: Resources | None = None
        self._has_senders = False

    async def run(self, records: list[Record], context: Any, margin: float) -> list[Any]:
        """Run the handler for these messages; those that Lambda has to bring again."""
        consumer = self._consumer
        await self._open_senders()
        invocation = Invocation(
            consumer.handler.bound(await self._resources()),
            consumer.options,
            self._queue,
            self._threads,
            emit=self._channel.emit,
            name=consumer.address.name,
        )
        # Asked only now: what the first invocation opens takes some of the time.
        left = None if context is None else context.get_remaining_time_in_millis() / 1000
        rows = [delivery_of(record, UNKNOWN if left is None else left) for record in records]
        try:
            return await invocation.run(rows, None if left is None else max(0.0, left - margin))
        finally:
            await self._queue.close()

    async def _open_senders(self) -> None:
        if not self._has_senders:
            self._has_senders = True
            try:
                await self._consumer.senders.enter(self._consumer.options)
            except BaseException:
                await self._close_senders()
                raise

    async def _close_senders(self) -> None:
        if self._has_senders:
            self._has_senders = False
            await self._consumer.senders.leave()

    async def _resources(self) -> Resources:
        lifespan = self._consumer.lifespan
        if lifespan is None:
            return NO_LIFESPAN
        if self._found is None:
            try:
                self._found = await lifespan.enter(asyncio.get_running_loop())
            except BaseException:
                await lifespan.leave(self._consumer.options.lifespan_timeout)
                raise
        return self._found

    async def close(self) -> None:
        """Close the senders, and leave the lifespan."""
        self._threads.shutdown(wait=False)
        await self._close_senders()
        if self._found is not None and self._consumer.lifespan is not None:
            self._found = None
            await self._consumer.lifespan.leave(self._consumer.options.lifespan_timeout)
