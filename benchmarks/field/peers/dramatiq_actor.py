"""dramatiq with dramatiq-sqs: its command line runs one worker process, with its default middleware.

However many threads it has, the broker holds ten messages, or up to nineteen for a moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dramatiq
from asked import CONCURRENCY, ENDPOINT, QUEUE, REGION, VISIBILITY, become, obey
from dramatiq_sqs import SQSBroker
from handling import handler_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

dramatiq.set_broker(SQSBroker(endpoint_url=ENDPOINT, region_name=REGION, visibility_timeout=VISIBILITY))


@dramatiq.actor(queue_name=QUEUE)
def handle(payload: str) -> None:
    handler_sync(payload)


def send(payloads: Iterator[str]) -> None:
    for payload in payloads:
        handle.send(payload)


def run() -> None:
    become("dramatiq", "dramatiq_actor", "--processes", "1", "--threads", str(CONCURRENCY))


if __name__ == "__main__":
    obey(run, send)
