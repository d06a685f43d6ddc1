"""Consumers with a keeper: they die with 10,000 messages in hand, race with it, and get signals with their group."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kept_bench import LEASEKEEPER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kept_bench import KeptBench

HELD = int(os.environ.get("LEASEKEEPER_SOAK_HELD", "10000"))
WITHIN = float(os.environ.get("LEASEKEEPER_SOAK_WITHIN", "20"))
"""Seconds until everything that had not started is visible: 1 on a machine with nothing else to do."""
RACES = int(os.environ.get("LEASEKEEPER_SOAK_RACES", "30"))


def test_kill_with_ten_thousand_messages_in_hand(bench: KeptBench) -> None:
    """L3: what had not started is visible at once, finished messages are deleted, what ran waits; no hot loop."""
    bench.fill(HELD)
    bench.sqs.start()
    program = bench.start(f"""
        done = 0
        def handle(message: Message[str]) -> None:
            global done
            if done < 505:
                done += 1
                return
            note("running")
            time.sleep(600)

        consumer = Consumer(
            "orders", handle, keeper=True, visibility_timeout=900, concurrency=5, prefetch={HELD}, ack_interval=60,
            retry_base=8, throttle=False,
        )
        consumer.start()
        while True:
            ledger = consumer.statistics().ledger
            if ledger.received == {HELD} and ledger.held["running"] == 5:
                note(f"held {{ledger.acked}}")
                break
            time.sleep(0.05)
        threading.Event().wait()
    """)
    bench.until(lambda: program.said("held"), "all are held", within=120)
    gone = int(program.out.split("held ")[1].split()[0])
    before = dict(bench.sqs.calls)
    program.signal(signal.SIGKILL)
    waiting = HELD - 505 - 5
    took = bench.until(lambda: bench.counts()[0] >= waiting, "what had not started is visible", within=WITHIN)
    bench.until(lambda: sum(bench.counts()) == HELD - 505, "what had finished is gone")
    assert took <= WITHIN
    calls = sum(bench.sqs.calls[name] - before.get(name, 0) for name in ("DeleteMessageBatch", _CHANGE))
    assert calls <= (HELD - gone) // 10 + 10
    assert bench.counts()[1] <= 5
    said = f"{HELD - gone} messages: {505 - gone} deleted and {HELD - 505} given back"
    bench.until(lambda: said in program.err, "the keeper says so")


_CHANGE = "ChangeMessageVisibilityBatch"


def test_race_back_offs_against_slow_extensions(bench: KeptBench) -> None:
    """L5: the process is stopped until the keeper extends, and goes on while that call is on its way."""
    bench.fill(RACES)
    bench.sqs.faults.set(_CHANGE, latency=(0.3, 1.5))
    changed: dict[str, list[int]] = {}
    perform = bench.sqs.broker.perform

    def watch(operation: str, request: dict[str, object]) -> object:
        if operation == _CHANGE:
            for entry in request["Entries"]:  # type: ignore[attr-defined]
                changed.setdefault(entry["ReceiptHandle"], []).append(entry["VisibilityTimeout"])
        return perform(operation, request)

    bench.sqs.broker.perform = watch  # type: ignore[method-assign, assignment]
    bench.sqs.start()
    program = bench.start(f"""
        from leasekeeper import Retry

        def handle(body: str) -> Retry:
            note("running")
            while not os.path.exists("go"):
                time.sleep(0.01)
            return Retry(77)

        consumer = Consumer(
            "orders", handle, keeper=True, visibility_timeout=12, concurrency={RACES}, threads={RACES}, throttle=False,
        )
        consumer.start()
        while consumer.statistics().ledger.released < {RACES}:
            time.sleep(0.05)
        print("released", consumer.stop().result())
    """)
    bench.until(lambda: program.said("running") == RACES, "all run")
    program.signal(signal.SIGSTOP)
    calls = bench.sqs.calls[_CHANGE]
    bench.until(lambda: bench.sqs.calls[_CHANGE] > calls, "the keeper extends")
    (bench.directory / "go").touch()
    program.signal(signal.SIGCONT)
    bench.until(lambda: program.said("released"), "all are given back")
    time.sleep(2)  # longer than a call that could still be on its way
    assert [values for values in changed.values() if values[-1] <= 12] == []
    assert sum(max(values) > 70 for values in changed.values()) == RACES


def test_signals_to_the_group_do_not_end_the_keeper(bench: KeptBench) -> None:
    """Ctrl-C goes to all processes of a terminal: the keeper has a session for itself."""
    bench.fill(3)
    bench.sqs.start()
    program = bench.start("""
        import signal
        os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        consumer = Consumer(
            "orders", lambda message: time.sleep(600), keeper=True, visibility_timeout=600, concurrency=1, prefetch=2,
            receive_batch=3, throttle=False, retry_base=1,
        )
        consumer.start()
        while consumer.statistics().ledger.received < 3:
            time.sleep(0.05)
        note("held")
        threading.Event().wait()
    """)
    bench.until(lambda: program.said("held"), "all are held")
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
        os.killpg(program.process.pid, number)
        time.sleep(0.05)
    bench.until(lambda: bench.counts() == (3, 0), "they are settled")


def test_what_runs_in_a_worker_process_waits_for_its_back_off(bench: KeptBench) -> None:
    """The workers die with their engine; what waited in them, or here, is visible at once."""
    bench.fill(6)
    bench.sqs.start()
    program = bench.start("""
        def handle(body: str) -> None:
            note("running")
            time.sleep(600)

        if __name__ == "__main__":
            consumer = Consumer(
                "orders", handle, keeper=True, visibility_timeout=600, lane="processes", workers=1, prefetch=5,
                throttle=False, retry_base=4,
            )
            consumer.start()
            threading.Event().wait()
    """)
    bench.until(lambda: program.said("running") == 1 and bench.counts() == (0, 6), "one runs")
    program.signal(signal.SIGKILL)
    bench.until(lambda: bench.counts() == (5, 1), "what had not started is visible")
    bench.until(lambda: bench.counts() == (6, 0), "what ran is visible")


def test_one_keeper_has_all_consumers_of_a_program_one_that_starts_again_and_none_of_a_forked_child(
    bench: KeptBench,
) -> None:
    bench.fill(4)
    bench.sqs.start()
    program = bench.start("""
        import asyncio
        from leasekeeper.keeper.process import KEEPER

        async def handle(body: str) -> None:
            await asyncio.sleep(600 if body in "23" else 0)

        def consumer() -> Consumer:
            made = Consumer(
                "orders", handle, keeper=True, visibility_timeout=600, concurrency=1, prefetch=0, receive_batch=1,
                retry_base=1,
            )
            made.start()
            return made

        first = consumer()
        keeper = KEEPER.pid
        while first.statistics().ledger.acked < 2:
            time.sleep(0.02)
        others = consumer(), consumer()
        first.stop(force=True).result()
        note(f"same {KEEPER.pid == keeper}")
        for each in others:
            each.stop(force=True).result()
        note(f"none {KEEPER.pid}")
        again = consumer(), consumer()
        if not (child := os.fork()):
            note(f"forked {KEEPER.pid} {KEEPER!r}")
            os._exit(0)
        os.waitpid(child, 0)
        note(f"other {KEEPER.pid not in {None, keeper}}")
        threading.Event().wait()
    """)
    bench.until(lambda: program.said("other True") == 1 and bench.counts() == (0, 2), "two run, in two consumers")
    assert (program.said("same True"), program.said("none None"), program.said("forked None")) == (1, 1, 1)
    program.signal(signal.SIGKILL)
    bench.until(lambda: bench.counts() == (2, 0), "they are settled")
    said = r"held (1 message: 0 deleted and 1|2 messages: 0 deleted and 2) given back"
    bench.until(lambda: re.search(said, program.err), "the keeper says so")


def test_a_process_that_becomes_another_program_holds_no_messages(bench: KeptBench) -> None:
    """After `exec` the process lives, and no engine is in it: reloaders do that."""
    bench.fill(3)
    bench.sqs.start()
    program = bench.start("""
        consumer = Consumer(
            "orders", lambda message: time.sleep(600), keeper=True, visibility_timeout=600, concurrency=1, prefetch=2,
            receive_batch=3, throttle=False, retry_base=1,
        )
        consumer.start()
        while consumer.statistics().ledger.held["running"] < 1:
            time.sleep(0.05)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"])
    """)
    bench.until(lambda: bench.counts() == (3, 0), "they are settled")
    assert program.process.poll() is None


UNREAD = """
    consumer = Consumer({name!r}, lambda message: note("start"), keeper=True, visibility_timeout=12, pollers=1)
    consumer.start()
    threading.Event().wait()
"""
"""A consumer of a server whose answers to receives take long."""


def _dies_with_an_answer_unread(bench: KeptBench) -> None:
    """Have a consumer end after SQS has given it ten messages, and before their receipts have reached it."""
    bench.sqs.faults.set("ReceiveMessage", latency=6.0)
    bench.sqs.start()
    program = bench.start(UNREAD.format(name=bench.name))
    bench.until(lambda: bench.sqs.calls["ReceiveMessage"] == 1, "it receives")
    bench.sqs.faults.clear()
    bench.until(lambda: bench.counts()[1] == 10, "SQS has given them out")
    assert not program.said("start")
    program.signal(signal.SIGKILL)


def test_messages_in_an_unread_answer_of_a_fifo_queue_are_visible_at_once(fifo_bench: KeptBench) -> None:
    """The keeper makes the receive again under its attempt id, gets the same messages, and gives them back."""
    fifo_bench.fill(10, MessageGroupId="g")
    _dies_with_an_answer_unread(fifo_bench)
    took = fifo_bench.until(lambda: fifo_bench.counts() == (10, 0), "they are visible")
    assert took < 6


def test_messages_in_an_unread_answer_of_a_standard_queue_are_hidden_until_their_lease_ends(bench: KeptBench) -> None:
    """What remains: SQS has no attempt ids there, and receipts that have reached no process cannot be used by any."""
    bench.fill(10)
    _dies_with_an_answer_unread(bench)
    took = bench.until(lambda: bench.counts() == (10, 0), "they are visible")
    assert 6 < took <= 14


@contextmanager
def _memory_group(most: int) -> Iterator[Path]:
    """A memory cgroup with a limit in bytes; skips where none can be made."""
    first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    parent, limit = (first, "memory.limit_in_bytes") if first.is_dir() else (second, "memory.max")
    group = parent / f"leasekeeper-soak-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(most))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        yield group
    finally:
        until = time.monotonic() + 10
        while (group / "cgroup.procs").read_text().split() and time.monotonic() < until:
            time.sleep(0.05)
        group.rmdir()


def test_what_a_consumer_held_that_needs_too_much_memory_is_settled(bench: KeptBench) -> None:
    """The keeper is outside of the memory cgroup: inside, the kernel may end it too before the memory is free."""
    bench.fill(3)
    bench.sqs.start()
    with _memory_group(150 * 1024 * 1024) as group:
        program = bench.start(f"""
            from leasekeeper.keeper.process import KEEPER

            def handle(body: str) -> None:
                while KEEPER.pid is None:
                    time.sleep(0.01)
                with open({str(group / "cgroup.procs")!r}, "w") as file:
                    file.write(str(os.getpid()))
                note("start")
                kept = [bytearray(10_000_000) for _ in range(100)]
                note("done")

            consumer = Consumer(
                "orders", handle, keeper=True, visibility_timeout=600, concurrency=1, prefetch=2, receive_batch=3,
                throttle=False, retry_base=1,
            )
            consumer.start()
            threading.Event().wait()
        """)
        bench.until(lambda: program.process.poll() is not None, "the kernel has ended it")
        bench.until(lambda: bench.counts() == (3, 0), "they are visible")
    assert program.said("start") == 1
    assert program.said("done") == 0


def test_when_the_keeper_dies_with_its_consumer_messages_come_when_their_leases_end(bench: KeptBench) -> None:
    """As when the kernel ends all processes of a container that has too little memory."""
    bench.fill(3)
    bench.sqs.start()
    program = bench.start("""
        from leasekeeper.keeper.process import KEEPER

        def handle(body: str) -> None:
            while KEEPER.pid is None:
                time.sleep(0.01)
            note(f"keeper {KEEPER.pid}")
            time.sleep(600)

        consumer = Consumer(
            "orders", handle, keeper=True, visibility_timeout=6, concurrency=1, prefetch=2, receive_batch=3,
            throttle=False, retry_base=1,
        )
        consumer.start()
        threading.Event().wait()
    """)
    bench.until(lambda: program.said("keeper") and bench.counts() == (0, 3), "they are held")
    keeper = int(program.out.split()[1])
    os.kill(keeper, signal.SIGSTOP)  # it does not notice the death of the consumer before its own
    program.signal(signal.SIGKILL)
    bench.until(lambda: program.process.poll() is not None, "the consumer has ended")
    os.kill(keeper, signal.SIGKILL)
    took = bench.until(lambda: bench.counts() == (3, 0), "they are visible")
    assert 1 < took <= 8


@pytest.mark.skipif(shutil.which("unshare") is None or os.getuid() != 0, reason="needs root and unshare")
def test_the_supervisor_is_process_1_of_a_container(bench: KeptBench) -> None:
    """When process 1 dies, the kernel ends all others: the supervisor is it, so a consumer may die alone."""
    bench.fill(3)
    bench.sqs.start()
    (bench.directory / "shop.py").write_text(
        "import os, time\n"
        "from leasekeeper import Leasekeeper, Message\n"
        "app = Leasekeeper()\n"
        "@app.consumer('orders', visibility_timeout=600, concurrency=1, prefetch=2, receive_batch=3, throttle=False,\n"
        "              retry_base=1)\n"
        "def ship(message: Message[str]) -> None:\n"
        "    print('start', message.body, message.receive_count, flush=True)\n"
        "    if message.body == '0' and message.receive_count == 1:\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "AWS_ENDPOINT_URL_SQS": bench.sqs.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
    environment |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    command = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        str(LEASEKEEPER),
        "run",
        "--processes",
        "1",
        "shop:app",
    ]
    with (bench.directory / "said").open("w+") as said:
        process = subprocess.Popen(command, cwd=bench.directory, env=environment, stdout=said, stderr=said)
        try:
            bench.until(lambda: bench.counts() == (0, 0) or process.poll() is not None, "all are done", within=90)
        except AssertionError as error:
            error.add_note((bench.directory / "said").read_text())
            raise
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        text = (bench.directory / "said").read_text()
    settled = re.findall(r"held 3 messages: (\d) deleted and (\d) given back", text)
    assert [sum(map(int, each)) for each in settled] == [3], text
    assert sys.platform == "linux"
