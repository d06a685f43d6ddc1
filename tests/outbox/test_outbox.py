"""The outbox as its writers use it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from leasekeeper.errors import ConfigurationError
from leasekeeper.outbox import Outbox

if TYPE_CHECKING:
    from outbox_bench import Bench


def rows(bench: Bench) -> list[tuple[Any, ...]]:
    return bench.execute("SELECT queue, group_id, body, attributes FROM {t} ORDER BY id")


def test_a_row_is_there_when_the_transaction_commits_and_not_when_it_is_rolled_back(bench: Bench) -> None:
    with psycopg.connect(bench.dsn) as connection:
        bench.outbox.add(connection, "q", {"id": 1})
        connection.rollback()
        bench.outbox.add(connection, "q", {"id": 2}, group="g", attributes={"kind": "order", "blob": b"\x00"})
    assert rows(bench) == [
        (
            "q",
            "g",
            '{"id":2}',
            {"kind": {"type": "String", "value": "order"}, "blob": {"type": "Binary", "value": "AA=="}},
        )
    ]


def test_async_connections_and_cursors_write_too(bench: Bench) -> None:
    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(bench.dsn) as connection:
            await bench.outbox.add(connection, "q", "a")
            await bench.outbox.add(connection.cursor(), "q.fifo", "b", group="g")

    asyncio.run(write())
    with psycopg.connect(bench.dsn) as connection:
        bench.outbox.add(connection.cursor(), "q", "c")
    assert [(queue, body) for queue, _, body, _ in rows(bench)] == [("q", "a"), ("q.fifo", "b"), ("q", "c")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"queue": "q", "body": ""}, "the body is empty"),
        ({"queue": "q", "body": "x" * 1_048_577}, "1,048,577 bytes"),
        ({"queue": "q.fifo", "body": "x"}, "is FIFO: give group="),
        ({"queue": "q.fifo", "body": "x", "group": "g", "delay": 0.5}, "delay=1 on a FIFO queue"),
        ({"queue": "q", "body": "x", "delay": timedelta(days=400)}, "must be from 0 seconds to 366 days"),
        ({"queue": "no such queue", "body": "x"}, "no such queue"),
    ],
)
def test_what_sqs_would_refuse_is_refused_before_it_is_written(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Outbox().values(**arguments)


def test_a_table_whose_name_needs_quotes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be a name of letters"):
        Outbox(table="a-b")
    with pytest.raises(ConfigurationError, match="at most 50 bytes"):
        Outbox(table="shop." + "a" * 51)


def test_the_definition_may_be_run_again_and_says_its_version(bench: Bench) -> None:
    bench.add("q", "a")
    bench.outbox.create_table()
    assert len(rows(bench)) == 1
    assert bench.execute("SELECT obj_description('{t}'::regclass)") == [("leasekeeper outbox 1",)]


def test_a_raw_cursor_is_refused_with_what_to_give(bench: Bench) -> None:
    with psycopg.connect(bench.dsn, cursor_factory=psycopg.RawCursor) as connection:
        for transaction in (connection, connection.cursor()):
            with pytest.raises(ConfigurationError, match=r"Outbox.add\(RawCursor\).*give psycopg.Cursor\(connection\)"):
                bench.outbox.add(transaction, "q", "a")
        bench.outbox.add(psycopg.Cursor(connection), "q", "a")
    assert not bench.empty
