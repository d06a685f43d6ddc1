"""Supervisors with real consumers: reloads under load, kills in loops, and a stop with everything on.

`LEASEKEEPER_SOAK_ROUNDS` sets how often a process is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = int(os.environ.get("LEASEKEEPER_SOAK_ROUNDS", "3"))
SHOP = """
import asyncio, os
from leasekeeper import Leasekeeper

app = Leasekeeper()

@app.consumer("orders", concurrency=4, visibility_timeout=3, wait_time=1)
async def ship(body: str) -> None:
    with open("started", "a") as file:
        file.write(f"{os.getpid()} {body}\\n")
    await asyncio.sleep(0.1)
    with open("finished", "a") as file:
        file.write(f"{body}\\n")
"""


class Stage:
    """A folder with an app, a local SQS with messages, and a supervisor."""

    def __init__(self, directory: Path, sqs: LocalSqs) -> None:
        self.directory, self.sqs = directory, sqs
        self.url: str = self.ask("CreateQueue", QueueName="orders")["QueueUrl"]
        self.write(SHOP)
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, code: str) -> None:
        (self.directory / "shop.py").write_text(textwrap.dedent(code))

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        assert self.sqs._loop is not None
        future = asyncio.run_coroutine_threadsafe(self.sqs.broker.call(operation, request), self.sqs._loop)
        answer: dict[str, Any] = future.result()
        return answer

    def fill(self, count: int) -> set[str]:
        bodies = {f"m{number}" for number in range(count)}
        for body in bodies:
            self.ask("SendMessage", QueueUrl=self.url, MessageBody=body)
        return bodies

    def counts(self) -> tuple[int, int]:
        """Messages visible, and hidden."""
        found = self.ask("GetQueueAttributes", QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        visible, hidden = (int(found[name]) for name in names)
        return visible, hidden

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL_SQS": self.sqs.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }
        with (self.directory / "err").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "leasekeeper", "run", "shop:app", *arguments],
                cwd=self.directory,
                env=environment,
                stderr=err,
                stdout=err,
            )
        return self.process

    @property
    def err(self) -> str:
        return (self.directory / "err").read_text()

    def lines(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def until_more(self, words: str, than: int) -> None:
        """Wait until the log has these words more often."""
        self.until(lambda: self.err.count(words) > than, f"{words!r} is said again")

    def until_handled(self, than: int) -> None:
        """Wait until more messages are handled."""
        self.until(lambda: len(self.lines("finished")) > than, "messages flow")

    def children(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def until(self, condition: Callable[[], object], what: str) -> None:
        pause, end = threading.Event(), time.monotonic() + 90
        while not condition():
            assert time.monotonic() < end, f"it did not come to this: {what}\n{self.err}"
            pause.wait(0.05)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with LocalSqs(seed=1) as sqs:
        stage = Stage(tmp_path, sqs)
        yield stage
        if stage.process is not None and stage.process.poll() is None:
            stage.process.kill()
            stage.process.wait()


def test_reloads_under_load_leave_nothing_hidden_and_a_syntax_error_is_shown(stage: Stage) -> None:
    sent = stage.fill(1500)
    process = stage.run("--reload")
    for code in (SHOP + "# one\n", SHOP + "# two\n"):
        stage.until_handled(len(stage.lines("finished")))
        ready = stage.err.count("ready: ")
        stage.write(code)
        stage.until_more("ready: ", ready)
    stage.write(SHOP + "def broken(:\n")
    stage.until(lambda: "waiting for a change of the code" in stage.err, "the error is shown")
    assert "SyntaxError" in stage.err
    assert stage.counts()[1] == 0
    ready = stage.err.count("ready: ")
    stage.write(SHOP)
    stage.until_more("ready: ", ready)

    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 0
    visible, hidden = stage.counts()
    finished = stage.lines("finished")
    assert (visible, hidden) == (len(sent) - len(set(finished)), 0)
    assert len(finished) == len(set(finished))


def test_processes_that_are_killed_again_and_again_lose_nothing_and_leave_none_behind(stage: Stage) -> None:
    sent, draw = stage.fill(400), random.Random(1)
    process = stage.run("--processes", "2")
    for _ in range(ROUNDS):
        stage.until_more("ready: ", 1)
        ready = stage.err.count("ready: ")
        os.kill(draw.choice(stage.children()), signal.SIGKILL)
        stage.until_more("ready: ", ready)
    stage.until(lambda: stage.counts() == (0, 0), "the queue is empty")
    assert set(stage.lines("finished")) == sent
    children = stage.children()

    process.kill()

    process.wait()
    stage.until(lambda: not [pid for pid in children if Path(f"/proc/{pid}/exe").exists()], "its children have ended")
    assert stage.err.count("the supervisor of this process has ended: stopping") == 2


def test_sigterm_under_load_with_everything_on_leaves_nothing_hidden_and_ends_in_time(stage: Stage) -> None:
    sent = stage.fill(3000)
    process = stage.run("--processes", "2", "--admin", "127.0.0.1:0", "--log-format", "json", "--concurrency", "20")
    stage.until(lambda: "the admin surface of all processes: http://" in stage.err, "the surface is there")
    url = re.findall(r"of all processes: (http://[0-9.:]+)", stage.err)[0]
    stage.until(lambda: len({line.split()[0] for line in stage.lines("started")}) == 2, "both are at work")
    state = json.loads(urllib.request.urlopen(f"{url}/api/state", timeout=10).read())
    metrics = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()
    assert 'leasekeeper_process_up{process="2"}' in metrics
    assert state["fleet"]
    stream = urllib.request.urlopen(f"{url}/api/stream", timeout=30)  # stays open
    began = time.monotonic()

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    stream.close()
    assert time.monotonic() - began < 15
    finished = stage.lines("finished")
    assert stage.counts() == (len(sent) - len(set(finished)), 0)
    assert len(finished) == len(set(finished))
    last = [json.loads(line) for line in stage.err.splitlines()][-1]
    assert last["logger"] == "leasekeeper.supervisor"
    assert last["report"]["processes"] == 2
