"""`leasekeeper run`: whole consumers under a supervisor, from outside."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Bench = Any  # of conftest.py, which tests cannot import

SHIP = """
import asyncio, os, pathlib
from notes import note
from leasekeeper import Leasekeeper

app = Leasekeeper()

@app.consumer("orders", concurrency=4, visibility_timeout=2)
async def ship(body: str) -> None:
    note("started", f"{os.getpid()} {body}")
    while not pathlib.Path("open").exists():
        await asyncio.sleep(0.02)
    note("finished", body)
"""


def test_of_two_processes_one_that_is_killed_is_replaced_and_sigterm_leaves_nothing_hidden(shop: Bench) -> None:
    """L1, L22, L24: for all processes at once. What the killed one held comes back when its visibility ends."""
    url = shop.queue("orders")
    sent = shop.fill(url, 60)
    shop.module("shop", SHIP)
    command = shop.leasekeeper("run", "shop:app", "--processes", "2")

    def pids() -> list[str]:
        return list(dict.fromkeys(line.split()[0] for line in shop.lines("started")))

    shop.until(lambda: len(pids()) == 2, "both are at work")
    os.kill(int(pids()[0]), signal.SIGKILL)
    shop.until(lambda: len(pids()) == 3, "another is at work")
    (shop.directory / "open").touch()
    shop.until(lambda: shop.lines("finished"), "messages flow")

    command.signal()

    assert command.end() == 0
    shop.until(lambda: shop.counts(url)[1] == 0, "nothing is hidden, also of what the killed process held")
    assert set(shop.bodies(url)) == sent - set(shop.lines("finished"))
    assert "ended with SIGKILL (killed from outside, for example because memory ran out); starting" in command.err
    assert len(re.findall(r"leasekeeper\.supervisor: 2 of 3 processes: queue orders: \d+ received", command.err)) == 1
    assert command.err.count("a second signal cuts that short") == 1


def test_a_module_that_fails_in_all_processes_shows_its_traceback_once(shop: Bench) -> None:
    """Each waits for the other before it fails, so that none is stopped before."""
    shop.module(
        "shop",
        "import os, pathlib, time\n"
        "pathlib.Path(f'here-{os.getpid()}').touch()\n"
        "while len(list(pathlib.Path().glob('here-*'))) < 2: time.sleep(0.01)\n"
        "raise RuntimeError('no database here')\n",
    )

    command = shop.leasekeeper("run", "shop:app", "--processes", "2")

    assert command.end() == 2
    assert command.err.count("Traceback (most recent call last)") == 1
    assert command.err.count("cannot be run: importing shop failed with RuntimeError: no database here") == 1


def test_a_module_that_cannot_be_imported_is_said_and_not_tried_again(shop: Bench) -> None:
    shop.module("shop", "import nowhere_at_all\n")

    command = shop.leasekeeper("run", "shop:app", "--processes", "1")

    assert command.end() == 2
    assert command.err.count("ModuleNotFoundError") == 2  # in the traceback, and in our sentence
    assert "supervisor" not in command.err


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_sigterm_to_all_processes_stops_the_local_sqs_after_the_consumer(shop: Bench) -> None:
    """L1: as from systemd, or `kill` of a process group: what runs is finished, and its delete confirmed."""
    shop.module("shop", SHIP)
    command = shop.leasekeeper("run", "shop:app", "--local")
    command.until_it_says("ready: ")
    [url] = re.findall(r"in memory at (http://[0-9.]+:[0-9]+)", command.out)
    send = ("send", "orders", "m1", "--endpoint-url", url)
    assert shop.call(*send).code == 0
    shop.until(lambda: shop.lines("started"), "the handler is at work")

    for pid in (*children(command.process.pid), command.process.pid):
        os.kill(pid, signal.SIGTERM)
    command.until_it_says("stopping, in at most ")
    (shop.directory / "open").touch()

    assert command.end() == 0
    assert shop.lines("finished") == ["m1"]
    assert "1 done" in command.err
    assert "stopped after " in command.out


@pytest.mark.parametrize("hangs", ["time.sleep(600)", "re.match('(a+)+$', 60 * 'a' + 'b')"], ids=["sleeps", "C code"])
def test_a_process_that_hangs_in_an_import_and_ignores_sigterm_ends_with_a_killed_supervisor(
    shop: Bench, hangs: str
) -> None:
    code = f"""
    import re, signal, time
    from notes import note
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("importing", "")
    {hangs}
    """
    shop.module("shop", code)
    command = shop.leasekeeper("run", "shop:app")
    shop.until(lambda: shop.lines("importing"), "it hangs")
    [child] = children(command.process.pid)

    command.signal(signal.SIGKILL)

    assert command.end() == -signal.SIGKILL
    shop.until(lambda: not alive(child), "the process has ended")


def test_a_supervisor_that_ended_before_its_child_began_is_noticed_by_the_child(shop: Bench) -> None:
    """The kernel sends no signal then."""
    ours, theirs = socket.socketpair()
    os.set_inheritable(theirs.fileno(), True)
    ours.close()
    with theirs:
        environment = {**shop.environment, "LEASEKEEPER_SUPERVISED": f"{theirs.fileno()}:1:1:0"}
        command = [sys.executable, "-m", "leasekeeper", "run", "shop:app"]
        done = subprocess.run(
            command, env=environment, cwd=shop.directory, pass_fds=[theirs.fileno()], capture_output=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_signals_for_the_code_of_the_service_are_passed_on(shop: Bench) -> None:
    shop.queue("orders")
    shop.module("shop", f"import signal\n{SHIP}\nsignal.signal(signal.SIGUSR1, lambda *_: note('usr1', ''))\n")
    command = shop.leasekeeper("run", "shop:app")
    command.until_it_says("ready: ")
    command.signal(signal.SIGUSR1)
    shop.until(lambda: shop.lines("usr1"), "its handler is called")
    command.signal(signal.SIGINT)
    assert command.end() == 0
    assert "; stopped by SIGINT: drained in " in command.err


def test_without_a_supervisor_nothing_that_needs_one_runs(shop: Bench) -> None:
    shop.module("shop", SHIP)
    called = shop.call("run", "shop:app", "--no-supervisor", "--processes", "2")
    assert called.code == 2
    assert called.err == (
        "leasekeeper: --no-supervisor: --processes, --reload and --local need one; leave one of them out\n"
    )


@pytest.mark.parametrize("wrong", [(":app",), ("shop:app", "--concurrency", "0")], ids=["target", "option"])
def test_a_mistake_is_refused_before_the_local_sqs_is_started(shop: Bench, wrong: tuple[str, ...]) -> None:
    shop.module("shop", SHIP)
    command = shop.leasekeeper("run", *wrong, "--local")
    assert command.end() == 2
    assert command.err.count("leasekeeper: ") == 1
    assert command.out == ""  # where the local SQS greets
