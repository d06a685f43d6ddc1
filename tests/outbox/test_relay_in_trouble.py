"""A relay among rows that are no messages, locked tables, a slow SQS and unusual defaults of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from leasekeeper.outbox import queue_work, relay_loop

if TYPE_CHECKING:
    import pytest
    from outbox_bench import Bench


def test_a_row_that_is_no_message_is_set_aside_and_stops_no_other(bench: Bench) -> None:
    for attributes in ('{"a": {"type": "Binary", "value": "é"}}', f'{{"a": {"9" * 5000}}}', "[]", '{"a": null}'):
        bench.execute("INSERT INTO {t} (queue, body, attributes) VALUES ('q', 'bad', %s)", attributes)
    bench.execute("INSERT INTO {t} (queue, body, group_id) VALUES ('q', 'bad', '')")
    bench.add("q", "good")
    with bench.relay():
        bench.until(lambda: bench.bodies() == ["good"])
        bench.until(lambda: len(bench.execute("SELECT id FROM {t} WHERE failed IS NOT NULL")) == 5)
    errors = [error for (error,) in bench.execute("SELECT error FROM {t} ORDER BY id")]
    assert "attribute a: the value is not base64" in errors[0]
    assert all(errors)


def test_a_look_that_gets_no_answer_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_loop, "LOOK", 0.2)
    with bench.relay() as relay:
        bench.add("q", "a")
        bench.until(lambda: bench.empty)
        with psycopg.connect(bench.dsn) as connection:
            connection.execute(f"LOCK TABLE {bench.outbox.table} IN ACCESS EXCLUSIVE MODE".encode())
            bench.until(lambda: not relay.statistics().connected)
        bench.add("q", "b")
        bench.until(lambda: bench.empty)


def test_looks_do_not_wait_for_queues_that_are_slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_loop, "CONNECTIONS", 1)
    bench.add("q", "a")
    bench.sqs.faults.set("SendMessageBatch", latency=8)
    with bench.relay(poll=0.01) as relay:
        bench.until(lambda: relay.statistics().waiting == 1)
        bench.add("q.fifo", "b", group="g")
        bench.until(lambda: relay.statistics().waiting == 2)  # seen, while the only connection for queues is taken
        assert bench.bodies() == []
        bench.sqs.faults.set("SendMessageBatch")
        bench.until(lambda: bench.empty)


def test_a_relay_that_is_stopped_while_it_looks_begins_nothing(bench: Bench) -> None:
    bench.add("q", *range(50))
    with psycopg.connect(bench.dsn) as connection:
        connection.execute(f"LOCK TABLE {bench.outbox.table} IN ACCESS EXCLUSIVE MODE".encode())
        relay = bench.relay()
        relay.start()
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
        bench.until(lambda: bench.execute(waiting))
        ended = relay.finish()
        bench.until(lambda: relay._loop is None or relay._loop.closed.is_set())
    assert ended.result(30).sent == 0
    assert bench.bodies() == []


def test_a_slow_queue_is_confirmed_step_by_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that is rolled back at its time limit would send the same rows again, for ever."""
    monkeypatch.setattr(queue_work, "PASS", 4)
    monkeypatch.setattr(queue_work, "SENDING", 0.6)
    bench.add("q.fifo", *range(12), group="g")
    bench.sqs.faults.set("SendMessageBatch", latency=0.5)
    with bench.relay() as relay:
        bench.until(lambda: bench.empty and relay.statistics().sent == 12)
    assert bench.bodies("q.fifo") == [str(number) for number in range(12)]


def test_relays_do_not_depend_on_the_isolation_level_of_the_database(bench: Bench) -> None:
    with psycopg.connect(bench.dsn, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'".encode())
    try:
        bench.add("q", *range(400))
        bench.sqs.faults.set("SendMessageBatch", latency=0.005)
        with bench.relay() as one, bench.relay() as other:
            bench.until(lambda: bench.empty and one.statistics().sent + other.statistics().sent == 400)
    finally:
        with psycopg.connect(bench.dsn, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_isolation".encode())
    assert sorted(map(int, bench.bodies())) == list(range(400))


def test_a_fifo_queue_with_two_names_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    url = f"{bench.sqs.endpoint_url}/000000000000/q.fifo"
    with bench.relay(poll=0.02):
        for _ in range(2):
            bench.add("q.fifo", "a", group="g")
            bench.add(url, "b", group="g")
            bench.until(lambda: bench.empty)
            bench.until(lambda: "name it in one way" in caplog.text)
    assert caplog.text.count("rows name one queue as") == 1
