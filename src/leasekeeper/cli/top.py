"""`leasekeeper top`: the consumers of one process or several in the terminal, every second.

Owned by the command line. It reads the state that the live page reads, and changes nothing. Where the output is no
terminal it prints one table as plain text, and ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.admin.address import DEFAULT
from leasekeeper.admin.fleet import NOT_YET, Fleet
from leasekeeper.admin.queues import queues_of
from leasekeeper.cli.errors import Stopped
from leasekeeper.cli.top_table import board
from leasekeeper.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.admin.state import State

FIRST = 2.5
"""Seconds that all surfaces get to answer for the first time."""
LOOK = 0.05
"""Seconds between two looks at whether they have."""
EVERY = 1.0
"""Seconds between two pictures."""


def top(
    surfaces: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="URL...",
            help="Admin surfaces: HOST:PORT, a port of 127.0.0.1, URLs, unix:/PATH, or dns:NAME:PORT; unset: "
            f"LEASEKEEPER_ADMIN, or {DEFAULT}.",
        ),
    ] = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one table as plain text, and end.")] = False,
) -> None:
    """Show the consumers of one process or several. Keys: q ends it, p holds the picture."""
    given = surfaces or [os.environ.get("LEASEKEEPER_ADMIN") or DEFAULT]
    alive = sys.stdout.isatty() and not once
    raise Stopped(asyncio.run(_watch(given) if alive else _print(given)))


async def _print(given: list[str]) -> Exit:
    from rich.console import Console

    fleet = Fleet(given, deep=True)
    fleet.begin()
    try:
        state = await _first(fleet)
    finally:
        fleet.close()
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False, color_system=None)
    console.print(board(state, console.width))
    lost = all(each["state"] == "UNREACHABLE" for each in state["processes"].values())
    return Exit.UNUSABLE if lost else Exit.CLEAN


async def _watch(given: list[str]) -> Exit:
    from rich.console import Console
    from rich.live import Live

    fleet, console = Fleet(given, deep=True), Console(highlight=False)
    ended, held = asyncio.Event(), False

    def press(key: str) -> None:
        nonlocal held
        if key in {"q", "\x03", "\x1b"}:
            ended.set()
        elif key == "p":
            held = not held

    fleet.begin()
    try:
        state = await _first(fleet)
        with _keys(press), Live(console=console, screen=True, auto_refresh=False) as live:
            while not ended.is_set():
                if not held:
                    fleet.look()
                    state = _state_of(fleet)
                live.update(board(state, console.width, console.height, held=held), refresh=True)
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY):
                        await ended.wait()
    except asyncio.CancelledError:  # Ctrl-C
        pass
    finally:
        fleet.close()
    return Exit.CLEAN


async def _first(fleet: Fleet) -> State:
    """The state when every surface has answered, or failed to."""
    until = time.monotonic() + FIRST
    while time.monotonic() < until:
        state = _state_of(fleet)
        if state["processes"] and not any(NOT_YET in each["reason"] for each in state["processes"].values()):
            return state
        await asyncio.sleep(LOOK)
        fleet.look()
    return _state_of(fleet)


def _state_of(fleet: Fleet) -> State:
    processes = fleet.processes(peers=True)
    return {
        "version": "",
        "now": time.time(),
        "fleet": True,
        "queues": queues_of(processes.values()),
        "processes": processes,
    }


@contextmanager
def _keys(press: Callable[[str], None]) -> Iterator[None]:
    """Call `press` with each key, while the terminal shows none of them."""
    try:
        import termios
        import tty

        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
    except (ImportError, OSError, ValueError):  # no terminal to read from: Ctrl-C ends it
        yield
        return
    loop = asyncio.get_running_loop()
    tty.setcbreak(number)
    loop.add_reader(number, lambda: press(os.read(number, 1).decode(errors="replace")))
    try:
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
