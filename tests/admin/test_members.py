"""One surface for all processes of a supervisor, here with surfaces that are served by this process."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from served import Reader

from leasekeeper import Consumer
from leasekeeper.admin import AdminServer, fleet, watch
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
    assert members.stand_in(1, {}, silent=False) is None
    assert members.stand_in(1, {}, silent=True) is None  # it is ready, and must answer
    starts = members.stand_in(2, {}, silent=True)
    assert starts is not None
    (key,) = starts
    assert (key, starts[key]["pid"], starts[key]["state"]) == (f"{socket.gethostname()}:12", 12, "STARTING")
    assert (starts[key]["reason"], starts[key]["started"]) == ("it is starting, and does not answer yet", 0.0)
    assert members.stand_in(2, {}, silent=False) is None
    assert members.note(11) == ("", 0.0)
    assert members.note(12) == ("it was started again 2 times; the one before it ended with SIGKILL", 1700000000.5)


def test_nothing_is_ready_before_the_first_process_has_started(folder: Folder) -> None:
    members = Members(folder)

    async def asked() -> tuple[list[str], list[str]]:
        return await members.live(), await members.ready()

    assert asyncio.run(asked()) == ([], ["no process has started yet"])


def test_a_stop_keeps_what_was_known_and_drops_a_process_that_never_answered(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "EVERY", 0.02)
    monkeypatch.setattr(watch, "EVERY", 0.02)
    pid = os.getpid()  # both surfaces are served by this process
    folder.write([known(1, "ready", pid=pid), known(2, "ready", pid=pid)])
    first, second = (Consumer("orders", wait) for _ in range(2))

    def states() -> dict[str, str]:
        return {name: each["state"] for name, each in reader.state["processes"].items()}

    with AdminServer(address="0", members=Members(folder)) as server, Reader(server) as reader:
        with (
            AdminServer(first, address=f"unix:{folder.socket(1)}", name="one"),
            AdminServer(second, address=f"unix:{folder.socket(2)}", name="two"),
        ):
            reader.until(lambda: states() == {"one": "STARTING", "two": "STARTING"})
        # The second was killed, and the one in its place is told to stop before it answers.
        folder.write([known(1, "stopping", pid=pid), known(2, "starting", pid=5, restarts=1)])
        reader.until(lambda: states() == {"one": "DRAINING", f"{socket.gethostname()}:5": "STARTING"})
        folder.write([known(1, "stopping", pid=pid), known(2, "stopping", pid=5, restarts=1)])
        reader.until(lambda: states() == {"one": "DRAINING"})
        folder.write([known(1, "over", restarts=1), known(2, "over", restarts=1)])
        reader.until(lambda: states() == {"one": "STOPPED"})
    one = reader.process
    assert (one["reason"], one["since"]) == ("it has ended with SIGKILL", 1700000000.5)
    assert (one["started"] > 0, one["number"]) == (True, 1)
    assert (one["consumers"]["orders"]["state"], one["consumers"]["orders"]["running"]) == ("STOPPED", 0)


def test_the_last_event_before_the_end_has_what_changed_last(folder: Folder) -> None:
    """Also what a look has not seen, because the surface ends as soon as the processes have."""
    pid = os.getpid()
    folder.write([known(1, "ready", pid=pid)])
    with AdminServer(address="0", members=Members(folder)) as server, Reader(server) as reader:
        with AdminServer(Consumer("orders", wait), address=f"unix:{folder.socket(1)}", name="one"):
            reader.until(lambda: "one" in reader.state["processes"])
        folder.write([known(1, "over", restarts=1)])
        server.__exit__()
        while reader.read() != "bye":
            pass
    assert reader.process["state"] == "STOPPED"
