"""The inbox: key and business rows commit together, so that exactly one run of a key counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from store_servers import postgres_server

from leasekeeper import Consumer, Retry
from leasekeeper.idempotency import PostgresInbox
from leasekeeper.outcomes import Skipped
from leasekeeper.testing.handling import run_handler

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with postgres_server() as dsn:
        PostgresInbox(dsn, key="id").create_table()
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE effects (id int)")
        yield dsn


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
    assert effects(dsn) == [1, 2]
