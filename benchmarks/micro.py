"""The cost of each part: nanoseconds and bytecode instructions of an operation.

    python benchmarks/micro.py                        # all of them
    python benchmarks/micro.py ledger signer          # operations with these texts in their names
    python benchmarks/micro.py --json > before.json
    python benchmarks/micro.py --against before.json  # ratios to what was measured then

The time is CPU time of this thread, the least of several rounds; on a busy machine it still varies by some percent. The
instructions do not vary: if they are the same and the time is not, the machine or C code made the difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
import timeit
from pathlib import Path
from typing import Any, TypedDict

import micro_wire  # noqa: F401 - its cases join the others
from micro_cases import CASES, Case, Operation

ROUNDS = 7
ROUND = 0.02
"""Seconds that a round takes at least."""
COUNTED = 200
"""How many operations are averaged for instructions: some operations do more than others."""


class Measured(TypedDict):
    """What an operation costs."""

    ns: float
    instructions: float


def measure(case: Case) -> Measured:
    """Time the operation, then count its instructions."""
    operation = case.make()
    timer = timeit.Timer(operation, timer=time.thread_time)
    number = 1
    while timer.timeit(number) < ROUND:
        number *= 2
    least = min(timer.repeat(ROUNDS, number)) / number
    return {"ns": least * 1e9, "instructions": instructions(operation)}


def instructions(operation: Operation) -> float:
    """Bytecode instructions of one call, on average."""
    done = 0

    def step(_: Any, kind: str, __: Any) -> Any:
        nonlocal done
        done += kind == "opcode"
        return step

    def call(frame: Any, _: str, __: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step

    sys._getframe().f_trace_opcodes = True  # noqa: SLF001 - Python 3.12 traces them only if some frame asked before
    before = sys.gettrace()
    sys.settrace(call)
    try:
        for _ in range(COUNTED):
            operation()
    finally:
        sys.settrace(before)
    return done / COUNTED


def chosen(names: list[str]) -> list[Case]:
    """The cases with one of these texts in their names; all cases without names."""
    for name in names:
        if not any(name in each.name for each in CASES):
            known = ", ".join(each.name for each in CASES)
            raise SystemExit(f"no operation has {name!r} in its name; there are {known}")
    return [each for each in CASES if not names or any(name in each.name for name in names)]


def row(case: Case, now: Measured, before: Measured | None) -> str:
    """A line of the table."""
    line = f"{case.name:20} {now['ns']:9,.0f} ns {now['instructions']:8.1f}"
    if before is None:
        return f"{line}   {case.says}"
    ratios = [f"{now[key] / before[key]:6.3f}" if before[key] else "     -" for key in ("ns", "instructions")]
    return f"{line}   {' '.join(ratios)}   {case.says}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of the names to measure")
    parser.add_argument("--json", action="store_true", help="print JSON, for a later --against")
    parser.add_argument("--against", type=Path, metavar="FILE", help="an earlier output of --json")
    given = parser.parse_args()
    cases = chosen(given.names)
    earlier = json.loads(given.against.read_text()) if given.against else {"cases": {}}
    if earlier.get("python", platform.python_version()) != platform.python_version():
        print(f"note: {given.against} was measured with Python {earlier['python']}", file=sys.stderr)
    if given.json:
        found = {each.name: measure(each) for each in cases}
        print(json.dumps({"python": platform.python_version(), "cases": found}, indent=2))
        return
    ratios = "   ratios to before" if given.against else ""
    print(f"Python {platform.python_version()}: CPU time and bytecode instructions of one operation{ratios}")
    for each in cases:
        print(row(each, measure(each), earlier["cases"].get(each.name)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
