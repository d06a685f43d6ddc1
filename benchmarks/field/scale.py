"""How Leasekeeper scales: with messages in flight, and with processes.

    python benchmarks/field/scale.py            # both; writes benchmarks/.results/scale.json
    python benchmarks/field/scale.py --rounds 3

*In flight*: the consumer holds a number of messages in handlers that wait. Then 20,000 messages with handlers that do
nothing pass. Their cost must not depend on how many are held; the memory that the held messages add, divided by their
number, is the cost of one. *Processes*: scenario B with one consumer process, then with two on the same queue. Two
cores are enough.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clients import CLIENTS
from control import serving
from results import FOLDER, machine
from runs import Bench, queue_of
from scenarios import WAIT, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients import Client
    from control import Control
    from processes import ClientProcess

KEPT = FOLDER / "scale.json"
PASSING = 20_000
"""Messages that pass the held ones."""
SPARE = 100
"""Handlers that may run in addition to the held ones."""
MOST = 120_000
"""Messages in flight that SQS allows a queue."""
STEPS = (1, 100, 1_000, 10_000, 50_000, MOST - 4 * SPARE)
"""How many are held. In the last step, messages that wait for their delete need the rest."""
SIZE = 500
REST = 2.0
"""Seconds in which handlers start and pollers settle."""
PATIENCE = 180.0
"""Seconds that a step may take."""
HOLDING = replace(CLIENTS["leasekeeper-async"], name="leasekeeper-holding", file="leasekeeper_holding.py")


@dataclass(frozen=True, slots=True)
class Held:
    """The measurement with this many messages held."""

    held: int
    cpu_us: float
    rate: float
    bytes_a_message: float  # beyond its body


def hold(control: Control, folder: Path, count: int) -> Held:
    """Hold `count` messages and let others pass."""
    scenario = Scenario("J", "messages held", concurrency=count + SPARE, visibility=600, size=SIZE)
    client = replace(HOLDING, settings={"PEER_HELD": str(count)})
    bench, queue = Bench(control, folder, [scenario]), queue_of(client)
    control.ask("stock", stock="held", count=count, size=SIZE)
    control.ask("stock", stock="passing", count=PASSING, size=SIZE, first=count)
    bench.prepare(client, scenario)
    with bench.started(client, scenario, None) as process:
        _come_to_rest(bench, client, process)
        before = process.resident()
        control.ask("release", queue=queue, stock="held", count=count)
        _until(lambda: control.ask("counts", queue=queue)["received"] >= count)
        time.sleep(REST)
        grown = process.resident() - before
        spent, began = process.cpu(), time.monotonic()
        control.ask("release", queue=queue, stock="passing", count=PASSING)
        if not control.wait(queue, "deleted", PASSING, PATIENCE):
            raise SystemExit(f"with {count:,} held, {PASSING:,} messages did not pass in {PATIENCE:g} s")
        seconds = time.monotonic() - began
        cpu_us = (process.cpu() - spent) / PASSING * 1e6
    return Held(count, cpu_us, PASSING / seconds, grown * 1024 * 1024 / count - SIZE)


def share(control: Control, folder: Path, processes: int) -> float:
    """Messages a second of several consumer processes on one queue, in scenario B; 10,000 messages each."""
    client, count = CLIENTS["leasekeeper-async"], WAIT.messages * processes
    bench, queue = Bench(control, folder, [WAIT]), queue_of(client)
    control.ask("stock", stock="shared", count=count, size=WAIT.size)
    bench.prepare(client, WAIT)
    with ExitStack() as stack:
        for _ in range(processes):
            _come_to_rest(bench, client, stack.enter_context(bench.started(client, WAIT, None)))
        control.ask("release", queue=queue, stock="shared", count=count)
        if not control.wait(queue, "deleted", count, PATIENCE):
            raise SystemExit(f"{processes} processes did not empty the queue in {PATIENCE:g} s")
        counts = control.ask("counts", queue=queue)
    return float(count / (counts["last_delete"] - counts["released_at"]))


def _come_to_rest(bench: Bench, client: Client, process: ClientProcess) -> None:
    if failure := bench.awaited(queue_of(client), process):
        raise SystemExit(failure)
    time.sleep(REST)


def _until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > end:
            raise SystemExit(f"not all messages were received in {PATIENCE:g} s")
        time.sleep(0.05)


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    held: dict[int, list[Held]] = {step: [] for step in STEPS}
    rates: dict[int, list[float]] = {1: [], 2: []}
    with serving() as control, tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for step, seen in held.items():
                seen.append(hold(control, Path(folder), step))
                print(seen[-1], flush=True)
            for processes, reached in rates.items():
                reached.append(share(control, Path(folder), processes))
                print(f"{processes} processes: {reached[-1]:,.0f} messages/s", flush=True)
    kept = {
        "machine": machine(),
        "in_flight": {step: [asdict(each) for each in seen] for step, seen in held.items()},
        "processes": rates,
        "ratio": statistics.median(rates[2]) / statistics.median(rates[1]),
    }
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"two processes: {kept['ratio']:.2f} times one")


if __name__ == "__main__":
    main()
