"""Stores at the start of a consumer: a table that is missing, or a server that is down, costs no receives."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from starting import free_port

from leasekeeper import Consumer
from leasekeeper.cli.doctor.facts import Level
from leasekeeper.cli.doctor.stores import outboxes, store
from leasekeeper.engine.context import SourceQueue
from leasekeeper.engine.store_check import ask_store
from leasekeeper.errors import ConfigurationError, LeasekeeperError
from leasekeeper.idempotency import DynamoDbStore, Idempotency, MemoryStore, PostgresInbox, PostgresStore, RedisStore
from leasekeeper.idempotency.outage import Outage
from leasekeeper.local import LocalSqs
from leasekeeper.options import Options
from leasekeeper.outbox import Outbox, Relay
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from conftest import Servers  # type: ignore[attr-defined]

pytestmark = pytest.mark.slow
SOURCE = SourceQueue(name="orders", url="http://127.0.0.1/1/orders", max_receives=5)


def asked(idempotency: Any, **options: Any) -> None:
    asyncio.run(ask_store(Options(idempotency=idempotency, **options), SOURCE))


async def handle(body: dict[str, Any]) -> None:
    raise AssertionError(body)


@pytest.mark.parametrize("kind", ["memory", "redis", "postgres", "dynamodb"])
def test_a_store_that_can_be_used_is_asked_and_is_not_changed(kind: str, servers: Servers) -> None:
    idempotency = Idempotency(servers.store(kind), key="id")
    asked(idempotency)


def test_a_table_that_is_missing_refuses_the_start_with_the_command_that_creates_it(servers: Servers) -> None:
    dsn = servers.store("postgres")._dsn
    place = servers.store("dynamodb")._place
    for idempotency, command in (
        (
            Idempotency(PostgresStore(dsn, table="kk"), key="id"),
            (
                "<PostgresStore, table kk>: table kk does not exist: run `leasekeeper store create postgres --table kk "
                "--dsn ...`"
            ),
        ),
        (
            PostgresInbox(dsn, key="id", table="ii"),
            (
                "<PostgresInbox, table ii>: table ii does not exist: run `leasekeeper store create inbox --table ii "
                "--dsn ...`"
            ),
        ),
        (
            Idempotency(DynamoDbStore("dd", **place), key="id"),
            (
                "<DynamoDbStore, table dd>: table dd does not exist in region eu-west-1: run `leasekeeper store create "
                f"dynamodb --table dd --region eu-west-1 --endpoint-url {place['endpoint_url']}`"
            ),
        ),
    ):
        with pytest.raises(ConfigurationError) as refused:
            asked(idempotency, wait_for_endpoint=60)
        assert str(refused.value) == command


def test_a_consumer_asks_before_it_receives(servers: Servers) -> None:
    table = PostgresStore(servers.store("postgres")._dsn, table="kk")

    async def start(sqs: LocalSqs) -> None:
        settings = ClientSettings(endpoint_url=sqs.endpoint_url, region="us-east-1")
        async with await SqsClient.connect(settings) as client:
            await client.create_queue("orders")
        idempotency = Idempotency(table, key="id")
        place: dict[str, Any] = {"endpoint_url": sqs.endpoint_url, "region": "us-east-1"}
        async with Consumer("orders", handle, idempotency=idempotency, **place):
            raise AssertionError("it has started")

    with LocalSqs() as sqs, pytest.raises(ConfigurationError, match="table kk does not exist"):
        asyncio.run(start(sqs))


def test_the_table_of_something_else_is_refused(servers: Servers) -> None:
    dsn = servers.store("postgres")._dsn
    Outbox(dsn, table="messages").create_table()
    for idempotency in (
        Idempotency(PostgresStore(dsn, table="messages"), key="id"),
        PostgresInbox(dsn, key="id", table="messages"),
    ):
        with pytest.raises(ConfigurationError, match="table messages has other columns"):
            asked(idempotency)


def test_a_store_that_is_down_refuses_the_start() -> None:
    port = free_port()
    dsn = f"host=127.0.0.1 port={port} connect_timeout=2"
    for idempotency in (
        Idempotency(PostgresStore(dsn), key="id"),
        Idempotency(RedisStore.from_url(f"redis://127.0.0.1:{port}/0"), key="id"),
        PostgresInbox(dsn, key="id"),
    ):
        with pytest.raises(LeasekeeperError) as refused:
            asked(idempotency)
        sentence = str(refused.value)
        assert sentence.startswith("queue orders: the store of idempotency keys cannot be used: <")
        assert sentence.endswith(
            "check its address and its server; to wait for a store that is still starting, set wait_for_endpoint"
        )


class Late(MemoryStore):
    """The server of this store is up after two tries."""

    tries = 0
    inline = False

    async def release(self, key: str, token: str) -> bool:
        self.tries += 1
        if self.tries <= 2:
            raise OSError("refused")
        return await super().release(key, token)


def test_a_store_that_is_not_up_yet_is_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasekeeper.engine.store_check.AGAIN", 0.01)
    late = Late()
    asked(Idempotency(late, key="id"), wait_for_endpoint=30)
    assert late.tries == 3
    (line,) = [each.message for each in caplog.records if each.name.startswith("leasekeeper")]
    assert line.startswith("queue orders: the store of idempotency keys is not up yet, waiting up to ")
    assert line.endswith("OSError: refused")


def test_the_doctor_checks_stores_inboxes_and_outboxes(servers: Servers) -> None:
    dsn = servers.store("postgres")._dsn

    async def look() -> list[tuple[Level, str, str]]:
        found = []
        for table in ("leasekeeper_keys", "kk"):
            idempotency = Idempotency(PostgresStore(dsn, table=table), key="id")
            found += await store(Options(idempotency=idempotency))
        found += await store(Options(idempotency=PostgresInbox(dsn, key="id", table="ii")))
        Outbox(dsn, table="here").create_table()
        found += await outboxes([Relay(Outbox(dsn, table=name)) for name in ("here", "oo")])
        return [(each.level, each.topic, each.message) for each in found]

    seen = asyncio.run(look())
    assert [(level, topic) for level, topic, _ in seen] == [
        (Level.OK, "idempotency"),
        (Level.FAIL, "idempotency"),
        (Level.FAIL, "idempotency"),
        (Level.OK, "outbox"),
        (Level.FAIL, "outbox"),
    ]
    assert "leasekeeper store create postgres --table kk" in seen[1][2]
    assert "leasekeeper store create inbox --table ii" in seen[2][2]
    assert asyncio.run(store(Options())) == []


def test_an_outage_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    outage = Outage("pay", lambda: now[0])
    for number in range(121):
        outage.failed(OSError("down\nIs it up?"), "is not run, its message is tried again")
        if number % 2:  # the store answers now and then
            outage.over()
        now[0] += 1
    assert [(each.levelno, each.message) for each in caplog.records] == [
        (logging.ERROR, "handler pay is not run, its message is tried again (1 in a row): down; Is it up?")
    ] * 3
