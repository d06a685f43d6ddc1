"""Ends of processes that users write themselves: `Consumer.run()`, `async with`, `start()`, forks, exits."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

Bench = Any  # of conftest.py, which tests cannot import

SCRIPT = """
    import asyncio, os, sys, threading, time
    from notes import note
    from leasekeeper import Consumer, Leasekeeper

    async def swallow() -> None:
        while True:
            try:
                await asyncio.sleep(300)
            except asyncio.CancelledError:
                note("swallowed", "x")

    {handler}

    consumer = Consumer("orders", ship, drain_timeout=0.5, poll_grace=0.2, concurrency=1)

    {main}
"""
RUN = "print(consumer.run())"
NOTED = "ship(body: str) -> None:\n        note('started', body)\n        "
HANDLERS = {
    "blocks the loop": f"async def {NOTED}time.sleep(300)",
    "swallows cancellation": f"async def {NOTED}await swallow()",
    "blocks a thread of the executor": f"async def {NOTED}await asyncio.to_thread(time.sleep, 300)",
    "blocks a thread": f"def {NOTED}time.sleep(300)",
    "leaves a task that swallows cancellation": f"tasks = []\n    async def {NOTED}"
    "tasks.append(asyncio.create_task(swallow()))",
}
LEFT = {
    "blocks the loop": "the main thread is still in ship (program.py",
    "swallows cancellation": "(SemaphoreDispatch._work) did not end in 1.5 s",
    "blocks a thread of the executor": "blocking call sleep() did not end in 1.5 s",
    "blocks a thread": "1 handler",
    "leaves a task that swallows cancellation": "(swallow) did not end in 1.5 s",
}
BOUND = 25.0
"""Seconds: 0.2 of poll grace, 0.5 of drain, 1 for cancelled handlers, 6 for what is left, and a slow machine."""


@pytest.mark.parametrize("kind", HANDLERS)
def test_a_script_that_runs_a_consumer_ends_in_bounded_time_whatever_handlers_do(shop: Bench, kind: str) -> None:
    """L22: one signal is enough, and the log names what is left behind."""
    url = shop.queue("orders")
    shop.fill(url, 1)
    shop.module("program", SCRIPT.format(handler=HANDLERS[kind], main=RUN))
    command = shop.script("program")
    shop.until(lambda: shop.lines("started"), "the handler is at work")

    began = time.monotonic()
    command.signal()
    command.end()

    assert time.monotonic() - began < BOUND
    assert LEFT[kind] in command.err
    assert "Traceback" not in command.err


@pytest.mark.parametrize("kind", ["blocks the loop", "swallows cancellation"])
def test_a_second_signal_forces_a_script_too(shop: Bench, kind: str) -> None:
    """L22: the drain is cut short."""
    url = shop.queue("orders")
    shop.fill(url, 1)
    code = SCRIPT.format(handler=HANDLERS[kind], main=RUN).replace("drain_timeout=0.5", "drain_timeout=1000")
    shop.module("program", code)
    command = shop.script("program")
    shop.until(lambda: shop.lines("started"), "the handler is at work")

    def ended() -> bool:
        command.signal()  # two that come as one count as one
        return command.process.poll() is not None

    shop.until(ended, "the process ends")
    assert "Traceback" not in command.err


def test_a_signal_while_a_handler_blocks_the_loop_gives_back_what_has_not_started(shop: Bench) -> None:
    """L24: at once, long before the drain ends; the message that runs stays."""
    url = shop.queue("orders")
    shop.fill(url, 6)
    code = SCRIPT.format(handler=HANDLERS["blocks the loop"], main=RUN)
    code = code.replace("drain_timeout=0.5", "drain_timeout=1000").replace("concurrency=1", "concurrency=6")
    shop.module("program", code)
    command = shop.script("program")
    shop.until(lambda: shop.lines("started"), "a handler blocks the loop")
    shop.until(lambda: shop.counts(url) == (0, 6), "all messages are here")

    command.signal()
    shop.until(lambda: shop.counts(url) == (5, 1), "what has not started is visible")

    command.process.kill()
    command.end()
    assert len(shop.lines("started")) == 1


LOGGERS = {
    "raises": "raise RuntimeError(record)",
    "blocks": "threading.Event().wait()",
}


@pytest.mark.parametrize("does", LOGGERS)
def test_a_log_handler_that_fails_does_not_keep_the_process(shop: Bench, does: str) -> None:
    """L15, L22: the guard's own words are lost, but not the end."""
    url = shop.queue("orders")
    shop.fill(url, 1)
    main = f"""
    import logging

    class Failing(logging.Handler):
        def emit(self, record: object) -> None:
            {LOGGERS[does]}

    logging.getLogger("leasekeeper.run").addHandler(Failing())
    logging.getLogger("leasekeeper.run").setLevel("INFO")
    consumer.run()"""
    shop.module("program", SCRIPT.format(handler=HANDLERS["blocks the loop"], main=main))
    command = shop.script("program")
    shop.until(lambda: shop.lines("started"), "the handler is at work")
    command.signal()
    assert command.end() == 1


def test_async_with_ends_in_bounded_time(shop: Bench) -> None:
    """L22: the block is left though its handler swallows the cancellation; what asyncio then waits for is not ours."""
    url = shop.queue("orders")
    shop.fill(url, 1)
    main = """
    async def main() -> None:
        async with consumer:
            await asyncio.to_thread(lambda: [None for _ in iter(lambda: os.path.exists("started"), True)])
        note("left", "the block")

    asyncio.run(main())
    """
    shop.module("program", SCRIPT.format(handler=HANDLERS["swallows cancellation"], main=main))
    command = shop.script("program")
    shop.until(lambda: shop.lines("left"), "the block is left")
    command.signal()
    assert command.end() == -signal.SIGTERM  # the loop is the user's, and so are its signals


SILENT = """
    import socket
    kept, listener = [], socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        while True:
            kept.append(listener.accept())
            note("asked", "x")

    from leasekeeper.sqs.settings import ClientSettings
    ClientSettings.__init__.__kwdefaults__["call_timeout"] = 120.0

    threading.Thread(target=listen, daemon=True).start()
    consumer.configure({"endpoint_url": f"http://127.0.0.1:{listener.getsockname()[1]}"})
"""


@pytest.mark.parametrize("signals", [1, 2])
@pytest.mark.parametrize("program", ["script", "command"])
def test_a_signal_while_starting_against_a_silent_endpoint_ends_the_process_at_once(
    shop: Bench, program: str, signals: int
) -> None:
    """L22: nothing was received, so there is nothing to wait for, and no handler to blame."""
    main = SILENT + ("\n    print(consumer.run())" if program == "script" else "")
    shop.module("program", SCRIPT.format(handler="async def ship(body: str) -> None: ...", main=main))
    command = shop.script("program") if program == "script" else shop.leasekeeper("run", "program:consumer")
    shop.until(lambda: shop.lines("asked"), "it asks for the queue")

    began = time.monotonic()
    for _ in range(signals):
        command.signal(signal.SIGINT)

    assert command.end(within=60) == 0
    assert time.monotonic() - began < 60  # half of what the call would take
    assert "Traceback" not in command.err
    assert "handler" not in command.err


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_program_that_ends_with_its_consumer_at_work_drains_it_and_says_so(shop: Bench, kind: str) -> None:
    """L1, L22: nothing that was received stays hidden, without a call of `stop()`."""
    url = shop.queue("orders")
    sent = shop.fill(url, 20)
    handler = f"""{kind} ship(body: str) -> None:
        {"await asyncio" if kind == "async def" else "time"}.sleep(0.05)
        note("handled", body)
        handled.set()
    handled = threading.Event()"""
    shop.module("program", SCRIPT.format(handler=handler, main="consumer.start(); handled.wait(20)"))
    command = shop.script("program")

    assert command.end() == 0
    handled = shop.lines("handled")
    assert len(set(handled)) == len(handled) >= 1
    assert "the program ends while consumers run (orders): draining" in command.err
    assert shop.counts(url) == (len(sent) - len(handled), 0)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_program_that_lives_on_in_another_thread_keeps_its_consumer(shop: Bench, kind: str, loop: str) -> None:
    """After the end of the main thread asyncio's own executors refuse every call; ours do not."""
    url = shop.queue("orders")
    shop.fill(url, 30)
    handler = f"""{kind} ship(body: str) -> None:
        {"await asyncio.to_thread(note, 'handled', body)" if kind == "async def" else "note('handled', body)"}
    if {loop == "asyncio"}:
        sys.modules["uvloop"] = None
    """
    main = """
    def live_on() -> None:
        threading.main_thread().join()
        consumer.start()
        while len(open("handled").readlines() if os.path.exists("handled") else ()) < 30:
            time.sleep(0.01)
        print(consumer.healthy, consumer.stop().result())

    threading.Thread(target=live_on).start()
    """
    shop.module("program", SCRIPT.format(handler=handler, main=main))
    command = shop.script("program")

    assert command.end() == 0, command.err
    assert "True queue orders: 30 received: 30 done" in command.out
    assert shop.counts(url) == (0, 0)
    assert "shutdown" not in command.err


def test_a_forked_child_of_a_handler_ends_when_it_is_told_to(shop: Bench) -> None:
    """The child does not inherit that a signal stops the consumer of its parent."""
    url = shop.queue("orders")
    shop.fill(url, 1)
    handler = """def ship(body: str) -> None:
        import multiprocessing
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,))
        child.start()
        child.terminate()
        child.join()
        note("ended", child.exitcode)"""
    shop.module("program", SCRIPT.format(handler=handler, main=RUN))
    command = shop.script("program")
    shop.until(lambda: shop.lines("ended"), "the child has ended")
    command.signal()
    assert command.end() == 0
    assert shop.lines("ended") == [str(-signal.SIGTERM)]


def test_a_fork_after_the_start_knows_that_it_has_no_consumer_and_may_start_one(shop: Bench) -> None:
    url = shop.queue("orders")
    main = """
    consumer.start()
    child = os.fork()
    if not child:
        note("child", (consumer.healthy, consumer.ready))
        for call in (consumer.stop, consumer.statistics):
            try:
                call()
            except Exception as error:
                note("child", f"{type(error).__name__} {error}")
        consumer.request_stop()
        consumer.start()
        note("child", consumer.healthy)
        note("child", consumer.stop().result().unsettled)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    note("parent", (status, consumer.healthy))
    consumer.stop()
    """
    shop.module("program", SCRIPT.format(handler="async def ship(body: str) -> None: ...", main=main))
    command = shop.script("program")

    assert command.end() == 0
    said = shop.lines("child")
    assert said[0] == "(False, False)"
    assert [each.partition(" ")[0] for each in said[1:3]] == ["Closed", "Closed"]
    assert "where no consumer runs: start it here, or stop it there" in said[1]
    assert said[3:] == ["True", "0"]
    assert shop.lines("parent") == ["(0, True)"]
    assert shop.counts(url) == (0, 0)


def test_sys_exit_in_a_task_of_the_users_drains_and_exits_with_its_code(shop: Bench) -> None:
    url = shop.queue("orders")
    shop.fill(url, 5)
    handler = """async def leave() -> None:
        sys.exit(7)

    async def ship(body: str) -> None:
        tasks.append(asyncio.create_task(leave()))
        await asyncio.sleep(0.1)
        note("handled", body)
    tasks = []"""
    shop.module("program", SCRIPT.format(handler=handler, main=RUN))
    command = shop.script("program")

    assert command.end() == 7
    assert shop.counts(url) == (5 - len(shop.lines("handled")), 0)
