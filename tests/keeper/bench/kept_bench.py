"""A consumer with a keeper in a real process, and an SQS in this one; used by the soak tests too."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from forking import forker
from leasekeeper.local import LocalSqs
from leasekeeper.local.connection import Connection

if TYPE_CHECKING:
    import signal
    import ssl
    from collections.abc import Callable, Iterator

    from forking import Forked

LEASEKEEPER = Path(sys.executable).with_name("leasekeeper")
DEADLINE = 30.0
HEAD = """
import os, re, sys, threading, time
from leasekeeper import Consumer, Message

def note(word):
    print(word, flush=True)
"""


class Program:
    """A script that runs."""

    def __init__(self, process: Forked, out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def said(self, word: str) -> int:
        """How many lines begin with this word."""
        return sum(line.startswith(word) for line in self.out.splitlines())

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


class KeptBench:
    """An SQS with one queue, and programs that consume it."""

    def __init__(self, directory: Path, *, name: str = "orders") -> None:
        self.directory = directory
        self.sqs = LocalSqs()
        self.name = name
        attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if name.endswith(".fifo") else {}
        made = self.sqs.broker.account.call("CreateQueue", {"QueueName": name, "Attributes": attributes}, 0.0)
        self.url = made["QueueUrl"]
        self.programs: list[Program] = []
        self.variables: dict[str, str] = {}
        """More for the environment of programs."""

    @contextmanager
    def tls(self, context: ssl.SSLContext) -> Iterator[str]:
        """Have the server listen on another port, with TLS; its URL."""

        async def listen() -> asyncio.Server:
            loop = asyncio.get_running_loop()
            return await loop.create_server(lambda: Connection(self.sqs._server._front), "127.0.0.1", 0, ssl=context)

        loop = self.sqs._loop
        assert loop is not None
        server = asyncio.run_coroutine_threadsafe(listen(), loop).result()
        try:
            yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(server.close)

    def fill(self, count: int, **request: Any) -> None:
        """Send messages, before the start; their bodies are numbers."""
        for number in range(count):
            message = {"QueueUrl": self.url, "MessageBody": str(number), **request}
            self.sqs.broker.account.call("SendMessage", message, 0.0)

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Make a call at the server, about the queue."""
        return self.sqs.call(operation, QueueUrl=self.url, **request)

    def counts(self) -> tuple[int, int]:
        """Messages that are visible, and in flight."""
        found = self.call("GetQueueAttributes", AttributeNames=["All"])["Attributes"]
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])

    def others(self) -> list[str]:
        """The bodies that another consumer receives now, in one receive."""
        answer = self.call("ReceiveMessage", MaxNumberOfMessages=10, WaitTimeSeconds=0, VisibilityTimeout=600)
        return [message["Body"] for message in answer.get("Messages", ())]

    def start(self, code: str, *flags: str) -> Program:
        """Run a script with `HEAD` before it."""
        script = self.directory / f"script{len(self.programs)}.py"
        script.write_text(HEAD + textwrap.dedent(code))
        return self._start((str(script),), flags)

    def run(self, code: str, *arguments: str) -> Program:
        """Run the command `leasekeeper run` with a module of that code, which makes `app`."""
        (self.directory / "shop.py").write_text(HEAD + "from leasekeeper import Leasekeeper\n" + textwrap.dedent(code))
        return self._start((str(LEASEKEEPER), "run", *arguments, "shop:app"), ())

    def _start(self, arguments: tuple[str, ...], flags: tuple[str, ...]) -> Program:
        out, err = (self.directory / f"{name}{len(self.programs)}" for name in ("out", "err"))
        for each in (out, err):
            each.touch()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "AWS_ENDPOINT_URL_SQS": self.sqs.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            **self.variables,
        }
        process = forker(*flags).start(arguments, self.directory, environment, out, err)
        program = Program(process, out, err)
        self.programs.append(program)
        return program

    def until(self, condition: Callable[[], object], what: str, *, within: float = DEADLINE) -> float:
        """Ask until it holds; how many seconds that took."""
        pause, began = threading.Event(), time.monotonic()
        while not condition():
            errors = "\n".join(program.err for program in self.programs)
            assert time.monotonic() < began + within, f"in {within:g} s it did not come to this: {what}\n{errors}"
            pause.wait(0.02)
        return time.monotonic() - began

    def watch(self, seen: list[str], condition: Callable[[], object], what: str, *, within: float = DEADLINE) -> None:
        """Note what another consumer receives until the condition holds."""

        def look() -> object:
            seen.extend(self.others())
            return condition()

        self.until(look, what, within=within)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[KeptBench]:
    """A bench with a standard queue; a `conftest.py` imports it."""
    yield from _made(KeptBench(tmp_path))


@pytest.fixture
def fifo_bench(tmp_path: Path) -> Iterator[KeptBench]:
    """A bench with a FIFO queue."""
    yield from _made(KeptBench(tmp_path, name="orders.fifo"))


def _made(bench: KeptBench) -> Iterator[KeptBench]:
    """Give a bench to a test, and end what still runs."""
    try:
        yield bench
    finally:
        for program in bench.programs:
            program.process.kill()
            program.process.wait(DEADLINE)
        bench.sqs.stop()
