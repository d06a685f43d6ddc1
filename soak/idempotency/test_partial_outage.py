"""A Redis that refuses a part of all keys: a real one, where an ACL stands for shards that are down."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import redis
from store_servers import redis_server

from leasekeeper import Leasekeeper
from leasekeeper.api import Outgoing
from leasekeeper.idempotency import Idempotency, RedisStore
from leasekeeper.idempotency.keys import digest
from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

log = logging.getLogger("leasekeeper.soak")

MESSAGES = 200
BAD = {number for number in range(MESSAGES) if digest(number)[-1] in "0123"}
PATIENCE = 120.0
"""Seconds: the machine may be busy."""


def test_messages_with_keys_of_healthy_shards_do_not_wait_for_the_others() -> None:
    """Keys that end in 0 to 3, a quarter of all, are refused. Then all of them are allowed again, and run soon."""

    async def story(address: str) -> None:
        admin: Any = redis.Redis.from_url(address)
        admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "+@all", "~*")
        store = RedisStore.from_url(address.replace("redis://", "redis://app:secret@"))
        done: set[int] = set()
        healthy, all_of_them = asyncio.Event(), asyncio.Event()
        with LocalSqs() as sqs:
            app = Leasekeeper(
                idempotency=Idempotency(store, key="id"),
                concurrency=10,
                poll_grace=0.1,
                endpoint_url=sqs.endpoint_url,
                region="eu-west-1",
            )

            @app.consumer("orders")
            async def handle(body: dict[str, int]) -> None:
                done.add(body["id"])
                if len(done) == MESSAGES - len(BAD):
                    healthy.set()
                if len(done) == MESSAGES:
                    all_of_them.set()
                await asyncio.sleep(0.05)

            settings = ClientSettings(endpoint_url=sqs.endpoint_url, region="eu-west-1")
            async with await SqsClient.connect(settings) as producer, asyncio.timeout(PATIENCE):
                queue = await producer.create_queue("orders")
                async with app:
                    admin.execute_command("ACL", "SETUSER", "app", "resetkeys", "~*[4-9a-f]")
                    began = time.monotonic()
                    for start in range(0, MESSAGES, 10):
                        bodies = [Outgoing(body=json.dumps({"id": number})) for number in range(start, start + 10)]
                        await producer.send_batch(queue, bodies)
                    await healthy.wait()
                    assert not BAD & done
                    back = time.monotonic()
                    admin.execute_command("ACL", "SETUSER", "app", "~*")
                    await all_of_them.wait()
                    rest = time.monotonic() - back
                    log.info("healthy after %.1f s, the others %.1f s after the end", back - began, rest)
                    [statistics] = app.statistics()
                    assert statistics.ledger.received == MESSAGES

    with redis_server() as address:
        asyncio.run(story(address))
