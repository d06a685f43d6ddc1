"""Dead letters across processes: killed between the copy and the delete, a consumer loses nothing."""

from __future__ import annotations

import json
import signal
from typing import Any

Bench = Any  # of conftest.py, which tests cannot import

CODE = """
    from leasekeeper import Consumer

    def ship(body: str) -> None:
        raise ValueError("no stock")

    Consumer("orders", ship, max_attempts=1, visibility_timeout=1, poll_grace=0.1).run()
"""


def test_a_process_killed_between_copy_and_delete_makes_one_duplicate_and_loses_nothing(shop: Bench) -> None:
    """L30: the copy is confirmed before the delete, so a crash between them is a copy more."""
    dead = shop.queue("orders-dead")
    arn = shop.boto.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 99})
    orders = shop.queue("orders", RedrivePolicy=policy)
    shop.fill(orders, 1)
    shop.module("program", CODE)
    shop.sqs.faults.set("DeleteMessageBatch", unavailable=1.0)
    first = shop.script("program")
    shop.until(lambda: shop.counts(dead) == (1, 0), "the copy is in the dead-letter queue")
    first.signal(signal.SIGKILL)
    first.end()
    assert sum(shop.counts(orders)) == 1
    shop.sqs.faults.clear()
    second = shop.script("program")
    shop.until(lambda: shop.counts(orders) == (0, 0), "the message is deleted after its second copy")
    second.signal(signal.SIGTERM)
    assert second.end() == 0, second.err
    assert shop.bodies(dead) == ["m0", "m0"]
