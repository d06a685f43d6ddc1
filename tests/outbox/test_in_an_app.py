"""A relay that runs with an app, and the command."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Leasekeeper
from leasekeeper.cli.outbox import Action, outbox
from leasekeeper.errors import ConfigurationError, LeasekeeperError
from leasekeeper.observe.emf import EmfLines
from leasekeeper.observe.prometheus import registry_of

if TYPE_CHECKING:
    from outbox_bench import Bench


def test_an_app_relays_what_its_handlers_have_written(bench: Bench) -> None:
    from prometheus_client import generate_latest

    app = Leasekeeper(endpoint_url=bench.sqs.endpoint_url, region="eu-west-1")
    handled: list[str] = []

    @app.consumer("q")
    def handle(body: str) -> None:
        handled.append(body)

    relay = app.relay(bench.outbox, poll=0.05)
    assert repr(app).endswith(f", <Relay of {bench.outbox.table}, 0 sent>>"), "`leasekeeper run` logs this when ready"
    bench.add("q", "a", "b")
    app.start()
    try:
        bench.until(lambda: len(handled) == 2 and bench.empty)
        bench.until(lambda: [each.waiting for each in relay.statistics().queues] == [0])
        shown = generate_latest(registry_of(app)).decode()
        lines = EmfLines(app, service="shop").lines()
    finally:
        reports = app.stop().result()
    assert len(reports) == 1, "only that of the consumer"
    label = f'{{consumer="{bench.outbox.table}",queue="q"}}'
    assert f"leasekeeper_outbox_sent_total{label} 2.0" in shown
    assert f"leasekeeper_outbox_oldest_seconds{label} 0.0" in shown
    assert [json.loads(line)["outbox_sent"] for line in lines if "outbox_sent" in line] == [2]


def test_a_relay_that_cannot_start_stops_the_app(bench: Bench) -> None:
    app = Leasekeeper(endpoint_url=bench.sqs.endpoint_url, region="eu-west-1")
    app.consumer("q")(lambda body: None)
    app.relay(bench.outbox)
    bench.execute("DROP TABLE {t}")
    with pytest.raises(ConfigurationError, match="does not exist"):
        app.start()


def act(bench: Bench, action: Action, **more: Any) -> None:
    outbox(action, dsn=bench.dsn, table=bench.outbox.table, **more)


def test_the_command_shows_what_waits_and_gives_rows_another_try(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    act(bench, Action.STATUS)
    bench.add("q", "a", "b")
    bench.add("q", "later", delay=3600)
    bench.add("q.fifo", "c", group="g")
    bench.execute("UPDATE {t} SET failed = now(), attempts = 1, error = E'no\\x1b' WHERE queue = 'q.fifo'")
    bench.execute("UPDATE {t} SET retry = now(), attempts = 2, error = 'away' WHERE body = 'b'")
    capsys.readouterr()
    act(bench, Action.STATUS)
    head, one, two, aside, waits = capsys.readouterr().out.splitlines()
    assert head.split() == ["queue", "waiting", "scheduled", "set", "aside", "oldest"]
    assert one.split()[:4] == ["q", "2", "1", "0"]
    assert two.split()[:4] == ["q.fifo", "0", "0", "1"]
    assert aside == "set aside: 4 for q.fifo, group g, 1 try: no\\x1b"
    assert re.fullmatch(r"waits for \d+ s: 2 for q, 2 tries: away", waits)
    act(bench, Action.RETRY, queue="q")
    act(bench, Action.RETRY)
    assert capsys.readouterr().out == "0 rows are tried again: no row for q is set aside\n1 row is tried again\n"


def test_the_command_creates_the_table_or_prints_it(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.execute("DROP TABLE {t}")
    with pytest.raises(
        LeasekeeperError,
        match=f"the table does not exist; run `leasekeeper outbox create --table {bench.outbox.table} --dsn",
    ):
        act(bench, Action.STATUS)
    act(bench, Action.CREATE)
    act(bench, Action.STATUS)
    outbox(Action.CREATE, table="other", show=True, notify=False)
    created, empty, *definition = capsys.readouterr().out.splitlines()
    assert (created, empty) == (f"created {bench.outbox.table}", f"{bench.outbox.table} is empty")
    assert definition[0] == "CREATE TABLE IF NOT EXISTS other ("
    assert "TRIGGER" not in "".join(definition)
