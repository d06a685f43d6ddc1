"""Leasekeeper in its field: the same scenarios for every consumer of SQS, against one lean server on this machine.

    python benchmarks/field/run.py                              # everything; writes docs/internals/benchmarks.md
    python benchmarks/field/run.py --scenarios AB --clients leasekeeper-async boto3-32 --rounds 5
    python benchmarks/field/run.py --quick                      # whether all of it works: one round, few messages
    python benchmarks/field/run.py --report-only                # the page and the pictures anew

Rounds are interleaved: a client's runs are spread over the session, so that a busy spell of the machine hits all alike.
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
from control import serving
from runs import Bench
from scenarios import IDLE, chosen, quick
from tables import failure, in_text, runs_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from environments import Client
    from figures import Figures
    from scenarios import Scenario

SETTLE = 30.0
"""Seconds that clients have to come to rest before their idling is measured."""


def available(names: Sequence[str], kept: dict[str, Any]) -> list[Client]:
    """The clients of these names whose environment can be made; what they are is noted in the results."""
    ready = []
    for name in names or environments.CLIENTS:
        if name not in environments.CLIENTS:
            raise SystemExit(f"no client is called {name!r}; there are {', '.join(environments.CLIENTS)}")
        client = environments.CLIENTS[name]
        try:
            results.describe(kept, client, environments.versions(client))
        except (SystemExit, OSError) as error:
            print(f"{name}: left out, its environment cannot be made: {error}", flush=True)
            results.describe(kept, client, {})
        else:
            ready.append(client)
    return ready


def rounds(bench: Bench, scenario: Scenario, clients: Sequence[Client], count: int) -> dict[str, list[Figures]]:
    """So many runs of every client, one of each in turn."""
    runs: dict[str, list[Figures]] = {client.name: [] for client in clients}
    for number in range(1, count + 1):
        for client in clients:
            figures = bench.run(client, scenario)
            runs[client.name].append(figures)
            print(f"{scenario.letter:<4}{number}/{count}  {client.name:<22}{_line(scenario, figures)}", flush=True)
    return runs


def measure(options: argparse.Namespace, kept: dict[str, Any]) -> None:
    """Run what was asked for; keep the results of each scenario as soon as they are there."""
    scenarios = chosen(options.scenarios)
    if options.quick:
        scenarios = [quick(scenario) for scenario in scenarios]
    clients = available(options.clients, kept)
    with serving() as control, tempfile.TemporaryDirectory() as folder:
        bench = Bench(control, Path(folder), scenarios)
        for scenario in scenarios:
            if scenario.letter == IDLE.letter:
                idle = bench.idle(clients, 3.0 if options.quick else SETTLE, options.idle_seconds)
                runs = {name: [figures] for name, figures in idle.items()}
            else:
                runs = rounds(bench, scenario, clients, options.rounds)
            results.keep(kept, scenario.letter, runs)
            if options.results:
                results.save(kept, options.results)
            show(scenario.letter, kept)


def show(letter: str, kept: dict[str, Any]) -> None:
    """Print a scenario's table, and what failed."""
    shown = runs_of(kept, letter)
    print(f"\n{in_text(table(letter, shown))}\n")
    for name, runs in shown.items():
        if failed := failure(runs):
            print(f"{name}: {failed}")
    print(flush=True)
    if letter == "B":
        show("F", kept)


def main() -> None:
    """Measure, and write the report; into the documentation, if it is of the results that are kept there."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that no client outlives this
    options = _options()
    kept = results.load(options.results)
    if not options.report_only:
        measure(options, kept)
    if options.results:
        report.write(kept, report.DOCS if options.results == results.RESULTS else options.results.parent)


def _line(scenario: Scenario, figures: Figures) -> str:
    if "failure" in figures:
        return str(figures["failure"])
    heads, row = table(scenario.letter, {"": [figures]})
    return "  ".join(f"{cell} {head}" for head, cell in zip(heads[1:], row[1:], strict=True))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", default="ABCDEFGHI", help="their letters, such as ABH; all of them otherwise")
    parser.add_argument("--clients", nargs="*", default=[], help="their names; all of them otherwise")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each client in each scenario")
    parser.add_argument("--idle-seconds", type=float, default=600.0, help="how long idling is measured")
    parser.add_argument(
        "--quick", action="store_true", help="one round of few messages; kept only where --results says"
    )
    parser.add_argument("--report-only", action="store_true", help="write page and pictures from the results kept")
    parser.add_argument("--results", type=Path, default=None, help="another file of results; its page goes beside it")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.idle_seconds = 1, min(options.idle_seconds, 10.0)
    elif options.results is None:
        options.results = results.RESULTS
    return options


if __name__ == "__main__":
    main()
