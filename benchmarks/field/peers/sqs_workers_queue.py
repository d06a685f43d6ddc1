"""sqs-workers: its own loop over a queue of raw messages. One message at a time, acknowledged ten at a time.

Its `process_queues` runs this loop in a separate process for each queue; here the loop runs directly.
It sets no visibility timeout, so the queue's applies.
"""

from __future__ import annotations

from typing import Any

from asked import LONG_POLL, QUEUE, obey
from handling import handler_sync
from sqs_workers import RawQueue, SQSEnv


def run() -> None:
    queue = SQSEnv().queue(QUEUE, RawQueue)

    @queue.raw_processor()
    def process(message: Any) -> None:
        handler_sync(message.body)

    queue.process_queue(wait_second=LONG_POLL)


obey(run)
