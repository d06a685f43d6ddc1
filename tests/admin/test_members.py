"""One surface for all processes of a supervisor, here with surfaces that are served by this process."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer
from leasekeeper.admin import AdminServer
from leasekeeper.admin.members import Members
from leasekeeper.supervision.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator


async def wait(body: str) -> None:
    """Handle."""


@pytest.fixture
def folder() -> Iterator[Folder]:
    with tempfile.TemporaryDirectory(prefix="lk") as path:  # a socket's path is short
        yield Folder(path)


def known(number: int, state: str, *, restarts: int = 0, pid: int | None = None) -> dict[str, Any]:
    last = "SIGKILL" if restarts else None
    died = 1700000000.5 if restarts else None
    return {"number": number, "pid": pid, "state": state, "restarts": restarts, "last": last, "last_at": died}


def test_it_speaks_for_all_and_names_the_process_that_is_not_well(folder: Folder) -> None:
    folder.write([known(1, "ready", pid=11), known(2, "starting", restarts=2, pid=12), known(3, "waiting", restarts=1)])
    members = Members(folder)

    async def asked() -> tuple[list[str], list[str], dict[str, Any], str]:
        return await members.live(), await members.ready(), await members.status(""), (await members.metrics()).decode()

    with AdminServer(Consumer("orders", wait), address=f"unix:{folder.socket(1)}"):
        live, ready, status, metrics = asyncio.run(asked())

    assert members.places() == {f"unix:{folder.socket(1)}": 1, f"unix:{folder.socket(2)}": 2}
    assert live == []  # one that starts, and one that has died, are no reason to end the first
    assert ready == [
        "process 1: orders: new",
        "process 2 is starting, and does not answer yet",
        "process 3 has died (SIGKILL); another is about to start",
    ]
    assert (status["healthy"], status["ready"]) == (False, False)
    assert [(each["process"], each["queue"]) for each in status["consumers"]] == [(1, "orders")]
    assert [each["state"] for each in status["processes"]] == ["ready", "starting", "waiting"]
    assert 'leasekeeper_process_up{process="1"} 1' in metrics
    assert 'leasekeeper_process_restarts_total{process="2"} 2' in metrics
    assert members.starting(1) == {}
    assert members.starting(2) == {
        "state": "STARTING",
        "key": f"{socket.gethostname()}:12",
        "host": socket.gethostname(),
        "pid": 12,
        "reason": "it is starting, and does not answer yet",
    }
    assert members.note(11) == ("", 0.0)
    assert members.note(12) == ("it was started again 2 times; the one before it ended with SIGKILL", 1700000000.5)


def test_nothing_is_ready_before_the_first_process_has_started(folder: Folder) -> None:
    members = Members(folder)

    async def asked() -> tuple[list[str], list[str]]:
        return await members.live(), await members.ready()

    assert asyncio.run(asked()) == ([], ["no process has started yet"])
