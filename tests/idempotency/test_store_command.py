"""`leasekeeper store create`: the tables of stores, printed or made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from leasekeeper.cli.program import program
from leasekeeper.idempotency import DynamoDbStore, PostgresInbox, PostgresStore

if TYPE_CHECKING:
    from conftest import Servers  # type: ignore[attr-defined]

pytestmark = pytest.mark.slow


def run(*arguments: str) -> Any:
    return CliRunner().invoke(program, ["store", "create", *arguments])


def test_print_what_would_be_made() -> None:
    assert run("postgres", "--print").stdout.strip() == PostgresStore("").definition.strip()
    assert (
        run("inbox", "--print", "--table", "a.b").stdout.strip()
        == PostgresInbox("", key="id", table="a.b").definition.strip()
    )
    calls = json.loads(run("dynamodb", "--print", "--table", "t").stdout)
    assert calls == {"CreateTable": DynamoDbStore("t").definition, "UpdateTimeToLive": DynamoDbStore("t").time_to_live}


def test_make_tables_in_postgres_twice(servers: Servers) -> None:
    dsn = servers.store("postgres")._dsn
    for _ in range(2):
        for kind, table in (("postgres", "made_keys"), ("inbox", "made_inbox")):
            result = run(kind, "--dsn", dsn, "--table", table)
            assert result.stdout == f"created {table}\n"
    with psycopg.connect(dsn) as connection:
        for table in ("made_keys", "made_inbox"):
            connection.execute(f"SELECT key, expires FROM {table}".encode())


def test_make_a_table_in_dynamodb_twice(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    place = servers.store("dynamodb")._place
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    for _ in range(2):
        result = run("dynamodb", "--table", "made", "--endpoint-url", place["endpoint_url"], "--region", "eu-west-1")
        assert result.stdout == "created made\n"


def test_a_database_that_is_down_is_one_sentence() -> None:
    result = run("postgres", "--dsn", "host=127.0.0.1 port=1 connect_timeout=2")
    assert str(result.exception).startswith("the table cannot be created: connection")


def test_a_table_whose_name_needs_quotes_is_refused() -> None:
    assert "must be a name of letters" in str(run("postgres", "--print", "--table", "a b").exception)
