"""Rows that are too large for a message: their payloads go to S3, and messages point to them. On a real Postgres."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from leasekeeper.api import MAX_BYTES
from leasekeeper.errors import ConfigurationError
from leasekeeper.local.objects import Objects
from leasekeeper.outbox import outbox, row_payloads
from leasekeeper.outbox.connections import Connections
from leasekeeper.outbox.row_payloads import RowPayloads
from leasekeeper.outbox.rows import Row
from leasekeeper.payload import PayloadUnavailable
from leasekeeper.payloads import S3Payloads
from leasekeeper.sending.outgoing import TargetQueue

if TYPE_CHECKING:
    from outbox_bench import Bench

LARGE = 1_100_000


def _keys(bench: Bench, queue: str = "q") -> list[str]:
    """The keys that messages point to; the bodies of the others."""
    return [json.loads(body)[1]["s3Key"] if body.startswith("[") else body for body in bench.bodies(queue)]


def test_a_large_payload_is_stored_and_its_message_points_to_it(bench: Bench) -> None:
    bench.keep_payloads()
    bench.add("q", "x" * LARGE, "small", attributes={"kind": "order"})
    assert not bench.objects.calls  # nothing is stored in the transaction
    with bench.relay() as relay:
        bench.until(lambda: bench.empty and relay.statistics().sent == 2)
    [((bucket, key), stored)] = bench.objects.stored.items()
    assert (bucket, key[:5], stored.data) == ("bucket", "docs/", b"x" * LARGE)
    assert _keys(bench) == ["small", key]
    kinds: list[Any] = []
    bench.sqs.on_loop(
        lambda: kinds.extend(each.content.attributes for each in bench.sqs.broker.account.queues["q"].contents())
    )
    assert [sorted(each) for each in kinds] == [["kind"], ["ExtendedPayloadSize", "kind"]]
    assert kinds[1]["ExtendedPayloadSize"]["StringValue"] == str(LARGE)


def test_a_transaction_that_is_rolled_back_leaves_no_object(bench: Bench) -> None:
    bench.keep_payloads()
    with bench.relay(), psycopg.connect(bench.dsn) as connection:
        bench.outbox.add(connection, "q", "x" * LARGE)
        connection.rollback()
        bench.add("q", "after")
        bench.until(lambda: bench.bodies() == ["after"])
    assert not bench.objects.calls


def test_a_group_keeps_its_order_behind_a_large_payload(bench: Bench) -> None:
    bench.keep_payloads()
    bench.add("q.fifo", "a", "x" * LARGE, "c", group="g")
    bench.add("q.fifo", "other", group="h")
    failures = iter("ab")

    def fail(operation: str, *_: str) -> None:
        if operation == "put" and next(failures, None):
            raise PayloadUnavailable("put: SlowDown")

    bench.objects.fault = fail
    with bench.relay(poll=0.02), bench.relay(poll=0.02):
        bench.until(lambda: bench.empty)
    [(_, key)] = bench.objects.stored
    assert [body for body in _keys(bench, "q.fifo") if body != "other"] == ["a", key, "c"]


def test_s3_that_is_away_holds_up_no_small_message_and_counts_as_a_try(bench: Bench) -> None:
    bench.keep_payloads()

    def away(*_: str) -> None:
        raise PayloadUnavailable("put s3://bucket: the connection was refused")

    bench.objects.fault = away
    bench.add("q", "x" * LARGE, "y" * LARGE, "small")
    with bench.relay():
        bench.until(lambda: bench.bodies() == ["small"])
        bench.until(lambda: bench.execute("SELECT id FROM {t} WHERE attempts > 1"))
        errors = bench.execute("SELECT DISTINCT error, failed FROM {t}")
        assert errors == [("put s3://bucket: the connection was refused", None)]
        bench.objects.fault = None
        bench.execute("UPDATE {t} SET retry = now()")
        bench.until(lambda: bench.empty)
    assert len(bench.bodies()) == 3


def test_a_relay_that_dies_after_the_put_leaves_no_litter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next relay stores the payload under the same key, and the message that it sends points there."""
    bench.keep_payloads()
    bench.add("q", "x" * LARGE)
    monkeypatch.setattr("leasekeeper.outbox.row_payloads.POINT", "SELECT pg_terminate_backend(pg_backend_pid())")
    with bench.relay(poll=0.02):
        bench.until(lambda: len(bench.objects.calls) > 1)
    assert not bench.bodies()
    monkeypatch.undo()
    with bench.relay():
        bench.until(lambda: bench.empty)
    [(_, key)] = bench.objects.stored
    assert _keys(bench) == [key]


def test_an_answer_that_is_lost_does_not_store_the_payload_again(bench: Bench) -> None:
    bench.keep_payloads()
    bench.add("q.fifo", "x" * LARGE, group="g")
    bench.sqs.faults.next("SendMessageBatch", lose_by_reset=1.0)
    with bench.relay():
        bench.until(lambda: bench.empty)
    assert [operation for operation, *_ in bench.objects.calls] == ["put"]
    assert _keys(bench, "q.fifo") == [key for _, key in bench.objects.stored]


def test_everything_can_go_to_s3_and_goes_there_once(bench: Bench) -> None:
    bench.keep_payloads(S3Payloads("bucket", above=0, pointer="legacy", client=bench.objects))
    bench.add("q", "small")
    with bench.relay():
        bench.until(lambda: bench.empty)
    assert _keys(bench) == [key for _, key in bench.objects.stored]
    assert "MessageS3Pointer" in bench.bodies()[0]


def test_a_payload_that_another_relay_has_stored_is_not_stored_again(bench: Bench) -> None:
    """Both have read the row when it was large; the second comes to it when it points to its payload."""
    bench.keep_payloads(S3Payloads("bucket", above=0, client=bench.objects))
    bench.add("q", "small")
    [(number,)] = bench.execute("SELECT id FROM {t}")
    row = Row(number, None, "", "small", "{}", 0, 5)
    target = TargetQueue("q", fifo=False, content_based=False, most_bytes=MAX_BYTES, payloads=bench.outbox.payloads)

    async def store_twice() -> None:
        connections = Connections(bench.dsn, 1)
        for _ in range(2):
            stored = await RowPayloads(bench.outbox, connections, bench.objects).store([row], target)
            assert (stored.again, stored.refused) == ([], [])
        await connections.close()

    asyncio.run(store_twice())
    assert [stored.data for stored in bench.objects.stored.values()] == [b"small"]
    with bench.relay():
        bench.until(lambda: bench.empty)
    assert _keys(bench) == [key for _, key in bench.objects.stored]


def test_without_a_place_a_large_row_is_set_aside_and_can_be_brought_back(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="a Sender or an Outbox with payloads="):
        bench.add("q", "x" * LARGE)
    bench.execute("INSERT INTO {t} (queue, body) VALUES ('q', repeat('x', %s))", LARGE)
    with bench.relay():
        bench.until(lambda: bench.execute("SELECT id FROM {t} WHERE failed IS NOT NULL"))
    [(error,)] = bench.execute("SELECT error FROM {t}")
    assert "the body has 1,100,000 bytes, and the queue takes at most 1,048,576: an Outbox with payloads=" in error
    bench.keep_payloads()
    bench.execute("UPDATE {t} SET failed = NULL, retry = now()")
    with bench.relay():
        bench.until(lambda: bench.empty)
    assert len(bench.objects.stored) == 1


def test_what_cannot_be_a_message_is_set_aside_before_it_is_stored(bench: Bench) -> None:
    bench.keep_payloads()
    bench.execute("INSERT INTO {t} (queue, body) VALUES ('q', repeat('x', %s) || chr(1))", LARGE)
    with bench.relay() as relay:
        bench.until(lambda: bench.execute("SELECT id FROM {t} WHERE failed IS NOT NULL"))
        bench.until(lambda: relay.statistics().refused == 1)
    assert not bench.objects.calls


def test_a_payload_that_is_too_large_for_a_row_is_refused_by_add(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.keep_payloads()
    monkeypatch.setattr(outbox, "LARGEST", LARGE)
    with pytest.raises(ConfigurationError, match="a row of an outbox takes at most 1,100,000"):
        bench.outbox.values("q", "x" * (LARGE + 1))
    with pytest.raises(ConfigurationError, match="10 attributes, and a message with its payload in S3 has room for 9"):
        bench.outbox.values("q", "x" * LARGE, attributes={f"a{number}": "1" for number in range(10)})


def test_many_large_rows_do_not_hold_up_small_ones(bench: Bench) -> None:
    bench.keep_payloads(S3Payloads("bucket", above=1000, client=bench.objects))
    bench.objects.latency = 0.01
    bench.add("q", *["x" * 2000] * (row_payloads.TOGETHER + 5))
    with bench.relay():
        bench.until(lambda: bench.objects.calls)
        bench.add("q", "small")
        bench.until(lambda: bench.empty)
    sent = _keys(bench)
    assert len(sent) == row_payloads.TOGETHER + 6
    assert sent.index("small") < len(sent) - 1


def test_a_missing_bucket_refuses_the_start(bench: Bench) -> None:
    class Empty(Objects):
        async def exists(self, _: str) -> bool:
            return False

    bench.keep_payloads(S3Payloads("absent", client=Empty()))
    with pytest.raises(ConfigurationError, match="bucket absent does not exist"):
        bench.relay().start()
