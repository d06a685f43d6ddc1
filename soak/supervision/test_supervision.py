"""Supervisors with real consumers: reloads under load, kills in loops, and a stop with everything on.

`LEASEKEEPER_SOAK_ROUNDS` sets how often a process is killed.
"""

from __future__ import annotations

import http.client
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
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


EVERYTHING = """
import asyncio, json, os, urllib.request
from contextlib import asynccontextmanager
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from leasekeeper import Leasekeeper
from leasekeeper.observe.emf import EmfLines
from leasekeeper.observe.tracing import Tracing

class Exporter(SpanExporter):
    def export(self, spans):
        bodies = [span.attributes["body"] for span in spans]
        urllib.request.urlopen("COLLECTOR", json.dumps(bodies).encode()).close()
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(Exporter(), schedule_delay_millis=60_000))

async def print_metrics(emf):
    while True:
        write(emf)
        await asyncio.sleep(0.2)

def write(emf):
    with open("emf", "a") as file:
        file.writelines(f"{line}\\n" for line in emf.lines())

@asynccontextmanager
async def lifespan(app):
    emf = EmfLines(app, service="shop")
    printing = asyncio.create_task(print_metrics(emf))
    yield
    printing.cancel()
    write(emf)

app = Leasekeeper(lifespan=lifespan, middleware=[Tracing(provider)])

@app.consumer("orders", visibility_timeout=3, wait_time=1)
async def ship(body: str) -> None:
    trace.get_current_span().set_attribute("body", body)
    with open("started", "a") as file:
        file.write(f"{os.getpid()} {body}\\n")
    await asyncio.sleep(0.1)
    with open("finished", "a") as file:
        file.write(f"{body}\\n")
"""


class Collector:
    """Where spans are exported to: a server that keeps what it gets, and may never answer.

    Attributes:
        answers: whether it answers.
    """

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.answers = threading.Event()
        self.answers.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.answers.wait()
                outer.bodies += json.loads(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Reader(threading.Thread):
    """Reads an address to its end as a browser or a scraper does, or again and again while it is there."""

    def __init__(self, url: str, *, again: bool = False) -> None:
        super().__init__(daemon=True)
        self._url, self._again = url, again
        self.lines: list[bytes] = []
        self.start()

    def run(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                with urllib.request.urlopen(self._url, timeout=30) as answer:
                    self.lines = [line.strip() for line in answer] if self._again else []
                    for line in answer:
                        self.lines.append(line)
                if not self._again:
                    return


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
        return self.sqs.call(operation, **request)

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


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.answers.set()
    collector.server.shutdown()
    collector.server.server_close()


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


def lines_of(stage: Stage) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stage.err.splitlines() if line.startswith("{")]


def begin_with_everything_on(stage: Stage, collector: Collector) -> tuple[subprocess.Popen[bytes], str]:
    """Two processes at work with a keeper, traces, EMF lines, and an admin surface; the supervisor, and the address."""
    stage.write(EVERYTHING.replace("COLLECTOR", collector.url))
    process = stage.run("--processes", "2", "--admin", "127.0.0.1:0", "--log-format", "json", "--concurrency", "20")
    stage.until(lambda: "the admin surface of all processes: http://" in stage.err, "the surface is there")
    url = re.findall(r"of all processes: (http://[0-9.:]+)", stage.err)[0]
    stage.until(lambda: len({line.split()[0] for line in stage.lines("started")}) == 2, "both are at work")
    return process, url


def test_sigterm_under_load_with_everything_on_ends_in_time_and_flushes_all(stage: Stage, collector: Collector) -> None:
    """Nothing is lost or hidden, each message that was handled has its span, and the last metrics are complete."""
    sent = stage.fill(3000)
    process, url = begin_with_everything_on(stage, collector)
    browser, scraper = Reader(f"{url}/api/stream"), Reader(f"{url}/metrics", again=True)
    stage.until(lambda: browser.lines, "the stream flows")
    stage.until(lambda: any(b'process_up{process="2"}' in line for line in scraper.lines), "metrics are scraped")
    assert json.loads(urllib.request.urlopen(f"{url}/api/state", timeout=10).read())["fleet"]
    began = time.monotonic()

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    assert time.monotonic() - began < 15
    browser.join(10)
    scraper.join(10)
    assert not browser.is_alive()
    finished = stage.lines("finished")
    assert stage.counts() == (len(sent) - len(set(finished)), 0)
    assert len(finished) == len(set(finished))
    assert sorted(collector.bodies) == sorted(finished), "the last spans are exported"
    metrics = [json.loads(line) for line in stage.lines("emf")]
    assert sum(line.get("handled_done", 0) for line in metrics) == len(finished), "the last metrics are exported"
    last = lines_of(stage)[-1]
    assert last["logger"] == "leasekeeper.supervisor"
    assert last["report"]["processes"] == 2


def test_a_collector_that_hangs_makes_no_stop_longer_than_its_margin(stage: Stage, collector: Collector) -> None:
    sent = stage.fill(1000)
    collector.answers.clear()
    process, _ = begin_with_everything_on(stage, collector)
    began = time.monotonic()

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    assert time.monotonic() - began < 15, "the batch processor alone would wait for 30 s"
    finished = stage.lines("finished")
    assert stage.counts() == (len(sent) - len(set(finished)), 0)
    assert len(finished) == len(set(finished))
    assert sum("has not ended within 4 s" in line["message"] for line in lines_of(stage)) == 2
