"""The inbox: key and business rows commit together, so that exactly one run of a key counts."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from leasekeeper import ConfigurationError, Consumer, LeasekeeperError, Message, Retry
from leasekeeper.idempotency import IdempotencyStatistics, KeyMissing, PostgresInbox, StoreUnavailable
from leasekeeper.idempotency import inbox as inbox_module
from leasekeeper.outcomes import Skipped, Unclaimed
from leasekeeper.testing.handling import run_handler

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dsn(database: Callable[[str], str]) -> str:
    dsn = database("inbox")
    PostgresInbox(dsn, key="id").create_table()
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE effects (id int)")
    return dsn


def effects(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [each for (each,) in connection.execute("SELECT id FROM effects ORDER BY id")]


def test_key_and_rows_commit_together_in_both_kinds_of_handlers(dsn: str) -> None:
    inbox = PostgresInbox(dsn, key="id")
    endings: list[Any] = [ValueError("crash"), Retry(), None]

    def end() -> Any:
        ending = endings[0]
        if isinstance(ending, ValueError):
            raise ending
        return ending

    async def coroutine(body: dict[str, int], tx: psycopg.AsyncConnection) -> Any:
        await tx.execute("INSERT INTO effects VALUES (%s)", [body["id"]])
        return end()

    def plain(body: dict[str, int], tx: psycopg.Connection) -> Any:
        tx.execute("INSERT INTO effects VALUES (%s)", [body["id"]])
        return end()

    handlers: list[Any] = [coroutine, plain]
    for number, handler in enumerate(handlers, 1):
        endings[:] = [ValueError("crash"), Retry(), None]
        consumer = Consumer("payments", handler, idempotency=inbox, region="eu-west-1")
        while len(endings) > 1:
            assert run_handler(consumer, {"id": number}).retried
            assert number not in effects(dsn)
            endings.pop(0)
        assert run_handler(consumer, {"id": number}).acked
        assert isinstance(run_handler(consumer, {"id": number}).outcome, Skipped)
    assert [each for each in effects(dsn) if each in (1, 2)] == [1, 2]
    assert inbox.statistics("payments") == IdempotencyStatistics(claimed=6, done=2)
    inbox.close_idle()


def test_connections_are_used_again_and_replaced_when_the_server_has_closed_them(dsn: str) -> None:
    """A connection costs several times as much as the transaction of a message."""
    inbox = PostgresInbox(dsn, key="id", table="leasekeeper_inbox")
    pids: list[int] = []

    def handler(body: dict[str, int], tx: psycopg.Connection) -> None:
        pids.append(tx.info.backend_pid)

    consumer = Consumer("reused", handler, idempotency=inbox, region="eu-west-1")
    for number in range(2):
        assert run_handler(consumer, {"id": number}).acked
    assert pids[0] == pids[1]
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pids[0]])
    assert run_handler(consumer, {"id": 2}).acked
    assert pids[2] != pids[0]
    inbox.close_idle()


def test_a_handler_cannot_commit_itself(dsn: str) -> None:
    """Its key would be committed although the rest fails."""
    inbox = PostgresInbox(dsn, key="id")

    def handler(body: dict[str, int], tx: psycopg.Connection) -> None:
        tx.commit()

    consumer = Consumer("commits", handler, idempotency=inbox, region="eu-west-1")
    for _ in range(2):
        handled = run_handler(consumer, {"id": 1})
        assert isinstance(handled.error, psycopg.ProgrammingError)
    inbox.close_idle()


@pytest.mark.parametrize(
    ("number", "statement", "words"),
    [
        (70, "SELECT 1 / 0", "returned after a statement of its transaction had failed"),
        (72, "ROLLBACK", "has ended the transaction of its inbox"),
    ],
)
def test_a_transaction_that_would_commit_nothing_is_a_failure(
    dsn: str, number: int, statement: str, words: str
) -> None:
    """Postgres answers its COMMIT with a ROLLBACK, and psycopg says nothing: the message would be deleted."""
    inbox = PostgresInbox(dsn, key="id")
    broken = [True]

    async def coroutine(body: dict[str, int], tx: psycopg.AsyncConnection) -> None:
        await tx.execute("INSERT INTO effects VALUES (%s)", [body["id"]])
        if broken:
            with suppress(psycopg.Error):
                await tx.execute(statement)

    def plain(body: dict[str, int], tx: psycopg.Connection) -> None:
        tx.execute("INSERT INTO effects VALUES (%s)", [body["id"]])
        if broken:
            with suppress(psycopg.Error):
                tx.execute(statement)

    handlers: list[Any] = [coroutine, plain]
    consumers = [Consumer("failed", handler, idempotency=inbox, region="eu-west-1") for handler in handlers]
    for offset, consumer in enumerate(consumers):
        assert words in str(run_handler(consumer, {"id": number + offset}).error)
    assert not {number, number + 1} & set(effects(dsn))
    broken.clear()
    for offset, consumer in enumerate(consumers):
        assert run_handler(consumer, {"id": number + offset}).acked
    assert {number, number + 1} <= set(effects(dsn))
    inbox.close_idle()


def test_a_key_in_another_transaction_is_tried_again_less_and_less_often(dsn: str) -> None:
    """Each try is a receive: a handler of ten minutes would take its duplicate to the dead-letter queue."""
    inbox = PostgresInbox(dsn, key="id")
    found: list[Any] = []

    def handler(body: dict[str, int], tx: psycopg.Connection) -> None:
        for count in (1, 2, 9):
            other = partial(run_handler, consumer, {"id": 80}, receive_count=count)
            with ThreadPoolExecutor(1) as thread:
                found.append(thread.submit(other).result().outcome)

    consumer = Consumer("held", handler, idempotency=inbox, region="eu-west-1")
    assert run_handler(consumer, {"id": 80}).acked
    assert [int(each.after // least) for each, least in zip(found, (5, 10, 60), strict=True)] == [1, 1, 1]
    inbox.close_idle()


def test_a_standby_that_takes_no_keys_is_an_outage_and_no_failure(dsn: str) -> None:
    """After a failover the address may be that of a server which only reads."""
    inbox = PostgresInbox(f"{dsn} options='-c default_transaction_read_only=on'", key="id")

    async def coroutine(body: dict[str, int], tx: psycopg.AsyncConnection) -> None: ...

    consumer = Consumer("standby", coroutine, idempotency=inbox, region="eu-west-1")
    outcome = run_handler(consumer, {"id": 1}).outcome
    assert isinstance(outcome, Unclaimed)
    assert isinstance(outcome.error, psycopg.errors.ReadOnlySqlTransaction)
    with pytest.raises(StoreUnavailable, match="read-only transaction"):
        asyncio.run(inbox.probe())
    inbox.close_idle()


def test_a_message_that_its_handler_retries_early_is_rolled_back(dsn: str) -> None:
    inbox = PostgresInbox(dsn, key="id")

    async def handler(message: Message[dict[str, int]], tx: psycopg.AsyncConnection) -> None:
        await tx.execute("INSERT INTO effects VALUES (%s)", [message.body["id"]])
        if message.receive_count == 1:
            message.retry(after=5)

    consumer = Consumer("early", handler, idempotency=inbox, region="eu-west-1")
    run_handler(consumer, {"id": 77})
    assert 77 not in effects(dsn)
    assert run_handler(consumer, {"id": 77}, receive_count=2).acked
    assert 77 in effects(dsn)
    inbox.close_idle()


def test_a_message_that_is_withheld_is_refused(dsn: str) -> None:
    """Its transaction would commit before its work is done."""
    inbox = PostgresInbox(dsn, key="id")

    def handler(message: Message[dict[str, int]], tx: psycopg.Connection) -> None:
        message.withhold()

    handled = run_handler(Consumer("withheld", handler, idempotency=inbox, region="eu-west-1"), {"id": 1})
    assert isinstance(handled.error, LeasekeeperError)
    assert "its inbox commits when it returns" in str(handled.error)
    inbox.close_idle()


def test_a_database_that_is_down_is_no_failure_of_the_message() -> None:
    inbox = PostgresInbox("host=127.0.0.1 port=1 dbname=x", key="id")

    async def coroutine(body: dict[str, int], tx: psycopg.AsyncConnection) -> None: ...

    def plain(body: dict[str, int], tx: psycopg.Connection) -> None: ...

    handlers: list[Any] = [coroutine, plain]
    for handler in handlers:
        outcome = run_handler(Consumer("down", handler, idempotency=inbox, region="eu-west-1"), {"id": 1}).outcome
        assert isinstance(outcome, Unclaimed)
        assert outcome.after >= 2
    assert inbox.statistics() == IdempotencyStatistics(store_errors=2)


def test_keys_whose_time_is_over_are_deleted(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "CLEANING", 2)
    inbox = PostgresInbox(dsn, key="id")
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("INSERT INTO leasekeeper_inbox SELECT 'old ' || n, now() FROM generate_series(1, 100) AS n")

        async def handler(body: dict[str, int], tx: psycopg.AsyncConnection) -> None: ...

        consumer = Consumer("cleaned", handler, idempotency=inbox, region="eu-west-1")
        for number in range(2):
            assert run_handler(consumer, {"id": number}).acked
        found = other.execute("SELECT count(*) FROM leasekeeper_inbox WHERE key LIKE 'old %'").fetchone()
        assert found == (0,)
    inbox.close_idle()


def test_a_handler_that_asks_for_the_other_kind_of_connection_is_refused() -> None:
    inbox = PostgresInbox("", key="id")

    async def coroutine(body: dict[str, int], tx: psycopg.Connection) -> None: ...

    def plain(body: dict[str, int], tx: psycopg.AsyncConnection[Any]) -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"coroutine is `async def`: annotate tx with psycopg\.AsyncConnection$"
    ):
        Consumer("payments", coroutine, idempotency=inbox, region="eu-west-1")
    with pytest.raises(ConfigurationError, match=r"plain is `def`: annotate tx with psycopg\.Connection$"):
        Consumer("payments", plain, idempotency=inbox, region="eu-west-1")


def test_a_message_without_a_key_says_which_key_is_missing() -> None:
    async def handler(body: dict[str, int]) -> None: ...

    consumer = Consumer("payments", handler, idempotency=PostgresInbox("", key="idd"), region="eu-west-1")
    found = run_handler(consumer, {"id": 1})
    assert isinstance(found.error, KeyMissing)
    assert str(found.error).endswith(": key='idd' is not in the body, or is null or empty there")
