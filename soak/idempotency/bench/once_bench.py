"""A queue and a store with processes that consume, for the soak tests of idempotency."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from leasekeeper.api import Credentials
from leasekeeper.idempotency import DynamoDbStore, PostgresInbox, PostgresStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.local import LocalSqs

PROGRAM = Path(__file__).parent / "once.py"


class Bench:
    """A queue, a store, and the processes that consume."""

    def __init__(self, sqs: LocalSqs, folder: Path, kind: str, place: str) -> None:
        self.sqs = sqs
        self.folder = folder
        self.kind = kind
        self.place = place
        for name in ("started", "effects", "counts"):  # several processes append to them
            (folder / name).touch()
        self.url: str = self.ask("CreateQueue", QueueName="orders")["QueueUrl"]
        self.processes: list[subprocess.Popen[bytes]] = []
        self.killed: set[int] = set()

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.sqs.call(operation, **request)

    def send(self, numbers: range, times: int = 1) -> None:
        for _ in range(times):
            for number in numbers:
                self.ask("SendMessage", QueueUrl=self.url, MessageBody=json.dumps({"id": number}))

    def left(self) -> int:
        found = self.ask("GetQueueAttributes", QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(found[name]) for name in names)

    def start(self, share: float = 0.0, seconds: float = 0.005) -> subprocess.Popen[bytes]:
        arguments = [self.kind, self.place, self.sqs.endpoint_url, self.folder, share, seconds]
        process = subprocess.Popen([sys.executable, PROGRAM, *map(str, arguments)])
        self.processes.append(process)
        return process

    def replace_killed(self, share: float) -> None:
        """Start another process for each that has killed itself."""
        for process in list(self.processes):
            if process.poll() is not None:
                assert process.returncode == -signal.SIGKILL
                self.killed.add(process.pid)
                self.processes.remove(process)
                self.start(share)

    def lines(self, name: str) -> list[tuple[int, int, float]]:
        """Message, process and time of each note of that name."""
        path = self.folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        found = [line.split() for line in lines]
        return [(int(number), int(process), float(at)) for number, process, at in found]

    def stop(self) -> dict[str, int]:
        """Stop all processes; what they counted."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)
        self.processes.clear()
        path, counts = self.folder / "counts", dict[str, int]()
        for line in path.read_text().splitlines() if path.exists() else []:
            for name, count in json.loads(line).items():
                counts[name] = counts.get(name, 0) + count
        return counts

    @staticmethod
    def until(condition: Callable[[], object], what: str, within: float = 300) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + within, f"not within {within:g} s: {what}"
            time.sleep(0.05)
        return time.monotonic() - began


def create_tables(kind: str, place: str) -> None:
    """What a store of that kind needs."""
    if kind == "dynamodb":
        keys = Credentials(access_key="k", secret_key="s")
        DynamoDbStore("keys", region="eu-west-1", endpoint_url=place, credentials=keys).create_table()
    elif kind == "postgres":
        PostgresStore(place).create_table()
    elif kind == "inbox":
        PostgresInbox(place, key="id").create_table()
        with psycopg.connect(place) as connection:
            connection.execute("CREATE TABLE effects (id int, pid int)")
