"""Run the same scenarios for every consumer of SQS, against one lean server on this machine.

    python benchmarks/field/run.py                              # everything; about an hour
    python benchmarks/field/run.py --scenarios ABHI --clients leasekeeper-async,boto3-1,boto3-32 --rounds 1
    python benchmarks/field/run.py --scenarios AKLM             # FIFO queues and batches, with A to compare them to
    python benchmarks/field/run.py --quick                      # a check that all of it works: few messages, one round
    python benchmarks/field/run.py --report-only                # only the page and its pictures, from the last results
    python benchmarks/field/run.py --publish                    # write the page to docs/internals as well

Results, page and pictures go to `benchmarks/.results`, which git ignores. Rounds are interleaved: the runs of a client
are spread over the session, so a busy moment of the machine affects all clients alike.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environments
import report
import results
from clients import CLIENTS
from control import serving
from runs import Bench
from scenarios import IDLE, chosen, quick
from tables import failure, in_text, runs_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clients import Client
    from figures import Figures
    from scenarios import Scenario

SETTLE = 30.0
"""Seconds that clients have to settle before their idle cost is measured."""


def available(names: Sequence[str], kept: dict[str, Any]) -> list[Client]:
    """The named clients, if their environments can be made; the results record their versions."""
    ready = []
    for name in names or CLIENTS:
        if name not in CLIENTS:
            raise SystemExit(f"no client is called {name!r}; there are {', '.join(CLIENTS)}")
        client = CLIENTS[name]
        try:
            results.describe(kept, client, environments.versions(client))
        except (SystemExit, OSError) as error:
            print(f"{name}: left out, its environment cannot be made: {error}", flush=True)
            results.describe(kept, client, {})
        else:
            ready.append(client)
    return ready


def with_alone(names: Sequence[str], scenarios: Sequence[Scenario]) -> Sequence[str]:
    """The named clients, and before them the handlers alone that a scenario compares them with."""
    kinds = {CLIENTS[name].kind for name in names if name in CLIENTS}
    alone = [
        each.name
        for each in CLIENTS.values()
        if each.alone and each.kind in kinds and any(scenario.suits(each) for scenario in scenarios)
    ]
    return [*(name for name in alone if name not in names), *names]


def rounds(bench: Bench, scenario: Scenario, clients: Sequence[Client], count: int) -> dict[str, list[Figures]]:
    """Run every client `count` times, one run of each in turn."""
    runs: dict[str, list[Figures]] = {client.name: [] for client in clients}
    for number in range(1, count + 1):
        for client in clients:
            figures = bench.run(client, scenario)
            runs[client.name].append(figures)
            print(f"{scenario.letter:<4}{number}/{count}  {client.name:<22}{_line(scenario, figures)}", flush=True)
    return runs


def measure(options: argparse.Namespace, kept: dict[str, Any]) -> None:
    """Run the chosen scenarios and save the results of each as soon as it is done."""
    scenarios = chosen(options.scenarios)
    if options.quick:
        scenarios = [quick(scenario) for scenario in scenarios]
    clients = available(with_alone(options.clients, scenarios), kept)
    clients.sort(key=lambda client: not client.alone)  # they run first: the others are compared with them
    with serving() as control, tempfile.TemporaryDirectory() as folder:
        bench = Bench(control, Path(folder), scenarios)
        for scenario in scenarios:
            if scenario.letter == IDLE.letter:
                idle = bench.idle(
                    [each for each in clients if not each.only], 3.0 if options.quick else SETTLE, options.idle_seconds
                )
                runs = {name: [figures] for name, figures in idle.items()}
            else:
                able = [client for client in clients if scenario.suits(client)]
                runs = rounds(bench, scenario, able, options.rounds)
            results.keep(kept, scenario.letter, runs)
            if options.results:
                results.save(kept, options.results)
            show(scenario.letter, kept, [client.name for client in clients])


def show(letter: str, kept: dict[str, Any], names: Sequence[str]) -> None:
    """Print a scenario's table for these clients, and their failures."""
    shown = {name: runs for name, runs in runs_of(kept, letter).items() if name in names}
    print(f"\n{letter}\n{in_text(table(letter, shown))}\n")
    for name, runs in shown.items():
        if reason := failure(runs):
            print(f"{name}: {reason}")
    print(flush=True)
    if letter == "B":
        show("F", kept, names)


def main() -> None:
    """Measure, and write the report."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that no client outlives this process
    options = _options()
    kept = results.load(options.results)
    if not options.report_only:
        measure(options, kept)
    if options.results:
        report.write(kept, options.results.parent)
        if options.publish:
            report.write(kept, report.DOCS)


def _line(scenario: Scenario, figures: Figures) -> str:
    if "failure" in figures:
        return str(figures["failure"])
    heads, row = table(scenario.letter, {"": [figures]})
    return "  ".join(f"{cell} {head}" for head, cell in zip(heads[1:], row[1:], strict=True))


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", default="ABCDEFGHIKLM", help="their letters, such as ABH; default: all")
    parser.add_argument(
        "--clients", type=_names, nargs="*", default=[], help="their names, separated by commas or spaces; default: all"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each client in each scenario; default: 3")
    parser.add_argument("--idle-seconds", type=float, default=600.0, help="how long E lasts; default: 600")
    parser.add_argument("--quick", action="store_true", help="one round of few messages; saved only with --results")
    parser.add_argument("--report-only", action="store_true", help="only write page and pictures from saved results")
    parser.add_argument("--publish", action="store_true", help="write page and pictures to docs/internals as well")
    parser.add_argument(
        "--results", type=Path, default=None, help="the file of results; default: benchmarks/.results/results.json"
    )
    options = parser.parse_args()
    options.clients = [name for names in options.clients for name in names]
    if options.quick:
        options.rounds, options.idle_seconds = 1, min(options.idle_seconds, 10.0)
    elif options.results is None:
        options.results = results.RESULTS
    return options


if __name__ == "__main__":
    main()
