"""sqs-workers: its own loop over a queue of raw messages. One message at a time, acknowledged by tens.

Its `process_queues` runs this loop once a queue in a process of its own; here it runs without that process in between.
It asks SQS for no visibility timeout: the queue's holds.
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
