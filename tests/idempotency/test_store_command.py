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
    for says in ("created {}\n", "{} is there already\n"):
        for kind, table in (("postgres", "made_keys"), ("inbox", "made_inbox")):
            result = run(kind, "--dsn", dsn, "--table", table)
            assert result.stdout == says.format(table)
    with psycopg.connect(dsn) as connection:
        for table in ("made_keys", "made_inbox"):
            connection.execute(f"SELECT key, expires FROM {table}".encode())


def test_make_a_table_in_dynamodb_twice(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    place = servers.store("dynamodb")._place
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    for says in ("created made\n", "made is there already\n"):
        result = run("dynamodb", "--table", "made", "--endpoint-url", place["endpoint_url"], "--region", "eu-west-1")
        assert result.stdout == says


def test_a_database_that_is_down_is_one_sentence(closed_port: int) -> None:
    result = run("postgres", "--dsn", f"host=127.0.0.1 port={closed_port} connect_timeout=2")
    sentence = str(result.exception)
    assert sentence.startswith("table leasekeeper_keys cannot be created: connection")
    assert "refused; Is the server" in sentence
    assert "--dsn or LEASEKEEPER_STORE_DSN is no connection string: missing" in str(
        run("postgres", "--dsn", "nonsense").exception
    )


def test_a_database_that_was_not_named_says_how_to_name_it(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(closed_port))
    found = CliRunner().invoke(program, ["outbox", "status"])
    assert str(found.exception).endswith("; give --dsn or set LEASEKEEPER_OUTBOX_DSN")
    assert str(run("postgres").exception).endswith("; give --dsn or set LEASEKEEPER_STORE_DSN")


def test_a_table_whose_name_needs_quotes_is_refused() -> None:
    assert "--table 'a b': must be a name of letters" in str(run("postgres", "--print", "--table", "a b").exception)
    found = CliRunner().invoke(program, ["outbox", "create", "--table", "bad name"])
    assert str(found.exception) == (
        "--table 'bad name': must be a name of letters, digits and _, e.g. 'leasekeeper_outbox'"
    )
