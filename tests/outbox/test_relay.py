"""The relay, on a real Postgres and the local SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from leasekeeper.errors import ConfigurationError, LeasekeeperError
from leasekeeper.outbox import Outbox, Relay

if TYPE_CHECKING:
    from outbox_bench import Bench


def test_rows_are_sent_once_they_are_committed_and_then_deleted(bench: Bench) -> None:
    with bench.relay(poll=60) as relay:
        with psycopg.connect(bench.dsn) as connection:
            for number in range(25):
                bench.outbox.add(connection, "q", str(number), attributes={"kind": "order"})
            assert bench.bodies() == []
        bench.until(lambda: bench.empty)  # woken by the notification: the next look is a minute away
        assert relay.statistics().calls == 3
    assert sorted(bench.bodies(), key=int) == [str(number) for number in range(25)]
    assert relay.statistics().sent == 25


def test_rows_of_a_group_are_sent_in_the_order_of_their_ids(bench: Bench) -> None:
    for group in "ab":
        bench.add("q.fifo", *(f"{group}{number:02}" for number in range(30)), group=group)
    with bench.relay(), bench.relay(), bench.relay(strict_order=False):
        bench.until(lambda: bench.empty)
    for group in "ab":
        sent = [body for body in bench.bodies("q.fifo") if body[0] == group]
        assert sent == [f"{group}{number:02}" for number in range(30)]


def test_a_row_that_is_sent_again_is_one_message_of_a_fifo_queue(bench: Bench) -> None:
    bench.add("q.fifo", "a", "b", "c", group="g")
    bench.sqs.faults.next("SendMessageBatch", lose_by_reset=1.0)
    with bench.relay() as relay:
        bench.until(lambda: bench.empty)
        assert relay.statistics().retried == 1
    assert bench.bodies("q.fifo") == ["a", "b", "c"]


def test_a_row_that_cannot_be_sent_stops_no_other(bench: Bench) -> None:
    bench.add("nowhere", "lost")
    bench.execute("INSERT INTO {t} (queue, group_id, body) VALUES ('q.fifo', 'g', %s), ('q.fifo', 'g', 'b')", "a\x01")
    bench.add("q", "c")
    with bench.relay():
        bench.until(lambda: bench.bodies() == ["c"] and bench.bodies("q.fifo") == ["b"])
        bench.until(lambda: bench.execute("SELECT id FROM {t} WHERE attempts > 0 AND queue = 'nowhere'"))
    (missing, bad) = bench.execute("SELECT error, failed IS NOT NULL, attempts > 0 FROM {t} ORDER BY queue")
    assert missing[1:] == (False, True)
    assert "nowhere cannot be used" in missing[0]
    assert bad[1:] == (True, True)
    assert "U+0001" in bad[0]


def test_a_missing_or_foreign_table_fails_the_start(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="does not exist: run `leasekeeper outbox create`"):
        Relay(Outbox(bench.dsn, table="absent")).start()
    bench.execute("COMMENT ON TABLE {t} IS 'leasekeeper outbox 99'")
    with pytest.raises(ConfigurationError, match="of another version"):
        bench.relay().start()
    with pytest.raises(LeasekeeperError, match="the database cannot be used"):
        Relay(Outbox("host=127.0.0.1 port=1")).start()


def test_other_drivers_may_write_rows_with_plain_sql(bench: Bench) -> None:
    statement = "INSERT INTO {t} (queue, body, attributes) VALUES ('q', 'a', %s), ('q', 'b', %s)"
    bench.execute(statement, '{"kind": "order", "weight": 1.5}', '{"blob": {"type": "Binary", "value": "?"}}')
    with bench.relay():
        bench.until(lambda: bench.bodies() == ["a"])
        bench.until(lambda: bench.execute("SELECT id FROM {t} WHERE failed IS NOT NULL"))
    kinds: list[Any] = []
    bench.on_server(
        lambda: kinds.extend(each.content.attributes for each in bench.sqs.broker.account.queues["q"].contents())
    )
    assert {name: value["StringValue"] for name, value in kinds[0].items()} == {"kind": "order", "weight": "1.5"}
