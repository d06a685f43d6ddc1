"""`leasekeeper run`, as a process, on messages that boto3 sent."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from leasekeeper.local import LocalSqs

Bench = Any  # of conftest.py, which tests cannot import
COROUTINE = """
    import asyncio
    from notes import note
    from leasekeeper import Leasekeeper

    app = Leasekeeper()

    @app.consumer("orders", concurrency=4)
    async def ship(body: str) -> None:
        note("started", body)
        await asyncio.sleep({seconds})
        note("finished", body)
"""
THREADS = COROUTINE.replace("async def", "def").replace("await asyncio.sleep", "__import__('time').sleep")
BLOCKING = COROUTINE.replace("await asyncio.sleep", "__import__('time').sleep")


@pytest.mark.parametrize("code", [COROUTINE, THREADS], ids=["coroutines", "threads"])
def test_everything_is_handled_once_deleted_and_reported(shop: Bench, code: str) -> None:
    url = shop.queue("orders")
    sent = shop.fill(url, 200)
    shop.module("shop", code.format(seconds=0.001))

    command = shop.leasekeeper("run", "shop:app")
    shop.until(lambda: shop.counts(url) == (0, 0), "the queue is empty")
    command.signal()

    assert command.end() == 0
    assert sorted(shop.lines("finished")) == sorted(sent)
    assert "queue orders: 200 received: 200 done" in command.err
    assert "; stopped by SIGTERM: drained in " in command.err


@pytest.mark.parametrize("code", [COROUTINE, THREADS], ids=["coroutines", "threads"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_loses_nothing_and_leaves_nothing_hidden(
    shop: Bench, code: str, number: signal.Signals
) -> None:
    """L1, L22, L24: what was finished is deleted, what was not started is visible at once, nothing is in between."""
    url = shop.queue("orders")
    sent = shop.fill(url, 60)
    shop.module("shop", code.format(seconds=0.3))
    command = shop.leasekeeper("run", "shop:app")
    shop.until(lambda: len(shop.lines("started")) >= 9, "handlers are at work")

    began = time.monotonic()
    command.signal(number)
    assert command.end() == 0

    assert time.monotonic() - began < 10  # a 0.3 s handler, 1 s of grace for polls, and a slow machine
    finished, started = shop.lines("finished"), shop.lines("started")
    assert sorted(started) == sorted(finished)  # what ran was let finish
    assert len(set(finished)) == len(finished)
    visible, hidden = shop.counts(url)
    assert (visible, hidden) == (len(sent) - len(finished), 0)
    assert set(shop.bodies(url)) == sent - set(finished)


def test_a_second_signal_cuts_the_drain_short_and_gives_back_what_ran(shop: Bench) -> None:
    """L22: a second signal forces."""
    url = shop.queue("orders")
    shop.fill(url, 10)
    shop.module("shop", COROUTINE.format(seconds=3600))
    command = shop.leasekeeper("run", "shop:app", "--drain-timeout", "1000")
    shop.until(lambda: len(shop.lines("started")) == 4, "handlers are at work")
    command.signal()
    command.until_it_says("a second signal cuts that short")

    def forced() -> bool:
        command.signal()  # what comes within a moment is the same signal
        return "a second signal:" in command.err

    shop.until(forced, "a second signal counts")

    assert command.end() == 130  # all settled, but by giving work up
    assert "cut the drain short: 4 messages come again (4 given back by the cancelling of handlers" in command.err
    assert command.err.count("a second signal: what runs is cancelled and given back") == 1
    assert shop.lines("finished") == []
    assert shop.counts(url) == (10, 0)


def test_two_signals_at_once_are_a_forced_stop_and_no_deadlock(shop: Bench) -> None:
    """Process managers signal a process and its group, so that one handler interrupts the other."""
    url = shop.queue("orders")
    shop.fill(url, 4)
    shop.module("shop", COROUTINE.format(seconds=3600))
    command = shop.leasekeeper("run", "shop:app", "--drain-timeout", "1000", "--no-supervisor")
    shop.until(lambda: len(shop.lines("started")) == 4, "handlers are at work")

    def ended() -> bool:
        command.signal()  # two that come as one count as one
        command.signal()
        return command.process.poll() is not None

    shop.until(ended, "the process ends")
    assert command.end() == 130
    assert shop.counts(url) == (4, 0)


def test_the_drain_timeout_ends_handlers_that_do_not_finish(shop: Bench) -> None:
    """L22: at the deadline cancel and release."""
    url = shop.queue("orders")
    shop.fill(url, 4)
    shop.module("shop", COROUTINE.format(seconds=3600))
    command = shop.leasekeeper("run", "shop:app", LEASEKEEPER_DRAIN_TIMEOUT="0.2")
    shop.until(lambda: len(shop.lines("started")) == 4, "handlers are at work")

    command.signal()

    assert command.end() == 0
    assert shop.counts(url) == (4, 0)


def test_a_thread_that_never_ends_does_not_keep_the_process_and_its_message_is_not_given_back(shop: Bench) -> None:
    """L22: threads cannot be ended, so their messages are not released."""
    url = shop.queue("orders")
    shop.fill(url, 1)
    shop.module("shop", THREADS.format(seconds=3600))
    command = shop.leasekeeper("run", "shop:app", "--drain-timeout", "0.2")
    shop.until(lambda: len(shop.lines("started")) == 1, "the handler is at work")

    command.signal()

    assert command.end() == 1
    assert "1 unsettled" in command.err
    assert shop.counts(url) == (0, 1)


def test_deletes_that_are_not_confirmed_are_no_success(shop: Bench) -> None:
    """L12: the exit code is 1, and one line says how many messages come again."""
    url = shop.queue("orders")
    shop.fill(url, 3)
    shop.sqs.faults.set("DeleteMessageBatch", unavailable=1.0)
    shop.module("shop", COROUTINE.format(seconds=0.001))
    command = shop.leasekeeper("run", "shop:app", "--flush-timeout", "0.5")
    shop.until(lambda: len(shop.lines("finished")) == 3, "all are handled")

    command.signal()

    assert command.end() == 1
    assert (
        "ERROR leasekeeper.run: queue orders: 3 messages were received and not settled; they come again" in command.err
    )


def test_after_kill_the_messages_come_back_and_another_process_handles_them(shop: Bench) -> None:
    url = shop.queue("orders")
    sent = shop.fill(url, 12)
    shop.module("shop", COROUTINE.format(seconds=3600))
    first = shop.leasekeeper("run", "shop:app", "--visibility-timeout", "2", "--no-supervisor")
    shop.until(lambda: len(shop.lines("started")) == 4, "handlers are at work")
    first.signal(signal.SIGKILL)
    assert first.end() == -signal.SIGKILL
    assert shop.lines("finished") == []

    shop.module("shop", COROUTINE.format(seconds=0.001))
    second = shop.leasekeeper("run", "shop:app")
    shop.until(lambda: shop.counts(url) == (0, 0), "the queue is empty")
    second.signal()

    assert second.end() == 0
    assert sorted(shop.lines("finished")) == sorted(sent)


def test_a_signal_while_it_starts_is_a_clean_stop(shop: Bench) -> None:
    shop.queue("orders")
    shop.module("shop", COROUTINE.format(seconds=1))
    shop.sqs.faults.set("GetQueueUrl", latency=2.0)
    command = shop.leasekeeper("run", "shop:app")
    shop.until(lambda: shop.sqs.calls["GetQueueUrl"] == 1, "it asks for the queue")

    command.signal()

    assert command.end() == 0


def test_a_handler_that_blocks_its_loop_finishes_and_is_acked_though_the_signal_came_in_the_middle(shop: Bench) -> None:
    """L9: a handler that blocks its loop for longer than the visibility timeout stops no heartbeat."""
    url = shop.queue("orders")
    shop.fill(url, 1)
    shop.module("shop", BLOCKING.format(seconds=3))
    command = shop.leasekeeper("run", "shop:app", "--visibility-timeout", "1")
    shop.until(lambda: len(shop.lines("started")) == 1, "the handler is at work")

    command.signal()

    assert command.end() == 0
    assert shop.lines("started") == shop.lines("finished") == ["m0"]
    assert shop.counts(url) == (0, 0)


def test_a_handler_that_blocks_its_loop_for_ever_does_not_keep_the_process(shop: Bench) -> None:
    url = shop.queue("orders")
    shop.fill(url, 1)
    shop.module("shop", BLOCKING.format(seconds=3600))
    command = shop.leasekeeper("run", "shop:app", "--drain-timeout", "0.2")
    shop.until(lambda: len(shop.lines("started")) == 1, "the handler is at work")

    command.signal()

    assert command.end() == 1
    assert "the main thread is still in ship (shop.py, line 11); the process ends without it" in command.err
    assert "queue orders: 1 received" in command.err


def test_a_call_that_hangs_in_an_executor_does_not_keep_the_process(shop: Bench) -> None:
    """Its handler is cancelled and its message given back; the thread beneath it goes with the process."""
    url = shop.queue("orders")
    shop.fill(url, 1)
    shop.module(
        "shop", COROUTINE.replace("asyncio.sleep(", "asyncio.to_thread(__import__('time').sleep, ").format(seconds=3600)
    )
    command = shop.leasekeeper("run", "shop:app", "--drain-timeout", "0.2")
    shop.until(lambda: len(shop.lines("started")) == 1, "the handler is at work")

    command.signal()

    assert command.end() == 0  # every message is settled
    assert "blocking call sleep() did not end in 1.5 s after the stop and is left behind" in command.err
    assert shop.counts(url) == (1, 0)


def test_several_targets_run_in_one_process_and_stop_together(shop: Bench) -> None:
    urls = [shop.queue("orders"), shop.queue("bills")]
    for url in urls:
        shop.fill(url, 30)
    shop.module("shop", COROUTINE.format(seconds=0.001))
    shop.module(
        "billing",
        """
        from notes import note
        from leasekeeper import Consumer

        def bill(body: str) -> None:
            note("billed", body)

        consumer = Consumer("bills", bill)
        """,
    )

    command = shop.leasekeeper("run", "shop:app", "billing:consumer")
    shop.until(lambda: all(shop.counts(url) == (0, 0) for url in urls), "both queues are empty")
    command.signal()

    assert command.end() == 0
    assert (len(shop.lines("finished")), len(shop.lines("billed"))) == (30, 30)
    assert "queue orders: 30 received" in command.err
    assert "queue bills: 30 received" in command.err


def test_logs_in_json_are_an_object_a_line_and_the_report_is_among_them(shop: Bench) -> None:
    url = shop.queue("orders")
    shop.fill(url, 3)
    shop.module("shop", COROUTINE.format(seconds=0.001))
    command = shop.leasekeeper("run", "shop:app", "--log-format", "json")
    shop.until(lambda: shop.counts(url) == (0, 0), "the queue is empty")
    command.signal()
    assert command.end() == 0

    said = [json.loads(line) for line in command.err.splitlines()]

    assert {"time", "level", "logger", "message"} <= said[0].keys()
    (report,) = [each["report"] for each in said if "report" in each]
    assert (report["queue"], report["handled"], report["unsettled"]) == ("orders", 3, 0)


def test_a_failure_in_json_has_its_fields_and_so_has_what_the_handler_logged(shop: Bench) -> None:
    url = shop.queue("orders", VisibilityTimeout="30")
    shop.fill(url, 1)
    shop.module(
        "shop",
        """
        import logging
        from leasekeeper import Leasekeeper

        app = Leasekeeper()

        @app.consumer("orders", retry_base=300, retry_maximum=600)
        def ship(body: str) -> None:
            logging.getLogger("shop").info("shipping")
            raise LookupError(body)
        """,
    )
    command = shop.leasekeeper("run", "shop:app", "--log-format", "json")
    command.until_it_says("failed with message")
    command.signal()
    assert command.end() == 0

    said = [json.loads(line) for line in command.err.splitlines()]

    (failed,) = [each for each in said if "failed with message" in each["message"]]
    (logged,) = [each for each in said if each["message"] == "shipping"]
    fields = ("queue", "handler", "receive_count", "message_id")
    assert [failed[name] for name in fields] == ["orders", "ship", 1, failed["message_id"]]
    assert (failed["error"], len(failed["message_id"])) == ("LookupError", 36)
    assert [logged[name] for name in fields] == [failed[name] for name in fields]


def test_a_queue_that_goes_away_ends_the_process_when_that_is_asked_for(shop: Bench) -> None:
    url = shop.queue("orders")
    shop.module("shop", COROUTINE.format(seconds=0.001))
    command = shop.leasekeeper("run", "shop:app", "--exit-on-unusable", "--wait-time", "1")
    command.until_it_says("ready")

    shop.boto.delete_queue(QueueUrl=url)

    assert command.end() == 3
    assert "queue orders: stopping: the queue is unusable" in command.err


def test_a_queue_that_does_not_exist_is_said_in_one_line(shop: Bench) -> None:
    shop.module("shop", COROUTINE.format(seconds=1))

    command = shop.leasekeeper("run", "shop:app", "--log-level", "error")

    assert command.end() == 3
    assert command.err.startswith("leasekeeper: queue orders cannot be used: ")
    assert command.err.count("\n") == 1


def test_a_queue_with_a_name_like_one_that_exists_is_suggested(shop: Bench) -> None:
    shop.queue("order")
    shop.module("shop", COROUTINE.format(seconds=1))
    command = shop.leasekeeper("run", "shop:app")
    assert command.end() == 3
    assert command.err.endswith("; did you mean order?\n")


def test_an_endpoint_that_cannot_be_reached_is_said_in_one_line(shop: Bench) -> None:
    shop.module("shop", COROUTINE.format(seconds=1))

    command = shop.leasekeeper("run", "shop:app", "--log-level", "error", "--endpoint-url", "http://127.0.0.1:1")

    assert command.end() == 3
    assert "http://127.0.0.1:1/ cannot be reached" in command.err
    assert command.err.count("\n") == 1


def test_an_endpoint_that_comes_up_later_is_waited_for(shop: Bench) -> None:
    """As when containers start together; a flag says how long."""
    shop.module("shop", COROUTINE.format(seconds=0))
    with LocalSqs() as first:
        endpoint = first.endpoint_url
    command = shop.leasekeeper("run", "shop:app", "--wait-for-endpoint", "60", "--endpoint-url", endpoint)
    command.until_it_says("queue orders: waiting for the endpoint, up to ")

    shop.leasekeeper("local", "--port", endpoint.rpartition(":")[2], "--queue", "orders")

    command.until_it_says("ready")
    assert "queue orders: the endpoint is up after" in command.err
    command.signal()
    assert command.end() == 0


def test_when_one_consumer_cannot_start_none_goes_on(shop: Bench) -> None:
    shop.queue("orders")
    shop.module("shop", COROUTINE.format(seconds=1))
    shop.module("lost", "from leasekeeper import Consumer\nconsumer = Consumer('nowhere', lambda body: None)\n")

    command = shop.leasekeeper("run", "shop:app", "lost:consumer")

    assert command.end() == 3
    assert "queue nowhere cannot be used" in command.err


def test_two_targets_that_consume_one_queue_are_refused(shop: Bench) -> None:
    """Each message would go to either of their handlers."""
    url = shop.queue("orders")
    shop.module("shop", COROUTINE.format(seconds=0))
    shop.module("bills", f"from leasekeeper import Consumer\nconsumer = Consumer({url!r}, lambda body: None)\n")

    command = shop.leasekeeper("run", "shop:app", "bills:consumer")

    assert command.end() == 2
    assert "queue orders has two consumers here, ship and <lambda>" in command.err


def test_a_module_that_fails_shows_its_own_traceback_and_nothing_of_ours(shop: Bench) -> None:
    shop.module("shop", "def price():\n    return 1 / 0\n\nprice()\n")

    command = shop.leasekeeper("run", "shop:app")

    assert command.end() == 2
    assert "ZeroDivisionError" in command.err
    assert 'shop.py", line 2, in price' in command.err
    assert "targets.py" not in command.err
    assert "importlib" not in command.err
    assert command.err.rstrip().endswith(
        "leasekeeper: 'shop:app' cannot be run: importing shop failed with ZeroDivisionError: division by zero"
    )


def test_options_for_a_queue_without_a_consumer_are_reported(shop: Bench) -> None:
    shop.queue("orders")
    shop.module("shop", COROUTINE.format(seconds=0))
    (shop.directory / "leasekeeper.toml").write_text("[leasekeeper.queues.oders]\nconcurrency = 5\n")
    command = shop.leasekeeper("run", "shop:app", "--config", "leasekeeper.toml")
    shop.until(lambda: "ready" in command.err, "it is ready")

    command.signal()

    assert command.end() == 0
    assert "the options for queue oders in the file are for no consumer here: those are of orders" in command.err


def test_a_job_ends_when_its_queues_are_empty_also_of_what_is_delayed(shop: Bench) -> None:
    url = shop.queue("orders")
    shop.fill(url, 5)
    shop.boto.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=2)
    shop.module("shop", COROUTINE.format(seconds=0.001))

    command = shop.leasekeeper("run", "shop:app", "--exit-when-empty", "0", "--wait-time", "0")

    assert command.end() == 0
    assert sorted(shop.lines("finished")) == ["late", "m0", "m1", "m2", "m3", "m4"]
    assert shop.counts(url) == (0, 0)
    assert (
        "INFO leasekeeper.run: queue orders: stops when it has been empty for 0 s: after 3 empty receives"
        in command.err
    )
    assert "INFO leasekeeper.run: nothing is left in orders: stopping" in command.err


def test_a_job_with_a_short_time_polls_for_as_short(shop: Bench) -> None:
    shop.queue("orders")
    shop.module("shop", COROUTINE.format(seconds=0.001))

    command = shop.leasekeeper("run", "shop:app", "--exit-when-empty", "3")

    assert command.end() == 0
    assert "empty for 3 s: after 3 empty receives in a row (wait_time=1 s)" in command.err
