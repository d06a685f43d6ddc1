"""`leasekeeper top`: the picture at several widths, and the command against real surfaces."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import Any

import pytest
from rich.console import Console

from leasekeeper import Consumer
from leasekeeper.admin import AdminServer
from leasekeeper.admin.process import consumer_state
from leasekeeper.cli.top_table import COLUMNS, board
from leasekeeper.observe.recorder import Recorder


async def ship(_body: str) -> None:
    pass


def state(*keys: str, **more: Any) -> Any:
    """One consumer in each of these processes."""
    found = Consumer("orders", ship)
    consumer: Any = consumer_state(found, Recorder(found), None)
    consumer |= {"state": "RUNNING", "reason": "", "rate_in": 12.3, "rate_out": 11.0, "lag_p95": 0.25, "running": 3}
    consumer |= {"lease_margin": 21.5, "spark_out": [0.0] * 58 + [5.0, 10.0], **more}
    backlog = {
        "visible": 1200,
        "in_flight": 3,
        "delayed": 0,
        "dead_letters": 0,
        "seconds": 109.1,
        "trend": 2.0,
        "asked": 1,
    }
    process = {"state": "RUNNING", "reason": "", "rss_bytes": 50 * 2**20, "consumers": {"orders": consumer}}
    queues = {"orders": {"processes": len(keys), "rate_in": 12.3, "rate_out": 11.0, "backlog": backlog}}
    processes = {key: {"key": key, **process} for key in keys}
    return {"now": 0.0, "processes": processes, "queues": queues, "fleet": True, "version": ""}


def drawn(shown: Any, width: int, height: int | None = 50, **how: Any) -> list[str]:
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(board(shown, width, height, **how))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_wide_terminal_shows_everything() -> None:
    headline, titles, row = drawn(state("host:1"), 160)
    assert headline.startswith("leasekeeper top  1 process  ")
    assert headline.endswith("q ends, p holds")
    assert re.split(r"  +", titles) == ["state", "queue", *(column.title for column in COLUMNS)]
    assert row.split()[4:9] == ["1,200", "↑", "109.1", "s", "now"]
    assert "21.5 s" in row
    assert row.endswith("▄█")


def test_a_backlog_that_is_not_new_has_its_age() -> None:
    row = drawn(state("host:1") | {"now": 29.0}, 160)[2]
    assert row.split()[4:11] == ["1,200", "↑", "109.1", "s", "28", "s", "ago"]


def test_a_backlog_that_receives_do_not_find_has_its_age_and_no_time_to_clear() -> None:
    shown = state("host:1") | {"now": 4.0}
    shown["queues"]["orders"]["backlog"]["outdated"] = True
    assert drawn(shown, 160)[2].split()[4:10] == ["1,200", "↑", "-", "3", "s", "ago"]


def test_a_lag_is_not_shown_when_nothing_was_received_lately() -> None:
    titles, row = drawn(state("host:1", lag_p95=None), 160)[1:]
    at = titles.index("lag p95")
    assert row[at : at + len("lag p95")].strip() == "-"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 140, 160, 200])
def test_a_column_is_whole_or_not_there(width: int) -> None:
    shown = state("host:1") | {"now": 29.0}
    shown["queues"]["orders"]["backlog"] = {"visible": 1_234_567, "seconds": 86_400.0, "trend": 31.0, "asked": 1.0}
    _, titles, row = drawn(shown, width)

    given = re.split(r"  +", titles)
    assert set(given) <= {"state", "queue", *(column.title for column in COLUMNS)}
    assert {"out/s", "running"} <= set(given)
    assert ("1,234,567 ↑" in row) is ("backlog" in given)
    assert ("28 s ago" in row) is ("counted" in given)
    assert ("1,440 min" in row) is ("to clear" in given)
    assert (len(given) == 2 + len(COLUMNS)) is (width >= 160)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = drawn(state("host:1", "host:2"), width)
    assert all(len(line) <= width for line in lines)
    assert lines[2].startswith("RUNNING ")
    assert len(lines) == 6
    assert "orders" in lines[3]
    assert "3/20" in lines[3]
    assert ("backlog" in lines[1]) is (width >= 60)


def test_reasons_stand_first_once_and_hostile_names_do_nothing() -> None:
    shown = state("host:1", "host:2", state="UNHEALTHY", reason="no receive\x1b[31m has [bold]succeeded[/]")
    lines = drawn(shown, 120, held=True)
    assert lines[0].endswith("held: p goes on")
    reason = "orders: no receive\\x1b[31m has [bold]succeeded[/]"
    assert lines[1] == reason
    assert sum("succeeded" in line for line in lines) == 1
    assert drawn(shown, 120, None)[-1] == reason  # plain text


@pytest.mark.parametrize(("height", "last"), [(9, ""), (8, "and 2 more rows: --once prints all")])
def test_a_low_terminal_says_how_much_it_does_not_show(height: int, last: str) -> None:
    shown = state("host:1", "host:2", "host:3", reason="a stop was asked for")
    lines = drawn(shown, 80, height)
    assert len(lines) == height
    assert lines[1] == "orders: a stop was asked for"
    assert lines[-1] == last or not last


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "leasekeeper", "top", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_without_a_terminal_it_prints_once(closed_port: int) -> None:
    away = f"127.0.0.1:{closed_port}"
    with AdminServer(Consumer("orders", ship), address="0", name="one") as server:
        ended = run(server.url, away)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[1].split()[:2] == ["STARTING", "one"]
    assert lines[2].split()[:2] == ["STARTING", "orders"]
    assert lines[3].split()[:2] == ["UNREACHABLE", away]
    assert f"{away}: the connection was refused: nothing listens there; is the process running, with --admin?" in lines
    assert run(away).returncode == 3


@pytest.mark.slow
def test_q_ends_it_in_a_terminal() -> None:
    with AdminServer(Consumer("orders", ship), address="0", name="one") as server:
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "leasekeeper", "top", server.url]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
            os.close(slave)
            seen, end = b"", time.monotonic() + 60
            try:
                while b"STARTING" not in seen and time.monotonic() < end:
                    if select.select([master], [], [], 1)[0]:
                        seen += os.read(master, 4096)
                os.write(master, b"pq")
                while process.poll() is None and time.monotonic() < end:
                    if select.select([master], [], [], 0.1)[0]:
                        try:
                            seen += os.read(master, 4096)
                        except OSError:
                            break
                assert process.wait(60) == 0
            finally:
                process.kill()
                os.close(master)
    assert b"orders" in seen
