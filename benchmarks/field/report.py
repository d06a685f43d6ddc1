"""The page of measurements, and its pictures: written whole from the results that are kept.

Owned by the harness. The page says nothing that is not in the results; what a scenario is stands in `SECTIONS`.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bars
from bars import Bar
from tables import completed, failure, runs_of, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from figures import Figures

DOCS = Path(__file__).resolve().parents[2] / "docs" / "internals"


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of one figure of a scenario; most_first: whether more is better."""

    key: str
    title: str
    unit: str
    most_first: bool = False
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Section:
    """A scenario on the page."""

    title: str
    words: str
    charts: tuple[Chart, ...] = ()


SECTIONS = {
    "A": Section(
        "Nothing to do but consume",
        "Handlers that do nothing; calls are answered at once. The whole cost of a message, and the speed of one\n"
        "process. Clients that do better with less concurrency use what suits them.",
        (
            Chart("cpu_us", "CPU a message, handlers that do nothing", "microseconds, less is better"),
            Chart("rate", "Messages a second, handlers that do nothing", "more is better", most_first=True),
        ),
    ),
    "B": Section(
        "Handlers that wait",
        "Handlers of 20 ms, every call takes 10 ms, concurrency 100: it allows 5,000 messages a second. The\n"
        "rest is time in which handlers waited for messages, or concurrency that a client does not have. The rate\n"
        "is that of the whole run, including start and end.",
        (Chart("share", "Handlers of 20 ms, calls of 10 ms", "% of 5,000 messages a second", True, 100),),
    ),
    "C": Section(
        "Handlers that compute",
        "Handlers that burn 1 ms of CPU each. One thread at a time can do 1,000 a second at most. The rest is\n"
        "what the client needs, and what threads lose to each other.",
        (Chart("rate", "Handlers of 1 ms of CPU", "messages a second, more is better", most_first=True),),
    ),
    "D": Section(
        "Handlers longer than the visibility timeout",
        "200 messages, handled for 12 s, all at once where that can be had, under a visibility timeout of 4 s; every\n"
        "call takes 10 ms. Clients that do not extend it run messages twice. *Started again* counts starts beyond a\n"
        "message's first; the run ends 20 s after the release.",
    ),
    "E": Section(
        "Nothing to do at all",
        "All clients at once, a queue each, empty. The cost while nothing happens.",
        (Chart("cpu_ms_a_minute", "CPU of an idle minute", "milliseconds, less is better"),),
    ),
    "F": Section(
        "From rest to full speed",
        "From the runs of B: after idling, 10,000 messages appear at once, fewer for slow clients. *To full speed* is\n"
        "up to the start of the first 100 ms in which at least nine tenths of the client's own best sustained rate\n"
        "was finished; that rate is the best mean of ten such windows in a row, or of all if fewer; slow clients are\n"
        "soon there.",
    ),
    "G": Section(
        "SIGTERM at full load",
        "One second into B. *Left invisible* had been received and was neither deleted nor given back: it comes back\n"
        "after its visibility timeout. *Finished, not deleted* will run twice. *Deleted, not finished* is lost.\n"
        "A negative exit status is the number of a signal.",
        (Chart("left_leased", "Messages left invisible by a SIGTERM", "messages, less is better"),),
    ),
    "H64": Section("Large bodies: 64 KiB", "1,000 messages of 64 KiB, handlers that do nothing."),
    "H1M": Section("Large bodies: 1 MiB", "100 messages of 1 MiB, the most that SQS takes."),
    "I": Section(
        "A trickle",
        "50 messages a second for 20 s, at random times; every call takes 10 ms. From a message's release in the\n"
        "queue to the start of its handler: 10 ms, those of the receive, are the minimum.",
        (Chart("p99_ms", "Send to handled, 50 messages a second", "milliseconds at p99, less is better"),),
    ),
    "K1": Section(
        "A FIFO queue: one group",
        "As B, on a FIFO queue with one message group. SQS gives out ten of a group at most and nothing more until\n"
        "all are deleted, so handlers of h seconds and calls of r seconds allow 10 / (10 h + r) a second: 47.6.\n"
        "sqs-consumer handles the messages of a receive at once, so it keeps no order among them, and is faster.\n\n"
        "That rule has handlers of exactly 20 ms and calls of exactly 10 ms, but timers here end up to a millisecond\n"
        "late. *No-queue* is the same handlers alone, called in loops: the time that they take, and that of a call to\n"
        "this server, put into the same rule, are what *this machine allows*.\n\n"
        "The rate is of the whole run. *In the middle* is from the first tenth of the messages to the last: without\n"
        "the start, when the messages for all handlers have to be fetched first, and without the end.",
    ),
    "K10": Section("A FIFO queue: ten groups", "The same with ten groups: ten times as much is allowed."),
    "K1K": Section("A FIFO queue: 1,000 groups", "The same with 1,000 groups: the concurrency allows 5,000 a second."),
    "KC": Section("A FIFO queue: 100 groups alone", "200 messages in each of 100 groups, for comparison with KH."),
    "KH": Section("A FIFO queue: one hot group", "KC beside one group of 10,000 messages that were sent before it."),
    "L": Section(
        "Nothing to do on a FIFO queue", "As A, with 1,000 groups; beside it, how many times A's CPU that is."
    ),
    "M": Section("Batches", "As A, with batches of 100; beside it, how many times the CPU of single handlers that is."),
}


def write(results: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Write the page, and its pictures below it."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    parts = [_head(results)]
    for letter, section in SECTIONS.items():
        if runs := runs_of(results, letter):
            for chart in section.charts:
                picture = bars.draw(chart.title, chart.unit, _bars(results, chart, runs))
                (docs / "images" / _picture(letter, chart)).write_text(picture)
            parts.append(_section(results, letter, section, runs))
    parts.append(_clients(results))
    (docs / "benchmarks.md").write_text("\n".join(parts))


def _head(results: Mapping[str, Any]) -> str:
    machines: dict[str, set[str]] = {}
    for letter, scenario in results["scenarios"].items():
        for origin in scenario["measured"].values():
            where = f"{origin['cpu']}, {origin['cores']} cores, Linux {origin['kernel']}, Python {origin['python']}"
            machines.setdefault(f"{where}, {origin['date']}, revision {origin['revision']}", set()).add(letter)
    listed = "\n".join(f"- {', '.join(sorted(letters))}: {where}" for where, letters in sorted(machines.items()))
    return f"""# Measurements

<!-- Written by benchmarks/field/run.py --publish. -->

This page compares SQS consumers that are used with Python, and one on Node, in the same scenarios. Each runs in a
separate process and environment, against one lean in-memory SQS on the same machine. `make bench` repeats everything.

In a run, the client starts with a fresh queue and idles until 1.5 s after its first receive; then messages appear. CPU
is the user and system time of all its processes from then to the last delete. Memory is the sum of their peak resident
sizes. Figures *a message* are per deleted message. Rounds are interleaved; cells show the median (least - most) of the
runs. Bodies have 500 characters unless a scenario says otherwise. Clients use the scenario's concurrency if they have
such a setting; [the clients](#the-clients) lists the others, and how many messages slow ones get.

Measured on:

{listed}

The server shares the machine with the client, so on few cores it holds back a client that keeps it busy. It answers
with all attributes of a message even if the client requested none, which costs such clients about 3 us.
"""


def _section(results: Mapping[str, Any], letter: str, section: Section, runs: Mapping[str, Sequence[Figures]]) -> str:
    heads, *rows = table(letter, runs)
    lines = [f"## {letter}: {section.title}", "", section.words, ""]
    lines += [f"![{chart.title}](images/{_picture(letter, chart)})\n" for chart in section.charts]
    lines += [_line(heads), _line(["---", *["---:"] * (len(heads) - 1)])]
    for name, *cells in rows:
        lines.append(_line([_named(results, name), *cells]))
    failures = [f"- {name}: {reason}" for name, each in runs.items() if (reason := failure(each))]
    counts = sorted({len(each) for each in runs.values()})
    lines += ["", f"Runs of each: {' or '.join(map(str, counts))}.", *([""] if failures else []), *failures, ""]
    return "\n".join(lines)


def _clients(results: Mapping[str, Any]) -> str:
    lines = [
        "## The clients",
        "",
        "Names in italics are bare loops without a framework, as a reference.",
        "",
        _line(["client", "handlers run in", "messages at most", "concurrency of A, C, E and H", "set up", "versions"]),
        _line(["---", "---", "---:", "---:", "---", "---"]),
    ]
    for name, client in results["clients"].items():
        versions = ", ".join(f"{package} {version}" for package, version in client["versions"].items())
        concurrency = str(client["concurrency"] or 100)
        cells = [client["kind"], f"{client['most']:,}", concurrency, client["remark"], versions]
        lines.append(_line([_named(results, name), *cells]))
    return "\n".join([*lines, ""])


def _bars(results: Mapping[str, Any], chart: Chart, runs: Mapping[str, Sequence[Figures]]) -> list[Bar]:
    """The bars of a chart, the best first; at the end those that have no figure."""
    drawn, worded = [], []
    for name, each in runs.items():
        values = [run[chart.key] * chart.scale for run in completed(each) if chart.key in run]
        colour = bars.OURS if name.startswith("leasekeeper") else bars.OTHERS
        colour = bars.LOOPS if results["clients"][name]["loop"] else colour
        if values:
            drawn.append(Bar(name, colour, values, statistics.median(values)))
        else:
            worded.append(Bar(name, colour, (), words=(failure(each) or "no figure").partition(";")[0][:90]))
    drawn.sort(key=lambda bar: bar.middle, reverse=chart.most_first)
    return drawn + worded


def _picture(letter: str, chart: Chart) -> str:
    return f"bench-{letter.lower()}-{chart.key.replace('_', '-')}.svg"


def _named(results: Mapping[str, Any], name: str) -> str:
    return f"*{name}*" if results["clients"][name]["loop"] else name


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
