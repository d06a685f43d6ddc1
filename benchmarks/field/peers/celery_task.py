"""Celery on SQS: its worker with a pool of threads, acknowledging late, so that a crash loses nothing.

It sets no visibility timeout, so the queue's applies, and nothing extends it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asked import CONCURRENCY, LONG_POLL, QUEUE, QUEUE_URL, REGION, become, obey
from celery import Celery
from handling import handler_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {"access_key_id": os.environ["AWS_ACCESS_KEY_ID"], "secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"]}
POLLING_INTERVAL = 0.1
"""Seconds it waits after an empty receive or when it is full; at the default of 1 it often has nothing to do."""

app = Celery("celery_task", broker="sqs://")
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "region": REGION,
        "is_secure": False,
        "wait_time_seconds": LONG_POLL,
        "polling_interval": POLLING_INTERVAL,
        "predefined_queues": {QUEUE: {"url": QUEUE_URL, **KEYS}},
    },
)


@app.task(name="handle")
def handle(payload: str) -> None:
    handler_sync(payload)


def send(payloads: Iterator[str]) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        for payload in payloads:
            handle.apply_async((payload,), producer=producer)


def run() -> None:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    become("celery", "-A", "celery_task", "worker", "--pool", "threads", "--concurrency", str(CONCURRENCY), *quiet)


if __name__ == "__main__":
    obey(run, send)
