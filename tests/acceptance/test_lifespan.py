"""A lifespan under `leasekeeper run`, as a process: what signals and errors make of it."""

from __future__ import annotations

import signal
from typing import Any

import pytest

Bench = Any  # of conftest.py, which tests cannot import
CODE = """
    import asyncio
    from contextlib import asynccontextmanager
    from notes import note
    from leasekeeper import Leasekeeper

    def in_flight() -> str:
        import boto3, os
        sqs, name = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"]), "NumberOfMessagesNotVisible"
        url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return found["Approximate" + name]

    class Db:
        pass

    @asynccontextmanager
    async def resources(app):
        {opening}
        note("events", "open")
        yield Db()
        {closing}
        note("events", "closed")

    app = Leasekeeper(lifespan=resources)

    @app.consumer("orders", concurrency=4)
    async def ship(body: str, db: Db) -> None:
        note("events", "started")
        await asyncio.sleep({seconds})
        note("events", "finished")

    @app.consumer("invoices")
    def bill(body: str, db: Db) -> None:
        note("events", "billed")
"""


@pytest.fixture
def queues(shop: Bench) -> tuple[str, str]:
    return shop.queue("orders"), shop.queue("invoices")


def module(shop: Bench, *, opening: str = "pass", closing: str = "pass", seconds: float = 0.3) -> None:
    shop.module("shop", CODE.format(opening=opening, closing=closing, seconds=seconds))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_closes_after_the_last_ack(shop: Bench, queues: tuple[str, str], number: signal.Signals) -> None:
    """The file shows the order; when the lifespan closes, SQS has confirmed the deletes."""
    orders, invoices = queues
    shop.fill(orders, 40)
    shop.fill(invoices, 5)
    module(shop, closing="note('events', f'in flight {in_flight()}')")
    command = shop.leasekeeper("run", "shop:app")
    shop.until(lambda: shop.lines("events").count("started") >= 9, "handlers are at work")

    command.signal(number)

    assert command.end() == 0
    events = shop.lines("events")
    assert (events[0], *events[-2:]) == ("open", "in flight 0", "closed")
    assert (events.count("open"), events.count("closed"), events.count("billed")) == (1, 1, 5)
    assert events.count("started") == events.count("finished")
    assert shop.counts(orders) == (40 - events.count("finished"), 0)


def test_an_error_while_it_opens_ends_the_command_with_its_sentence(shop: Bench, queues: tuple[str, str]) -> None:
    shop.fill(queues[0], 1)
    module(shop, opening="raise ConnectionRefusedError('db:5432')")
    command = shop.leasekeeper("run", "shop:app")
    assert command.end() == 1
    assert "leasekeeper: lifespan resources failed to open: ConnectionRefusedError: db:5432\n" in command.err
    assert 'shop.py", line ' in command.err  # where it was raised
    assert shop.counts(queues[0]) == (1, 0)


def test_a_signal_while_it_opens_ends_the_command(shop: Bench, queues: tuple[str, str]) -> None:
    shop.fill(queues[0], 1)
    module(shop, opening="note('events', 'opening'); await asyncio.sleep(3600)")
    command = shop.leasekeeper("run", "shop:app")
    shop.until(lambda: shop.lines("events"), "it opens")
    command.signal()
    assert command.end() == 0
    assert shop.lines("events") == ["opening"]
    assert shop.counts(queues[0]) == (1, 0)


@pytest.mark.parametrize(
    ("closing", "sentence"),
    [
        ("raise OSError('gone')", "lifespan resources failed to close: OSError: gone"),
        ("await asyncio.sleep(3600)", "lifespan resources did not close in 0.1 s and was cancelled"),
        ("import time; time.sleep(3600)", "lifespan resources did not close in 0.1 s and is left behind"),
    ],
    ids=["raises", "takes too long", "blocks"],
)
def test_one_that_does_not_close_well_ends_in_time_with_exit_code_1(
    shop: Bench, queues: tuple[str, str], closing: str, sentence: str
) -> None:
    """L22: everything is settled all the same."""
    shop.fill(queues[0], 3)
    module(shop, closing=closing, seconds=0)
    command = shop.leasekeeper("run", "shop:app", "--lifespan-timeout", "0.1")
    shop.until(lambda: shop.counts(queues[0]) == (0, 0), "all are deleted")
    command.signal()
    assert command.end() == 1
    assert sentence in command.err
    assert "3 received: 3 done" in command.err


def test_a_forked_child_opens_its_own(shop: Bench, queues: tuple[str, str]) -> None:
    """The parent's is of no use there: its sockets and its loop are the parent's."""
    module(shop)
    shop.module(
        "program",
        """
        import os
        from notes import note
        from shop import app

        app.start()
        child = os.fork()
        if not child:
            app.start()
            app.stop()
            note("events", "child ends")
            os._exit(0)
        os.waitpid(child, 0)
        note("events", "parent goes on")
        app.stop()
        """,
    )
    command = shop.script("program")
    assert command.end() == 0
    assert shop.lines("events") == ["open", "open", "closed", "child ends", "parent goes on", "closed"]


def test_a_program_that_ends_without_a_stop_closes_it(shop: Bench, queues: tuple[str, str]) -> None:
    module(shop)
    shop.module("program", "from shop import app\n\napp.start()\n")
    command = shop.script("program")
    assert command.end() == 0
    assert shop.lines("events") == ["open", "closed"]
