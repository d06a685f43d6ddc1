"""`leasekeeper run --processes`: several whole consumers under a supervisor, from outside."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

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
    assert len(re.findall(r"leasekeeper\.supervisor: all 2 processes: queue orders: \d+ received", command.err)) == 1
    assert command.err.count("a second signal cuts that short") == 1


def test_a_module_that_cannot_be_imported_is_said_and_not_tried_again(shop: Bench) -> None:
    shop.module("shop", "import nowhere_at_all\n")

    command = shop.leasekeeper("run", "shop:app", "--processes", "1")

    assert command.end() == 2
    assert command.err.count("ModuleNotFoundError") == 2  # in the traceback, and in our sentence
    assert "supervisor" not in command.err
