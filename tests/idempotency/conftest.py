"""One suite for all stores: `store` is each of them, with a server where it needs one."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from moto_server import moto_server
from store_servers import redis_server

from leasekeeper.api import Credentials
from leasekeeper.idempotency import DynamoDbStore, MemoryStore, PostgresStore, RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.idempotency import Store

KINDS = ("memory", "redis", "postgres", "dynamodb")


class Wall:
    """The clock of a machine, which tests put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Servers:
    """The servers that this session has started."""

    def __init__(self, stack: ExitStack, request: pytest.FixtureRequest) -> None:
        self._stack = stack
        self._request = request
        self._makers: dict[str, Callable[[], Store]] = {}

    def store(self, kind: str) -> Store:
        """A store of that kind, on a server that all its stores share."""
        if kind not in self._makers:
            self._makers[kind] = getattr(self, f"_{kind}")()
        return self._makers[kind]()

    def _memory(self) -> Callable[[], Store]:
        only = MemoryStore()
        return lambda: only

    def _redis(self) -> Callable[[], Store]:
        url = self._stack.enter_context(redis_server())
        return lambda: RedisStore.from_url(url)

    def _postgres(self) -> Callable[[], Store]:
        dsn = self._request.getfixturevalue("database")("stores")
        PostgresStore(dsn).create_table()
        return lambda: PostgresStore(dsn)

    def _dynamodb(self) -> Callable[[], Store]:
        url = self._stack.enter_context(moto_server())
        keys = Credentials(access_key="k", secret_key="s")

        def make() -> DynamoDbStore:
            return DynamoDbStore("keys", region="eu-west-1", endpoint_url=url, credentials=keys, wall=Wall())

        make().create_table()
        return make


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, request)


@pytest.fixture(params=KINDS)
def make_store(request: pytest.FixtureRequest, servers: Servers) -> Callable[[], Store]:
    """Makes stores with the same keys, as several processes have them."""
    return lambda: servers.store(request.param)
