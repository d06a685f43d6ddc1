"""What goes wrong between a store and its server: connections that end, restarts, races, clocks, limits."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from starting import free_port
from store_servers import redis_server

from leasekeeper.api import Response
from leasekeeper.errors import Verdict
from leasekeeper.idempotency import Claimed, Completed, DynamoDbStore, Extension, RedisStore, Running
from leasekeeper.idempotency.api import TableMissing
from leasekeeper.idempotency.dynamodb import _Dated
from leasekeeper.sqs.errors import error_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import Servers  # type: ignore[attr-defined]
    from leasekeeper.idempotency import PostgresStore

pytestmark = pytest.mark.slow


def test_postgres_has_closed_idle_connections(servers: Servers) -> None:
    store: PostgresStore = servers.store("postgres")

    async def test() -> None:
        await store.claim("closed", "a", "", 60.0)
        [idle] = store._idle
        with psycopg.connect(store._dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [idle.info.backend_pid])
        assert await store.complete("closed", "a", "", None, 60.0)
        await store.close()

    asyncio.run(test())


def test_postgres_a_key_whose_time_is_over_is_claimed_by_another_at_this_moment(servers: Servers) -> None:
    """Our statement sees the old row, which is done, and waits for the other transaction. The work is not done."""
    store: PostgresStore = servers.store("postgres")

    async def test() -> None:
        await store.claim("raced", "a", "", 60.0)
        await store.complete("raced", "a", "", None, 0.001)
        other = await psycopg.AsyncConnection.connect(store._dsn)
        await other.execute("UPDATE leasekeeper_keys SET expires = now() - interval '1 second' WHERE key = 'raced'")
        await other.commit()
        await other.execute(
            "UPDATE leasekeeper_keys SET token = 'b', done = false, expires = now() + interval '1 minute' "
            "WHERE key = 'raced'"
        )
        claiming = asyncio.create_task(store.claim("raced", "c", "", 60.0))
        async with await psycopg.AsyncConnection.connect(store._dsn, autocommit=True) as third:
            while not await (  # noqa: ASYNC110 - of a server
                await third.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            ).fetchone():
                await asyncio.sleep(0.01)
        await other.commit()
        assert isinstance(await claiming, Running)
        await other.close()
        await store.close()

    asyncio.run(test())


def test_redis_was_restarted_and_has_lost_its_scripts(servers: Servers) -> None:
    store: RedisStore = servers.store("redis")

    async def test() -> None:
        await store.claim("scripts", "a", "", 60.0)
        await store._client().script_flush()
        assert list(await store.extend([Extension("scripts", "a", 60.0)])) == [True]
        await store._client().script_flush()
        assert await store.complete("scripts", "a", "", b"1", 60.0)
        await store.close()

    asyncio.run(test())


def test_redis_has_more_claims_at_once_than_a_pool_has_connections(servers: Servers) -> None:
    """A pool of redis-py has 100, and refuses the next verb: that message would be given back."""
    store: RedisStore = servers.store("redis")

    async def test() -> None:
        found = await asyncio.gather(*(store.claim(f"many {n}", "a", "", 60.0) for n in range(150)))
        assert found == [Claimed()] * 150
        await store.close()

    asyncio.run(test())


def test_redis_answers_text(servers: Servers) -> None:
    plain: RedisStore = servers.store("redis")
    store = RedisStore.from_url(plain._url, decode_responses=True)

    async def test() -> None:
        await store.claim("text", "a", "f", 60.0)
        await store.complete("text", "a", "f", b"1", 60.0)
        assert await store.claim("text", "b", "f", 60.0) == Completed("f", b"1")
        await store.close()

    asyncio.run(test())


def test_redis_is_a_cluster() -> None:
    """One key a script, so each goes to one node. This cluster has one."""
    with redis_server("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as url:

        async def test() -> None:
            from redis.asyncio import Redis

            node: Any = Redis.from_url(url)
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            async with asyncio.timeout(30):
                while b"cluster_state:ok" not in await node.execute_command("CLUSTER", "INFO"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await node.aclose()
            store = RedisStore.from_url(url, cluster=True)
            assert [await store.claim(f"k{n}", "a", "", 60.0) for n in range(3)] == [Claimed()] * 3
            assert list(await store.extend([Extension(f"k{n}", "a", 90.0) for n in range(4)])) == [True] * 3 + [False]
            assert await store.complete("k0", "a", "", b"1", 60.0)
            assert await store.claim("k0", "b", "", 60.0) == Completed("", b"1")
            assert await store.release("k1", "a")
            await store.close()

        asyncio.run(test())


def test_dynamodb_throttles() -> None:
    """Its own word for that is one of those after which a call is made again."""
    body = b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow"}'
    assert error_of("PutItem", 400, body).verdict is Verdict.THROTTLED


class Answers:
    """A transport that answers with a date."""

    def __init__(self, date: str) -> None:
        self._date = date

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109
        return Response(200, {"date": self._date}.get, b"{}")

    async def close(self) -> None: ...


def test_dynamodb_the_clock_of_this_machine_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    now = [1_000_000_007.0]
    store = DynamoDbStore("keys", region="eu-west-1", wall=lambda: now[0])
    transport: Any = _Dated(Answers("Sun, 09 Sep 2001 01:46:40 GMT"), store._look_at_date)  # 1,000,000,000
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            asyncio.run(transport.post(b"", {}, 1.0))
    assert [each.message for each in caplog.records] == [
        (
            "<DynamoDbStore, table keys>: the clock of this machine is 7 s ahead of that of DynamoDB, so claims of "
            "other machines may be taken too early or too late; set the clock"
        )
    ]
    caplog.clear()
    now[0] += 61
    asyncio.run(transport.post(b"", {}, 1.0))
    assert "68 s ahead of" in caplog.text


def test_dynamodb_refuses_an_unknown_table(servers: Servers) -> None:
    known: Any = servers.store("dynamodb")
    store = DynamoDbStore("other", **known._place)

    async def test() -> None:
        with pytest.raises(TableMissing, match="table other does not exist in region eu-west-1: run `leasekeeper"):
            await store.claim("k", "a", "", 60.0)
        await store.close()

    asyncio.run(test())
