"""The relay, on a real Postgres and the local SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from leasekeeper.errors import ConfigurationError, LeasekeeperError
from leasekeeper.outbox import Outbox, Relay
from leasekeeper.outbox.statements import BRING_BACK

if TYPE_CHECKING:
    from outbox_bench import Bench


def test_rows_are_sent_once_they_are_committed_and_then_deleted(bench: Bench) -> None:
    with bench.relay(poll=60) as relay:
        with psycopg.connect(bench.dsn) as connection:
            for number in range(25):
                bench.outbox.add(connection, "q", str(number), attributes={"kind": "order"})
            assert bench.bodies() == []
        # Woken by the notification: the next look is a minute away.
        bench.until(lambda: bench.empty and relay.statistics().calls == 3)
    assert sorted(bench.bodies(), key=int) == [str(number) for number in range(25)]
    assert relay.statistics().sent == 25


def test_rows_of_a_group_are_sent_in_the_order_of_their_ids(bench: Bench) -> None:
    for group in "ab":
        bench.add("q.fifo", *(f"{group}{number:02}" for number in range(30)), group=group)
    with bench.relay(), bench.relay(), bench.relay(strict_order=False):
        bench.until(lambda: bench.empty)
    for group in "ab":
        assert bench.bodies("q.fifo", group) == [f"{group}{number:02}" for number in range(30)]


def test_a_row_that_is_sent_again_is_one_message_of_a_fifo_queue(bench: Bench) -> None:
    bench.add("q.fifo", "a", "b", "c", group="g")
    bench.sqs.faults.next("SendMessageBatch", lose_by_reset=1.0)
    with bench.relay() as relay:
        bench.until(lambda: bench.empty and relay.statistics().retried == 1)
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


def test_a_missing_or_foreign_table_fails_the_start(bench: Bench, closed_port: int) -> None:
    with pytest.raises(ConfigurationError, match="does not exist: run `leasekeeper outbox create --table absent --dsn"):
        Relay(Outbox(bench.dsn, table="absent")).start()
    bench.execute("COMMENT ON TABLE {t} IS 'leasekeeper outbox 99'")
    with pytest.raises(ConfigurationError, match="of another version"):
        bench.relay().start()
    with pytest.raises(LeasekeeperError, match="the database cannot be used"):
        Relay(Outbox(f"host=127.0.0.1 port={closed_port}")).start()


def test_other_drivers_may_write_rows_with_plain_sql(bench: Bench) -> None:
    statement = "INSERT INTO {t} (queue, body, attributes) VALUES ('q', 'a', %s), ('q', 'b', %s)"
    bench.execute(statement, '{"kind": "order", "weight": 1.5}', '{"blob": {"type": "Binary", "value": "?"}}')
    with bench.relay():
        bench.until(lambda: bench.bodies() == ["a"])
        bench.until(lambda: bench.execute("SELECT id FROM {t} WHERE failed IS NOT NULL"))
    kinds: list[Any] = []
    bench.sqs.on_loop(
        lambda: kinds.extend(each.content.attributes for each in bench.sqs.broker.account.queues["q"].contents())
    )
    assert {name: value["StringValue"] for name, value in kinds[0].items()} == {"kind": "order", "weight": "1.5"}


def test_a_relay_that_is_killed_leaves_its_rows_to_the_next(bench: Bench) -> None:
    for group in "ab":
        bench.add("q.fifo", *(f"{group}{number}" for number in range(40)), group=group)
    bench.sqs.faults.set("SendMessageBatch", latency=0.02)
    with bench.relay_process() as process:
        bench.until(lambda: len(bench.bodies("q.fifo")) > 10)
        process.kill()
    assert not bench.empty
    with bench.relay():
        bench.until(lambda: bench.empty)
    for group in "ab":  # each once, because the deduplication id of a row stays
        assert bench.bodies("q.fifo", group) == [f"{group}{number}" for number in range(40)]


def test_a_lower_id_that_commits_later_is_sent_later(bench: Bench) -> None:
    with psycopg.connect(bench.dsn) as slow, bench.relay():
        bench.outbox.add(slow, "q.fifo", "first id", group="g")
        bench.add("q.fifo", "second id", "third id", group="g")
        bench.until(lambda: len(bench.bodies("q.fifo")) == 2)
        slow.commit()
        bench.until(lambda: bench.empty)
    assert bench.bodies("q.fifo") == ["second id", "third id", "first id"]


def test_two_relays_never_work_on_one_group_at_once(bench: Bench) -> None:
    """With `SKIP LOCKED` on rows alone, the second relay would take the rows behind those that the first has locked."""
    bench.add("q.fifo", *range(60), group="g")
    bench.sqs.faults.set("SendMessageBatch", latency=0.005)
    with bench.relay(poll=0.01), bench.relay(poll=0.01), bench.relay(poll=0.01):
        bench.until(lambda: bench.empty)
    assert bench.bodies("q.fifo") == [str(number) for number in range(60)]


def test_a_group_keeps_its_order_when_single_messages_fail(bench: Bench) -> None:
    for group in "gh":
        bench.add("q.fifo", *(f"{group}{number}" for number in range(20)), group=group)
    bench.sqs.faults.set("SendMessageBatch", fail_entries=0.2)
    with bench.relay(poll=0.01) as relay:
        bench.until(lambda: bench.empty)
        assert relay.statistics().retried > 0
    for group in "gh":
        assert bench.bodies("q.fifo", group) == [f"{group}{number}" for number in range(20)]


def test_a_relay_goes_on_when_the_database_was_away(bench: Bench) -> None:
    with bench.relay() as relay:
        bench.add("q", "a")
        bench.until(lambda: bench.empty)
        for _ in range(3):
            bench.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        bench.add("q", "b")
        bench.until(lambda: bench.empty)
        bench.until(lambda: relay.statistics().connected)
    assert bench.bodies() == ["a", "b"]


def test_a_row_with_a_delay_waits_in_the_table(bench: Bench) -> None:
    bench.add("q", "later", delay=3600)
    bench.add("q", "now")
    with bench.relay() as relay:
        bench.until(lambda: bench.bodies() == ["now"])
        bench.until(lambda: [(each.waiting, each.scheduled) for each in relay.statistics().queues] == [(0, 1)])
        bench.execute("UPDATE {t} SET due = now()")
        bench.until(lambda: bench.empty)
    assert bench.bodies() == ["now", "later"]


def test_the_lag_is_the_age_of_the_oldest_row_that_waits(bench: Bench) -> None:
    bench.add("q", "a", "b")
    bench.execute("UPDATE {t} SET due = now() - interval '100 s'")
    bench.add("q", "c")
    bench.sqs.faults.set("SendMessageBatch", throttle=1.0)
    with bench.relay() as relay:
        bench.until(lambda: relay.statistics().waiting == 3)
        assert 100 <= relay.statistics().oldest < 200


def test_a_row_that_was_set_aside_can_be_tried_again(bench: Bench) -> None:
    bench.add("q", "a" * 2000)
    bench.call(
        "SetQueueAttributes",
        QueueUrl=f"{bench.sqs.endpoint_url}/000000000000/q",
        Attributes={"MaximumMessageSize": "1024"},
    )
    with bench.relay():
        bench.until(lambda: bench.execute("SELECT id FROM {t} WHERE failed IS NOT NULL"))
    bench.execute("UPDATE {t} SET body = 'short'")
    bench.execute(bench.outbox.statement(BRING_BACK).replace("%(queue)s", "NULL"))
    with bench.relay():
        bench.until(lambda: bench.empty)
    assert bench.bodies() == ["short"]
