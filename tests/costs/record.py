"""Measure what a message costs, and record it for the Python that runs this.

    python tests/costs/record.py                 # all lanes; says what has changed
    python tests/costs/record.py pool            # one of them
    python tests/costs/record.py --show          # measure and print every function's share; record nothing

To see where a cost has grown, `--show` before and after a change, and compare the two.
"""

from __future__ import annotations

import argparse

from lane_costs import LANES, Figures, Lane, measure
from records import FILE, VERSION, Table, complaints, load, save


def main() -> None:
    """Measure, then print or record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "lanes", nargs="*", choices=[*LANES, []], metavar="LANE", help=f"of {', '.join(LANES)}; none: all"
    )
    parser.add_argument("--show", action="store_true", help="print every function's share; record nothing")
    given = parser.parse_args()
    tables = load()
    for lane in given.lanes or LANES:
        figures = measure(lane)
        _print(lane, figures, tables.get(VERSION, {}).get(lane, {}), shares=given.show)
        for complaint in complaints(lane, figures, {**tables, VERSION: {}}):
            print(complaint)  # above its budget: recording it does not help
        tables.setdefault(VERSION, {})[lane] = figures.values
    if not given.show:
        save(tables)
        print(f"recorded for Python {VERSION} in {FILE.name}")


def _print(lane: Lane, figures: Figures, before: Table, *, shares: bool) -> None:
    print(f"{lane}, Python {VERSION}, for one message:")
    for name, value in figures.values.items():
        was = f"   was {before[name]:g}" if name in before else ""
        print(f"  {value:10.4g}  {name}{was}")
        if shares and (largest := figures.largest(name, 1_000)):
            print(largest)


if __name__ == "__main__":
    main()
