"""A Redis of which a part refuses its keys, or does not answer for them: a real one.

An ACL stands for shards that are down, and a proxy for shards that hang.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
from store_servers import redis_server

from leasekeeper import Leasekeeper
from leasekeeper.api import Outgoing
from leasekeeper.idempotency import Idempotency, RedisStore
from leasekeeper.idempotency.keys import digest
from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("leasekeeper.soak")

SECONDS = 0.05
"""Of a handler."""
PATIENCE = 120.0
"""Seconds: the machine may be busy."""
NEARLY = 0.95
"""The part of the healthy messages that has to be done: on a busy machine a claim is cut short now and then."""
MOST = 75.0
"""Seconds for that at most. When claims that hang hold handlers, it takes longer, also on an idle machine."""
SWALLOWED = re.compile(rb"\r\nleasekeeper:[^\r]*[0-3]\r\n")
"""A command with a key that ends in 0 to 3."""


def is_bad(number: int) -> bool:
    """Whether the key of a message ends in 0 to 3: a quarter of all do."""
    return digest(number)[-1] in "0123"


async def _handle_all(store: RedisStore, count: int, bad_keys: Callable[[bool], None], *, hang: bool) -> float:
    """Handle so many messages while `bad_keys` are down, then the rest, unless they `hang`; seconds for the healthy."""
    done: set[int] = set()
    bad = set(filter(is_bad, range(count)))
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
            if len(done) >= NEARLY * (count - len(bad)):
                healthy.set()
            if len(done) == count:
                all_of_them.set()
            await asyncio.sleep(SECONDS)

        settings = ClientSettings(endpoint_url=sqs.endpoint_url, region="eu-west-1")
        async with await SqsClient.connect(settings) as producer, asyncio.timeout(PATIENCE):
            queue = await producer.create_queue("orders")
            async with app:
                bad_keys(True)
                began = time.monotonic()
                for start in range(0, count, 10):
                    bodies = [Outgoing(body=json.dumps({"id": number})) for number in range(start, start + 10)]
                    await producer.send_batch(queue, bodies)
                await healthy.wait()
                assert not bad & done
                back = time.monotonic()
                log.info("healthy after %.1f s", back - began)
                bad_keys(False)
                if not hang:
                    await all_of_them.wait()
                    log.info("the others %.1f s after the end", time.monotonic() - back)
                    [statistics] = app.statistics()
                    assert statistics.ledger.received == count
                return back - began


def test_messages_with_keys_of_healthy_shards_do_not_wait_for_those_that_refuse() -> None:
    """Keys that end in 0 to 3, a quarter of all, are refused. Then all of them are allowed again, and run soon."""
    with redis_server() as address:
        admin: Any = redis.Redis.from_url(address)
        admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "+@all", "~*")

        def bad_keys(down: bool) -> None:
            admin.execute_command("ACL", "SETUSER", "app", "resetkeys", "~*[4-9a-f]" if down else "~*")

        store = RedisStore.from_url(address.replace("redis://", "redis://app:secret@"))
        asyncio.run(_handle_all(store, 200, bad_keys, hang=False))


def test_messages_with_keys_of_healthy_shards_do_not_wait_for_those_that_hang() -> None:
    """Commands with keys that end in 0 to 3 are swallowed, and their connections hear nothing any more."""

    async def story(address: str) -> None:
        proxy = _Proxy(address)
        async with await asyncio.start_server(proxy.connected, "127.0.0.1", 0) as server:
            store = RedisStore.from_url(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            assert await _handle_all(store, 700, proxy.swallow, hang=True) < MOST
            assert proxy.swallowed > 50
            server.close()
            await proxy.close()

    with redis_server() as address:
        asyncio.run(story(address))


class _Proxy:
    """Passes on what goes to a Redis and what comes back, but for some commands."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname, parts.port
        self._swallows = False
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Future[Any]] = set()
        self.swallowed = 0

    def swallow(self, on: bool) -> None:
        """Swallow these commands from now on, or no more."""
        self._swallows = on

    async def connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Take a connection."""
        server, to_server = await asyncio.open_connection(self._host, self._port)
        self._writers += to_client, to_server
        back, there = self._pass_on(server, to_client), self._pass_on(client, to_server, swallows=True)
        passing = asyncio.gather(back, there, return_exceptions=True)
        self._tasks.add(passing)
        await passing

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, swallows: bool = False
    ) -> None:
        hangs = False
        while data := await source.read(65_536):
            if swallows and self._swallows and SWALLOWED.search(data):
                hangs = True
                self.swallowed += 1
            if not hangs:
                target.write(data)
        target.close()

    async def close(self) -> None:
        """End all connections, also those that nobody reads from any more."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        await asyncio.wait(self._tasks, timeout=PATIENCE)
