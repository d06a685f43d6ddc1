"""The real command line as a subprocess, a local SQS on a free port, and boto3 as the other side."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import boto3
import pytest
from botocore.config import Config

from forking import Forked, forker
from leasekeeper.cli.program import execute
from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEASEKEEPER = Path(sys.executable).with_name("leasekeeper")
DEADLINE = 60.0
"""Seconds after which a condition is given up: far more than any takes, for slow machines."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("tests/acceptance/"):
            item.add_marker(pytest.mark.slow)


def wait_until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Ask until it holds."""
    pause, end = threading.Event(), time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"in {deadline:g} s it did not come to this: {what}"
        pause.wait(0.02)


class Command:
    """A running program, `leasekeeper` or a script: what it says, its signals, its end."""

    def __init__(self, process: Callable[[Path, Path], subprocess.Popen[bytes] | Forked], directory: Path) -> None:
        self._out = directory / f"out-{time.monotonic_ns()}"
        self._err = self._out.with_name(self._out.name.replace("out", "err"))
        self._out.touch()
        self._err.touch()
        self.process = process(self._out, self._err)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def out_bytes(self) -> bytes:
        return self._out.read_bytes()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until_it_says(self, words: str) -> None:
        """Wait until it has said this; its end before that is a failure."""
        wait_until(lambda: words in self.err + self.out or self.process.poll() is not None, f"{words!r} is said")
        assert words in self.err + self.out, f"ended with {self.process.returncode} without {words!r}:\n{self.err}"

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self, within: float = DEADLINE) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(within)


class Called(NamedTuple):
    """What a command said that ran in this process, and its exit code."""

    out: str
    err: str
    code: int


@contextlib.contextmanager
def _not_imported(names: set[str]) -> Iterator[None]:
    """Forget modules with these names, which another test may have imported, until the end of the block."""
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


class Bench:
    """A directory with a user's module, and an SQS."""

    def __init__(self, directory: Path, sqs: LocalSqs) -> None:
        self.directory = directory
        self.sqs = sqs
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "AWS_ENDPOINT_URL_SQS": sqs.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "COLUMNS": "200",
        }
        self.boto: Any = boto3.client(
            "sqs",
            endpoint_url=sqs.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0}),
        )
        self._running: list[Command] = []

    def module(self, name: str, code: str) -> None:
        (self.directory / f"{name}.py").write_text(textwrap.dedent(code))

    def leasekeeper(self, *arguments: str, **environment: str) -> Command:
        """Run the command in a forked process, or from nothing where variables are for Python."""
        if any(name.startswith("PYTHON") for name in environment):
            return self.installed(*arguments, **environment)
        return self._forked((), (str(LEASEKEEPER), *arguments), environment)

    def installed(self, *arguments: str, **environment: str) -> Command:
        """Run the command as a shell does."""

        def start(out: Path, err: Path) -> subprocess.Popen[bytes]:
            with out.open("w") as stdout, err.open("w") as stderr:
                return subprocess.Popen(
                    (LEASEKEEPER, *arguments),
                    cwd=self.directory,
                    env=self.environment | environment,
                    stdout=stdout,
                    stderr=stderr,
                    stdin=subprocess.DEVNULL,
                )

        return self._started(start)

    def call(self, *arguments: str) -> Called:
        """Run `leasekeeper` in this process, for tests of what it does and says; a process takes a second more."""
        out, err = io.StringIO(), io.StringIO()
        with (
            _not_imported({path.stem for path in self.directory.glob("*.py")}),
            mock.patch.object(sys, "argv", ["leasekeeper", *arguments]),
            mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.chdir(self.directory),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = execute()
        return Called(out.getvalue(), err.getvalue(), code)

    def script(self, name: str, **environment: str) -> Command:
        """Run a module of this directory as a program, in the development mode of Python."""
        return self._forked(("-X", "dev"), (f"{name}.py",), environment)

    def _forked(self, flags: tuple[str, ...], arguments: tuple[str, ...], environment: dict[str, str]) -> Command:
        whole = self.environment | environment
        return self._started(lambda *outputs: forker(*flags).start(arguments, self.directory, whole, *outputs))

    def _started(self, process: Callable[[Path, Path], subprocess.Popen[bytes] | Forked]) -> Command:
        command = Command(process, self.directory)
        self._running.append(command)
        return command

    def queue(self, name: str, **attributes: str) -> str:
        url: str = self.boto.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def fill(self, url: str, count: int) -> set[str]:
        """Send that many messages with different bodies through boto3; returns the bodies."""
        bodies = [f"m{number}" for number in range(count)]
        for start in range(0, count, 10):
            entries = [{"Id": body, "MessageBody": body} for body in bodies[start : start + 10]]
            assert len(self.boto.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == len(entries)
        return set(bodies)

    def counts(self, url: str) -> tuple[int, int]:
        """Messages visible in a queue, and hidden or delayed there."""
        found = self.boto.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        names = ("NotVisible", "Delayed")
        hidden = sum(int(found[f"ApproximateNumberOfMessages{name}"]) for name in names)
        return int(found["ApproximateNumberOfMessages"]), hidden

    def bodies(self, url: str) -> list[str]:
        """The bodies visible in a queue now."""
        found: list[str] = []
        while more := self.boto.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [each["Body"] for each in more]
        return found

    def until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, what)

    def lines(self, name: str) -> list[str]:
        """What handlers wrote to a file of theirs, whole lines only."""
        path = self.directory / name
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def close(self) -> None:
        for each in self._running:
            if each.process.poll() is None:
                each.process.kill()
                each.process.wait()
        self.boto.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with LocalSqs() as sqs:
        bench = Bench(tmp_path, sqs)
        yield bench
        bench.close()


NOTE = '''
import os

def note(name, words):
    """Write one line, completely or not at all, even if a process dies."""
    with open(name, "a") as file:
        file.write(f"{words}\\n")
'''


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """A bench with `note` in `notes.py`."""
    bench.module("notes", NOTE)
    return bench
