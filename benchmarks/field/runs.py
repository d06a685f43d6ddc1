"""Runs: one client in one scenario, once, and its figures.

A client that dies or does nothing is a result ("failure" says how), never an exception.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import environments
import figures
import notes
from clients import SINGLE
from figures import Snapshot
from processes import ClientProcess
from scenarios import IDLE, LEASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from clients import Client
    from control import Control
    from figures import Figures
    from scenarios import Scenario

START_LIMIT = 60.0
"""Seconds in which a client must send its first receive."""
QUIET = 1.5
"""Seconds of idling before a release, so that no client is measured while it warms up."""
STOP_LIMIT = 30.0
"""Seconds a client has from SIGTERM to its exit."""
END_LIMIT = 1.0
"""The same in scenarios that do not measure the end; then the client is killed."""
PRODUCE_LIMIT = 300.0
CALLED = 100
"""How often each handler that runs alone is called at most, and how many calls are timed."""
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


class Unfit(Exception):
    """The reason why a client cannot run a scenario."""


@dataclass(slots=True)
class Bench:
    """The parts that all runs of a session share.

    Attributes:
        control: the server.
        folder: for notes and logs.
        scenarios: all scenarios of the session, so that a stock is made once and large enough.
    """

    control: Control
    folder: Path
    scenarios: Sequence[Scenario]
    _stocks: dict[str, str] = field(default_factory=dict)  # stock to its error, or an empty text
    _earlier: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """Figures of a scenario and a client, or of a scenario and a kind of handlers alone."""

    def run(self, client: Client, scenario: Scenario) -> Figures:
        """Run the client in the scenario, and return the figures."""
        if client.alone:
            return self._alone(client, scenario)
        try:
            stock = self._stock(client, scenario)
        except Unfit as reason:
            return {"failure": f"n/a: {reason}"}
        file = self.folder / f"{_plain(client.name)}.notes"
        notes.blank(file, scenario.count(client))
        self.prepare(client, scenario)
        with self.started(client, scenario, file if scenario.notes else None) as process:
            if failure := self.awaited(queue_of(client, scenario), process):
                return {"failure": failure}
            time.sleep(QUIET)
            if scenario.term_after is not None:
                return self._stop(client, scenario, stock, process, file)
            return self._whole(client, scenario, stock, process, file)

    def _alone(self, client: Client, scenario: Scenario) -> Figures:
        """Run the scenario's handlers without a queue, and measure a call."""
        queue, file = queue_of(client, scenario), self.folder / f"{_plain(client.name)}.notes"
        shorter = replace(
            scenario, concurrency=scenario.at_once, messages=min(scenario.messages, scenario.at_once * CALLED)
        )
        notes.blank(file, shorter.messages)
        self.prepare(client, scenario)
        calls = self.control.call_seconds(queue, CALLED)
        with self.started(client, shorter, file) as process:
            if not process.wait(scenario.limit) or process.status:
                return {"failure": f"did not finish: {_death(process)}"}
        found = figures.alone(scenario, notes.read(file), calls)
        self._earlier.setdefault((scenario.letter, client.kind), []).append(found["allowed_here"])
        return found

    def idle(self, clients: Sequence[Client], settle: float, seconds: float) -> dict[str, Figures]:
        """Run all clients at once with nothing to do; return the cost of a minute, by client."""
        results: dict[str, Figures] = {}
        running: dict[str, tuple[Client, ClientProcess]] = {}
        with _all_stopped(running):
            for client in clients:
                self.prepare(client, IDLE)
                process = self._start(client, IDLE, None)
                running[client.name] = (client, process)
                if failure := self.awaited(queue_of(client), process):
                    results[client.name] = {"failure": failure}
            time.sleep(settle)
            before = {name: self._snapshot(queue_of(each[0]), each[1]) for name, each in running.items()}
            time.sleep(seconds)
            for name, each in running.items():
                after = self._snapshot(queue_of(each[0]), each[1])
                if each[1].status is not None:
                    results.setdefault(name, {"failure": f"did not last: {_death(each[1])}"})
                results.setdefault(name, _idling(before[name], after))
        return {client.name: results[client.name] for client in clients}

    def _whole(self, client: Client, scenario: Scenario, stock: str, process: ClientProcess, file: Path) -> Figures:
        """Run up to the last delete, or to the scenario's limit."""
        count, queue = scenario.count(client), queue_of(client, scenario)
        start = self._snapshot(queue, process)
        counts = self.control.ask("release", queue=queue, stock=stock, count=count, rate=scenario.rate)
        before = Snapshot(counts, start.cpu, start.memory)
        end = time.monotonic() + scenario.limit
        done = False
        while not done and time.monotonic() < end and process.status is None:
            done = self.control.wait(queue, "deleted", count, min(1.0, max(0.0, end - time.monotonic())))
        after = self._snapshot(queue, process)
        found = figures.costs(scenario, before, after)
        if process.status is not None:
            found["failure"] = f"did not finish: {_death(process)}"
        elif not done and scenario.letter != LEASE.letter:
            found["unfinished"] = f"{found['deleted']:,} of {count:,} messages in {scenario.limit:g} s"
        return found | self._special(client, scenario, found, file)

    def _special(self, client: Client, scenario: Scenario, found: Figures, file: Path) -> Figures:
        """The figures that only this scenario has."""
        if scenario.letter in {"A", "L", "M"} and "cpu_us" in found:
            return self._against_standard(client, scenario, found["cpu_us"])
        if scenario.letter == "C":
            return figures.beyond(scenario, found)
        if not scenario.notes:
            return {}
        noted, queue = notes.read(file), queue_of(client, scenario)
        if scenario.letter in {"KC", "KH"}:
            counts = self.control.ask("counts", queue=queue)
            return self._beside_hot(client, scenario, figures.cold(noted, scenario.hot, counts["released_at"]))
        if scenario.groups:
            allowed = self._earlier.get((scenario.letter, client.kind))  # the most: it flatters no client
            beside = figures.beside_alone(noted, found["rate"], max(allowed) if allowed else None)
            again = sum(max(0, note.starts - 1) for note in noted)
            return figures.share(scenario, found) | beside | {"started_again": again}
        if scenario.letter == "B":
            counts = self.control.ask("counts", queue=queue)
            ramp = figures.ramp(noted, counts["released_at"], counts["last_delete"])
            return figures.share(scenario, found) | ramp
        if scenario.letter == "D":
            return figures.lease(found, noted, scenario.count(client))
        released = self.control.ask("indices", queue=queue)["released"]
        return figures.delay(noted, {int(index): at for index, at in released.items()})

    def _against_standard(self, client: Client, scenario: Scenario, cpu_us: float) -> Figures:
        """The CPU of a message against that of a standard queue and single handlers, if A ran in this session."""
        self._earlier.setdefault((scenario.letter, client.name), []).append(cpu_us)
        standard = self._earlier.get(("A", SINGLE.get(client.name, client.name)))
        return {"to_standard": cpu_us / statistics.median(standard)} if standard and scenario.letter != "A" else {}

    def _beside_hot(self, client: Client, scenario: Scenario, cold: Figures) -> Figures:
        """The rate of the cold groups, and its share of the rate that they had alone, if KC ran in this session."""
        if "cold_rate" in cold:
            self._earlier.setdefault((scenario.letter, client.name), []).append(cold["cold_rate"])
        alone = self._earlier.get(("KC", client.name))
        if alone and scenario.hot and "cold_rate" in cold:
            cold["to_alone"] = cold["cold_rate"] / statistics.median(alone)
        return cold

    def _stop(self, client: Client, scenario: Scenario, stock: str, process: ClientProcess, file: Path) -> Figures:
        """Run, and send SIGTERM during the run."""
        count, queue = scenario.count(client), queue_of(client, scenario)
        self.control.ask("release", queue=queue, stock=stock, count=count)
        time.sleep(scenario.term_after or 0.0)
        if process.status is not None:
            return {"failure": f"did not last: {_death(process)}"}
        done = self.control.ask("counts", queue=queue)["deleted"]
        ended = process.terminate(STOP_LIMIT)
        time.sleep(0.1)  # by then the server has read the last request
        indices = self.control.ask("indices", queue=queue)
        found = figures.stop(notes.read(file), set(indices["deleted"]), indices["leased"], ended)
        if done == count:
            found["failure"] = f"n/a: all {count:,} messages were done before the SIGTERM"
        return found | {"deleted": found["stop_deleted"], "deleted_before_term": done}

    def prepare(self, client: Client, scenario: Scenario) -> None:
        """Make a fresh queue for the client, with the scenario's settings."""
        queue = queue_of(client, scenario)
        self.control.ask("drop", queue=queue)
        self.control.ask("configure", queue=queue, latency=scenario.latency, visibility=scenario.visibility)

    @contextmanager
    def started(self, client: Client, scenario: Scenario, file: Path | None) -> Iterator[ClientProcess]:
        """Run a process of the client until the block ends; file: for the notes of handlers."""
        process = self._start(client, scenario, file)
        try:
            yield process
        finally:
            process.terminate(END_LIMIT)

    def _start(self, client: Client, scenario: Scenario, file: Path | None) -> ClientProcess:
        return ClientProcess(
            [*environments.command(client), "run"], self._environment(client, scenario, file), self._log(client)
        )

    def awaited(self, queue: str, process: ClientProcess) -> str | None:
        """Wait for the first receive of a queue; return the reason if there was none."""
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end:
            if self.control.wait(queue, "polled", 1, 1.0):
                return None
            if process.status is not None:
                return f"did not start: {_death(process)}"
        return f"did not start: no receive in {START_LIMIT:g} s; {process.last_words()}"

    def _snapshot(self, queue: str, process: ClientProcess) -> Snapshot:
        cpu, memory = process.cpu(), process.peak_memory()
        return Snapshot(self.control.ask("counts", queue=queue), cpu, memory)

    def _stock(self, client: Client, scenario: Scenario) -> str:
        """The stock of a client's messages as the scenario needs them; it is made at the first call."""
        size, groups, hot = scenario.size, scenario.groups, scenario.hot
        alike = [each for each in self.scenarios if (each.size, each.groups, each.hot) == (size, groups, hot)]
        stock = f"{queue_of(client)}-{size}" if client.produces else f"raw-{size}-{groups}-{hot}"
        if stock not in self._stocks:
            if client.produces:
                self._stocks[stock] = self._produce(client, stock, max(each.count(client) for each in alike), size)
            else:
                self.control.ask(
                    "stock", stock=stock, count=max(each.messages for each in alike), size=size, groups=groups, hot=hot
                )
                self._stocks[stock] = ""
        if reason := self._stocks[stock]:
            raise Unfit(reason)
        return stock

    def _produce(self, client: Client, stock: str, count: int, size: int) -> str:
        """Let the client's own producer make the stock; return the error, or an empty text."""
        queue = queue_of(client)
        self.control.ask("configure", queue=queue, latency=0.0, visibility=30)
        self.control.ask("stocking", queue=queue, stock=stock)
        command = [*environments.command(client), "produce", str(count), str(size)]
        process = ClientProcess(command, self._environment(client, IDLE, None), self._log(client))
        ended = process.wait(PRODUCE_LIMIT)
        status = process.terminate(STOP_LIMIT).status
        made = self.control.ask("stocking", queue=queue, stock=None)["count"]
        if made == count:
            return ""
        how = f"status {status}" if ended else f"{PRODUCE_LIMIT:g} s were not enough"
        return f"its producer sent {made:,} of {count:,} ({how}): {process.last_words()}"

    def _environment(self, client: Client, scenario: Scenario, file: Path | None) -> dict[str, str]:
        queue = queue_of(client, scenario)
        endpoint = self.control.endpoint
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "BENCH_ENDPOINT": endpoint,
            "BENCH_QUEUE": queue,
            "BENCH_QUEUE_URL": f"{endpoint}/000000000000/{queue}",
            "BENCH_CONCURRENCY": str(scenario.concurrency_of(client)),
            "BENCH_HANDLER": scenario.handler,
            "BENCH_SECONDS": str(scenario.seconds),
            "BENCH_MESSAGES": str(scenario.count(client)),
            "BENCH_NOTES": str(file or ""),
            "BENCH_VISIBILITY": str(scenario.visibility),
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "fake",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_SQS": endpoint,
            "AWS_ACCOUNT_ID": "000000000000",
            "AWS_EC2_METADATA_DISABLED": "true",
            **client.settings,
        }

    def _log(self, client: Client) -> Path:
        return self.folder / f"{_plain(client.name)}.log"


def queue_of(client: Client, scenario: Scenario | None = None) -> str:
    """The name of the client's queue: the same for each kind, because some formats contain it in their messages."""
    return f"field-{_plain(client.name)}{'.fifo' if scenario is not None and scenario.groups else ''}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def _death(process: ClientProcess) -> str:
    return f"it exited with status {process.status}; {process.last_words()}"


def _idling(before: Snapshot, after: Snapshot) -> Figures:
    minutes = (after.counts["now"] - before.counts["now"]) / 60
    calls = sum(after.counts["calls"].values()) - sum(before.counts["calls"].values())
    return {
        "calls_a_minute": calls / minutes,
        "cpu_ms_a_minute": (after.cpu - before.cpu) * 1000 / minutes,
        "peak_mb": after.memory,
        "minutes": minutes,
    }


@contextmanager
def _all_stopped(running: dict[str, tuple[Client, ClientProcess]]) -> Iterator[None]:
    try:
        yield
    finally:
        for _, process in running.values():
            process.terminate(END_LIMIT)
