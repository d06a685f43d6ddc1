"""A consumer as the first process of a container without an init: the kernel gives it no default for SIGTERM."""

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
    from collections.abc import Callable

SHOP = """
import os
from leasekeeper import Leasekeeper

app = Leasekeeper(wait_time=1, poll_grace=0)


@app.consumer("orders")
async def ship(body: str) -> None:
    pass


print("pid", os.getpid(), flush=True)
"""
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc"]


def may_unshare() -> bool:
    """Whether this user may make a namespace of processes."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def create(endpoint_url: str) -> None:
    async with await SqsClient.connect(ClientSettings(endpoint_url=endpoint_url, region="us-east-1")) as client:
        await client.create_queue("orders")


def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError(condition)


@pytest.mark.skipif(not may_unshare(), reason="needs the right to make a namespace of processes (root)")
def test_the_first_process_of_a_container_takes_sigterm_and_drains(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with LocalSqs() as sqs:
        asyncio.run(create(sqs.endpoint_url))
        environment = {**os.environ, "AWS_ENDPOINT_URL_SQS": sqs.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
        command = [*UNSHARE, sys.executable, "-m", "leasekeeper", "run", "shop:app"]
        log = tmp_path / "log"
        with log.open("w") as out:
            outer = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            until(lambda: "ready: " in log.read_text() or outer.poll() is not None)
            [first] = children(outer.pid)
            os.kill(first, signal.SIGTERM)
            assert outer.wait(30) == 0, log.read_text()
        finally:
            for each in children(outer.pid) if outer.poll() is None else ():
                os.kill(each, signal.SIGKILL)
    written = log.read_text()
    assert "pid 1\n" in written
    assert "; stopped by SIGTERM: drained in " in written
