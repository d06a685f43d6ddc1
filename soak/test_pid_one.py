"""A command as the first process of a container without an init.

The kernel gives it no default for SIGTERM, and the orphans of all other processes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHOP = """
import os, subprocess, sys
from leasekeeper import Leasekeeper

app = Leasekeeper(wait_time=1, poll_grace=0)


@app.consumer("orders")
async def ship(body: str) -> None:
    pass


print("pid", os.getpid(), flush=True)
for _ in range(3):
    subprocess.run([sys.executable, "-S", "-c", "import os; os.fork() or os.setsid() or os._exit(0)"])
print("orphan", flush=True)
"""
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc"]


def may_unshare() -> bool:
    """Whether this user may make a namespace of processes."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


pytestmark = pytest.mark.skipif(not may_unshare(), reason="needs the right to make a namespace of processes (root)")


async def create(endpoint_url: str) -> None:
    async with await SqsClient.connect(ClientSettings(endpoint_url=endpoint_url, region="us-east-1")) as client:
        await client.create_queue("orders")


def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError(condition)


class Container:
    """`leasekeeper run` with these flags in a namespace of processes."""

    def __init__(self, directory: Path, sqs: LocalSqs, *flags: str) -> None:
        (directory / "shop.py").write_text(SHOP)
        asyncio.run(create(sqs.endpoint_url))
        environment = {**os.environ, "AWS_ENDPOINT_URL_SQS": sqs.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
        command = [*UNSHARE, sys.executable, "-m", "leasekeeper", "run", "shop:app", *flags]
        self._log = directory / "log"
        with self._log.open("w") as out:
            self.outer = subprocess.Popen(command, cwd=directory, env=environment, stdout=out, stderr=subprocess.STDOUT)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def first(self) -> int:
        """The id of PID 1 as it is outside, when the consumers are ready."""
        until(lambda: "ready: " in self.said or self.outer.poll() is not None)
        [first] = children(self.outer.pid)
        return first

    def kill(self) -> None:
        for each in children(self.outer.pid) if self.outer.poll() is None else ():
            os.kill(each, signal.SIGKILL)
        self.outer.wait()


@pytest.fixture
def contained(tmp_path: Path) -> Iterator[Callable[..., Container]]:
    made: list[Container] = []
    with LocalSqs() as sqs:

        def make(*flags: str) -> Container:
            made.append(Container(tmp_path, sqs, *flags))
            return made[-1]

        yield make
        for each in made:
            each.kill()


@pytest.mark.parametrize("flags", [(), ("--no-supervisor",)], ids=["supervisor", "no supervisor"])
def test_the_first_process_of_a_container_takes_sigterm_and_drains(
    contained: Callable[..., Container], flags: tuple[str, ...]
) -> None:
    container = contained(*flags)
    os.kill(container.first(), signal.SIGTERM)
    assert container.outer.wait(30) == 0, container.said
    assert ("pid 1\n" in container.said) is bool(flags)
    assert "; stopped by SIGTERM: drained in " in container.said


def test_a_supervisor_as_the_first_process_waits_for_orphans_and_outlives_a_crash(
    contained: Callable[..., Container],
) -> None:
    container = contained()
    first = container.first()
    until(lambda: "orphan" in container.said)
    until(lambda: len(children(first)) == 1)  # the orphans have ended, and are no zombies
    [consumer] = children(first)

    os.kill(consumer, signal.SIGKILL)

    until(lambda: container.said.count("ready: ") == 2)
    os.kill(first, signal.SIGTERM)
    assert container.outer.wait(30) == 0, container.said
    assert "ended with SIGKILL (killed from outside, for example because memory ran out); starting another" in (
        container.said
    )
