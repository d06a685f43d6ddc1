"""Advice about scaling: its numbers, its reasons, and where it gets what was measured."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer
from leasekeeper.admin import AdminServer
from leasekeeper.api import Outgoing
from leasekeeper.cli.advice import Measured, advice, measured_lines, number, remarks, together
from leasekeeper.cli.errors import Stopped
from leasekeeper.cli.scale import Action, measured, report, scale
from leasekeeper.errors import ConfigurationError, Unusable
from leasekeeper.exit_codes import Exit
from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = Measured(
    queue="orders", slots=20, handler=0.2, utilisation=0.5, arrivals=400.0, visible=6000, replicas=5.2, drain=20.0
)
LONG = Measured(queue="films.fifo", slots=10, handler=3600.0, prefetch=0, drain=20.0)


def values(lines: list[Any]) -> dict[str, str]:
    return {line.name: line.value for line in lines}


def test_the_numbers_of_quick_handlers() -> None:
    assert values(measured_lines(QUICK)) == {
        "handler": "0.2 s",
        "capacity": "100/s",
        "utilisation": "50%",
        "arrivals": "400/s",
        "backlog": "6,000",
    }
    found = {line.name: line.value or line.why for line in advice(QUICK, 60)}
    assert found == {
        "in flight / process": "16",
        "visible / process": "6,000",
        "KEDA formula": "(all - visible) / 16 + visible / 6000, with the target 1",
        "ECS metric math": "(held / 16 + visible / 6000) / tasks, with the target 1",
        "processes now": "6",
    }
    assert values(advice(QUICK, 30))["visible / process"] == "3,000"


def test_hours_of_work_ask_for_a_process_by_what_is_in_flight() -> None:
    assert list(values(advice(LONG, 60)).values())[:2] == ["8", "0.167"]


@pytest.mark.parametrize(
    ("now", "latency", "said"),
    [
        (QUICK, 60, "counts are up to 60 s late"),
        (LONG, 600, "no number of processes makes one message faster"),
        (LONG, 7200, "scale-in cuts handlers off"),
        (LONG, 7200, "each message group keeps one handler busy"),
        (
            dataclasses.replace(QUICK, counted=True, held=40, in_flight=120.0),
            600,
            "other machines consume the queue too, so arrivals and processes are about 3 times these",
        ),
        (dataclasses.replace(QUICK, prefetch=100), 600, "100 messages may wait in each process"),
    ],
)
def test_what_else_matters(now: Measured, latency: float, said: str) -> None:
    assert any(said in remark for remark in remarks(now, latency))


def test_there_is_nothing_to_remark_on_the_usual() -> None:
    assert remarks(QUICK, 300) == []
    assert remarks(dataclasses.replace(QUICK, counted=True, held=40, in_flight=79.0), 300) == []


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.0123"), (12.34, "12.3"), (12345.6, "12,346"), (0.0, "0")])
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


FAILING = dataclasses.replace(QUICK, handler=0.006, rate=1.0, given_back=9.0, again=9.0, arrivals=1.0)


def test_while_most_runs_fail_there_is_no_advice() -> None:
    """The time of a handler that raises at once is not that of its work."""
    lines = "\n".join(report(FAILING, 60))
    assert "90% of the runs failed in the last minute, so there is no advice" in " ".join(lines.split())
    assert "KEDA" not in lines
    assert "for a latency" not in lines
    some = dataclasses.replace(FAILING, handler=0.2, rate=200.0, given_back=200.0, again=200.0, arrivals=200.0)
    assert values(advice(some, 60))["processes now"] == "6"  # 400 runs a second, and the backlog
    assert together([FAILING, FAILING]).failing == 0.9


def test_a_young_process_is_told_to_work_for_a_minute() -> None:
    """After four seconds of a burst its rates say nothing of the queue, or of other processes."""
    young = dataclasses.replace(QUICK, seconds=4.2)
    text = " ".join(" ".join(report(young, 60)).split())
    assert "the process has worked for 4 s: ask again when it has worked for 60 s" in text
    assert "arrivals 4" not in text
    assert "processes now" not in text
    assert values(advice(young, 60))["in flight / process"] == "16"
    assert not together([young, QUICK]).young


def test_a_report_fits_into_a_terminal() -> None:
    lines = report(LONG, 60)
    assert lines[0] == "queue films.fifo"
    assert max(map(len, lines)) <= 100


def test_a_consumer_that_has_done_nothing_gives_no_advice() -> None:
    assert measured({"queue": "a", "statistics": None}) is None


def test_the_processes_of_a_queue_are_one_report_that_counts_them() -> None:
    one, other = (
        dataclasses.replace(
            QUICK, rate=rate, growth=10.0, arrivals=arrivals, utilisation=used, visible=visible, age=age
        )
        for rate, arrivals, used, visible, age in ((50.0, 400.0, 0.4, 900, 28.0), (70.0, 300.0, 0.6, 463, 20.0))
    )
    now = together([one, other])
    found = {line.name: (line.value, line.why) for line in [*measured_lines(now), *advice(now, 60)]}
    assert found["arrivals"] == (
        "130/s",
        "to the queue, by what the 2 processes here finish; those of other machines are not counted",
    )
    assert found["backlog"] == ("463", "messages that can be received, counted by SQS 20 s ago")
    assert found["utilisation"][0] == "50%"
    assert found["processes now"] == ("2", "arrivals at a utilisation of 0.8, and the backlog of 20 s ago within 60 s")
    assert together([one]) is one


def test_a_queue_of_two_processes_is_printed_and_named_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statistics = {
        "throttler": {"handler": 0.2, "prefetch": 0},
        "load": {"slots": 20, "utilisation": 0.5, "rate": 50.0, "given_back": 0.0},
        "seconds": 300.0,
        "scaling": None,
        "ledger": {"held": {"running": 10}},
    }
    consumers = [
        {"queue": queue, "statistics": statistics, "drain_timeout": 20.0}
        for queue in ("orders", "shipped", "orders", "shipped")
    ]
    monkeypatch.setattr("leasekeeper.cli.scale._status", lambda _: {"consumers": consumers})
    advise("http://127.0.0.1:9900")
    assert capsys.readouterr().out.count("queue orders\n") == 1
    with pytest.raises(ConfigurationError, match=r"consumes orders, shipped, not nope$"):
        scale(Action.ADVISE, "nope", admin="1", concurrency=None, handler_seconds=None)


# The command


@pytest.fixture
def server() -> Iterator[AdminServer]:
    """A consumer that has handled ten messages, and its admin surface."""
    with LocalSqs() as sqs:
        where: dict[str, Any] = {"endpoint_url": sqs.endpoint_url, "region": "us-east-1"}

        async def send() -> None:
            async with await SqsClient.connect(ClientSettings(**where)) as client:
                url = await client.create_queue("orders")
                await client.send_batch(url, [Outgoing(body=str(each)) for each in range(10)])

        async def handle(_body: str) -> None:
            await asyncio.sleep(0.01)

        asyncio.run(send())
        consumer = Consumer("orders", handle, concurrency=10, poll_grace=0, **where)
        with AdminServer(consumer, address="0") as server:
            consumer.start()
            _wait_for_ten(consumer)
            yield server
            consumer.stop()


def _wait_for_ten(consumer: Consumer) -> None:
    for _ in range(3000):
        now = consumer.statistics()
        if now is not None and now.work.done == 10:
            return
        threading.Event().wait(0.01)
    raise AssertionError(consumer)


def advise(target: str, **values: Any) -> None:
    given: dict[str, Any] = {"latency": 60.0, "admin": "1", "concurrency": None, "handler_seconds": None}
    with pytest.raises(Stopped) as stopped:
        scale(Action.ADVISE, target, **given | values)
    assert stopped.value.code is Exit.CLEAN


@pytest.mark.slow
def test_it_asks_a_running_consumer(server: AdminServer, capsys: pytest.CaptureFixture[str]) -> None:
    advise(server.url)
    by_url = capsys.readouterr().out
    advise("orders", admin=server.url.removeprefix("http://"))
    by_name = capsys.readouterr().out
    for text in (by_url, by_name):
        assert text.startswith("queue orders\n  handler ")
        assert "10 messages at the same time" in text
        assert "KEDA formula" in text
    with pytest.raises(ConfigurationError, match=r"consumes orders, not bills"):
        scale(Action.ADVISE, "bills", admin=server.url.removeprefix("http://"))


def test_another_program_at_the_address_is_called_so() -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n<html>no</html>")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        with pytest.raises(Unusable, match="what answers there is no admin surface of Leasekeeper"):
            scale(
                Action.ADVISE,
                f"http://127.0.0.1:{listener.getsockname()[1]}",
                latency=60,
                admin="1",
                concurrency=None,
                handler_seconds=None,
            )


def test_it_needs_no_consumer_when_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    advise("orders", concurrency=20, handler_seconds=0.2)
    assert "(all - visible) / 16 + visible / 6000" in capsys.readouterr().out


def test_what_it_cannot_use_is_said(closed_port: int) -> None:
    with pytest.raises(ConfigurationError, match="belong together"):
        scale(Action.ADVISE, "orders", concurrency=20)
    with pytest.raises(
        Unusable, match=rf"127\.0\.0\.1:{closed_port}: Connection refused; run it with --admin, or give --concurrency"
    ):
        scale(Action.ADVISE, "orders", admin=f"127.0.0.1:{closed_port}")
