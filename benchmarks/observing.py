"""What metrics and traces cost a message: Python calls, bytecode, instructions of the processor, and time.

    python benchmarks/observing.py                 # everything; a minute or two, most of it in valgrind
    python benchmarks/observing.py --no-valgrind   # without the instructions of the processor

A consumer at full load gets canned answers of SQS, as in `tests/costs`: everything is there but the network. The
handler is a coroutine that does nothing. Each line is for one message, and what it costs beyond the same consumer with
the same messages without metrics or traces. Spans go to OpenTelemetry's SDK with a processor that drops them, so that
no exporter is measured. Counts are the same whatever else the machine does; the time is the shortest of some rounds.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

from leasekeeper.observe.tracing import Tracing

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "costs"))
from counting import Calls, Counting, Instructions
from scene import Scene, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from leasekeeper.message import Message

W3C = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
AWS = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
WARM, COUNTED = 100, 100
"""Receives of ten messages before the counting begins, and while it goes on."""
ROUNDS = 25


@dataclass(frozen=True)
class Case:
    """One way to run the consumer."""

    name: str
    beyond: str = ""
    """The case that it is compared with; empty: it is not."""
    traceparent: str = ""
    trace: str = ""
    measured: bool = False
    traced: bool = False
    wrapped: bool = False
    sampled: bool = True
    style: Any = "link"

    def scene(self) -> Scene:
        """The consumer with its messages."""
        middleware: list[Any] = []
        if self.traced:
            provider = TracerProvider(sampler=ParentBased(ALWAYS_ON if self.sampled else ALWAYS_OFF))
            provider.add_span_processor(SpanProcessor())
            middleware = [Tracing(provider, style=self.style)]
        elif self.wrapped:
            middleware = [nothing]
        return Scene(
            ship, traceparent=self.traceparent, trace=self.trace, measured=self.measured, middleware=middleware
        )


UNSAMPLED, UNSAMPLED_AWS = W3C[:-1] + "0", AWS.replace("Sampled=1", "Sampled=0")
CASES = [
    Case("bare"),
    Case("metrics", "bare", measured=True),
    Case("a middleware that does nothing", "bare", wrapped=True),
    Case("bare, traceparent", traceparent=W3C),
    Case("bare, AWSTraceHeader", trace=AWS),
    Case("not sampled by the sender, traceparent", "bare, traceparent", traceparent=UNSAMPLED, traced=True),
    Case("not sampled by the sender, AWSTraceHeader", "bare, AWSTraceHeader", trace=UNSAMPLED_AWS, traced=True),
    Case("no header, not sampled by the provider", "bare", traced=True, sampled=False),
    Case("sampled, a link", "bare, traceparent", traceparent=W3C, traced=True),
    Case("sampled, as parent", "bare, traceparent", traceparent=W3C, traced=True, style="parent"),
]


async def ship(_: str) -> None:
    """The handler."""


async def nothing(message: Message[str], call_next: Callable[[Message[str]], Awaitable[Any]]) -> Any:
    """What any middleware costs."""
    return await call_next(message)


def play(case: Case, opened: Any, closed: Any) -> int:
    """Play it, and call both at the ends of the window; the messages in it."""
    scene = case.scene()
    window = Window(scene, first=WARM, last=WARM + COUNTED, opened=opened, closed=closed)
    scene.play(window.over)
    return window.messages


def counted(case: Case) -> dict[str, float]:
    """What is counted in Python."""
    found: dict[str, float] = {}
    ways: tuple[Counting, ...] = (Calls(), Instructions())
    for way in ways:
        messages = play(case, way.begin, way.end)
        found |= {name: count.total / messages for name, count in way.counts.items()}
    return found


def microseconds() -> dict[str, float]:
    """The shortest time of each case; the cases take turns, so that what else the machine does meets all of them."""
    shortest: dict[str, float] = {}
    for _ in range(ROUNDS):
        for case in CASES:
            marks: list[float] = []
            mark_time = lambda: marks.append(time.process_time())  # noqa: E731, B023
            messages = play(case, mark_time, mark_time)
            taken = (marks[1] - marks[0]) / messages * 1e6
            shortest[case.name] = min(taken, shortest.get(case.name, taken))
    return shortest


def mark() -> None:
    """Where valgrind writes down what it has counted, and begins again."""
    os.getppid()


def under_valgrind() -> dict[str, float]:
    """Instructions of the processor a message, by case."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *("valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={folder}/out"),
                *(sys.executable, __file__, "--marked"),
            ],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            check=True,
            capture_output=True,
        )
        dumps = sorted(Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        totals = [
            int(found[1]) for path in dumps if (found := re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE))
        ]
    return {case.name: totals[2 * place + 1] / (COUNTED * 10) for place, case in enumerate(CASES)}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-valgrind", action="store_true", help="without the instructions of the processor")
    parser.add_argument("--marked", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.marked:
        for case in CASES:
            play(case, mark, mark)
        return
    times = microseconds()
    figures = {case.name: {**counted(case), "us": times[case.name]} for case in CASES}
    if not given.no_valgrind:
        for name, value in under_valgrind().items():
            figures[name]["processor"] = value
    columns = [
        name for name in ("python_calls", "c_calls", "instructions", "processor", "us") if name in figures["bare"]
    ]
    print(f"{'':44}" + "".join(f"{name:>14}" for name in columns))
    for case in CASES:
        before = figures[case.beyond] if case.beyond else dict.fromkeys(columns, 0.0)
        sign = "+" if case.beyond else ""
        print(
            f"{case.name:44}" + "".join(f"{figures[case.name][name] - before[name]:{sign}14,.1f}" for name in columns)
        )


if __name__ == "__main__":
    main()
