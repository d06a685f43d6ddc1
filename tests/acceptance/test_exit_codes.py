"""The exit code of each command for each kind of ending, as `leasekeeper.exit_codes` and the reference have it."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from leasekeeper.cli.program import COMMANDS
from leasekeeper.exit_codes import Exit

Bench = Any  # of conftest.py, which tests cannot import
SHOP = """
    from leasekeeper import Leasekeeper
    from leasekeeper.idempotency import DynamoDbStore, Idempotency
    from leasekeeper.payloads import S3Payloads

    app, stored, pointed = Leasekeeper(), Leasekeeper(), Leasekeeper()

    @app.consumer("nowhere")
    async def ship(order: dict) -> None: ...

    store = DynamoDbStore("keys", region="us-east-1", endpoint_url="http://127.0.0.1:1")

    @stored.consumer("orders", idempotency=Idempotency(store, key="id"))
    async def pack(order: dict) -> None: ...

    @pointed.consumer("orders", payloads=S3Payloads("no-such-bucket", endpoint_url={endpoint!r}))
    async def load(order: dict) -> None: ...
"""
CLOSED = "127.0.0.1:1"
POSTGRES = "host=127.0.0.1 port=1 connect_timeout=2"


def all_alone(bench: Bench) -> None:
    bench.environment["AWS_ENDPOINT_URL_S3"] = bench.sqs.endpoint_url
    bench.module("shop", SHOP.format(endpoint=bench.sqs.endpoint_url))
    bench.queue("orders")


UNUSABLE = [
    ("run", "shop:app"),
    ("run", "shop:stored"),
    ("run", "shop:pointed"),
    ("send", "nowhere", "hello"),
    ("send", "orders", "hello", "--payloads", "s3://no-such-bucket"),
    ("peek", "nowhere"),
    ("redrive", "nowhere"),
    ("top", "--once", CLOSED),
    ("scale", "advise", "orders", "--admin", CLOSED),
    ("store", "create", "postgres", "--dsn", POSTGRES),
    ("store", "create", "inbox", "--dsn", POSTGRES),
    ("store", "create", "dynamodb", "--endpoint-url", f"http://{CLOSED}"),
    ("outbox", "create", "--dsn", POSTGRES),
    ("outbox", "status", "--dsn", POSTGRES),
    ("outbox", "retry", "--dsn", POSTGRES),
    ("outbox", "relay", "--dsn", POSTGRES),
]
USAGE = [
    ("run", "nowhere:app"),
    ("send", "two words", "hello"),
    ("send", "orders", "--file", "no-such-file"),
    ("send", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "hello", "--region", "us-east-1"),
    ("peek", "two words"),
    ("redrive", "orders", "--status", "--cancel"),
    ("doctor", "two words"),
    ("scale", "advise", "orders", "--concurrency", "1"),
    ("manifest", "kubernetes", "nowhere:app", "--image", "shop"),
    ("options", "nowhere:app"),
    ("docs", "nowhere:app"),
    ("docs", "shop:app", "--output", "."),
    ("new", "Two Words"),
    ("top", "unix:nowhere"),
    ("top", "--once", "two words"),
    ("scale", "advise", "https://127.0.0.1:9900"),
    ("outbox", "status", "--table", "two words"),
    ("outbox", "status", "--dsn", "no connection string"),
    ("store", "create", "postgres", "--table", "two words"),
    ("health", "--admin", "two words"),
    ("local", "--queue", "two words"),
    ("demo", "--messages", "0"),
]
NO = [("doctor", "nowhere"), ("health", "--admin", CLOSED), ("docs", "shop:app", "--output", "missing.json", "--check")]


@pytest.mark.parametrize("command", [pytest.param(each, id=" ".join(each)) for each in UNUSABLE])
def test_what_is_missing_or_refuses_outside_is_3_and_one_sentence(shop: Bench, command: tuple[str, ...]) -> None:
    all_alone(shop)
    code, said = ended(shop, command)
    assert code == Exit.UNUSABLE, said
    assert "Traceback" not in said
    assert said.count("leasekeeper: ") == (0 if command[0] == "top" else 1), said


@pytest.mark.parametrize("command", [pytest.param(each, id=" ".join(each)) for each in USAGE])
def test_wrong_usage_or_configuration_is_2_and_one_sentence(shop: Bench, command: tuple[str, ...]) -> None:
    all_alone(shop)
    code, said = ended(shop, command)
    assert code == Exit.USAGE, said
    assert "Traceback" not in said
    assert said.count("leasekeeper: ") == 1, said


@pytest.mark.parametrize("command", [pytest.param(each, id=" ".join(each)) for each in NO])
def test_an_answer_of_no_is_1(shop: Bench, command: tuple[str, ...]) -> None:
    all_alone(shop)
    code, said = ended(shop, command)
    assert code == Exit.FAILED, said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("peek", "orders"), "allow sqs:GetQueueUrl to these credentials"),
        (("redrive", "orders"), "allow sqs:GetQueueUrl to these credentials"),
        (("send", "orders", "hello"), "allow sqs:GetQueueUrl to these credentials"),
        (("doctor", "orders"), "fail  queue           orders: GetQueueUrl: AccessDenied"),
        (("top", "--once", CLOSED), f"{CLOSED}: the connection was refused: nothing listens there; is the process"),
        (("health", "--admin", CLOSED), f"no answer from http://{CLOSED}: Connection refused; is the process running"),
        (("docs", "shop:app", "--output", "missing/x.json"), "missing/x.json: No such file or directory; give another"),
        (("health", "--timeout", "soon"), "must be a number from 0.1 to 1000000 seconds"),
    ],
)
def test_what_is_wrong_is_said_with_its_value_and_what_to_do(shop: Bench, command: tuple[str, ...], words: str) -> None:
    all_alone(shop)
    shop.sqs.faults.set(deny=1)
    called = shop.call(*command)
    assert words in called.err + called.out, called


def test_a_store_that_needs_no_table_is_no_error(shop: Bench) -> None:
    called = shop.call("store", "create", "redis")
    assert called == ("a RedisStore needs no table: there is nothing to create\n", "", Exit.CLEAN)


def test_a_port_that_another_program_has_is_3(shop: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = ended(shop, ("local", "--port", str(port)))
    assert code == Exit.UNUSABLE
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use. Give another --port, or 0" in said


def test_an_address_of_another_machine_is_3_and_asks_for_no_port(shop: Bench) -> None:
    code, said = ended(shop, ("local", "--host", "192.0.2.1", "--anywhere"))
    assert code == Exit.UNUSABLE
    assert said.endswith(". Give an address of this machine as --host\n")


def ended(bench: Bench, command: tuple[str, ...]) -> tuple[int, str]:
    if command[0] == "run":  # it takes signals and ends its process
        running = bench.leasekeeper(*command, "--no-supervisor")
        code = running.end()
        return code, running.err
    called = bench.call(*command)
    return called.code, called.err


def test_every_command_is_tried_with_a_mistake() -> None:
    assert {command[0] for command in USAGE} == set(COMMANDS)


def test_the_reference_has_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    section = page.partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == list(Exit)
