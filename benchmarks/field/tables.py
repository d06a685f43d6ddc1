"""The columns of each scenario, and how several runs become one cell: the median (least - most)."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from figures import Figures


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table: its key in the results, its heading, digits after the point, and a factor."""

    key: str
    heading: str
    digits: int = 0
    scale: float = 1.0
    spread: bool = True  # whether least and most are shown too

    def cell(self, runs: Sequence[Figures]) -> str:
        """The median of the runs that have the figure, with least and most if they differ."""
        values = [run[self.key] * self.scale for run in runs if run.get(self.key) is not None]
        if not values:
            return "-"
        middle, least, most = (self._written(value) for value in (statistics.median(values), min(values), max(values)))
        return f"{middle} ({least} - {most})" if self.spread and least != most else middle

    def _written(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


RATE = Column("rate", "messages/s")
CPU = Column("cpu_us", "CPU us/message", 1)
CALLS = Column("calls", "calls/message", 2, spread=False)
SHARE = Column("share", "% of what the rules allow", 1, 100)
AGAIN = Column("started_again", "started again")
MEMORY = Column("peak_mb", "peak MB", spread=False)
GROUPS = (
    Column("rate", "messages/s", 1),
    SHARE,
    Column("handler_ms", "ms a handler", 2, spread=False),
    Column("call_ms", "ms a call", 2, spread=False),
    Column("allowed_here", "this machine allows", 1, spread=False),
    Column("share_here", "% of that", 1, 100),
    Column("middle_share_here", "% of that in the middle", 1, 100),
    CALLS,
    AGAIN,
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "A": (
        RATE,
        CPU,
        CALLS,
        MEMORY,
        Column("most_in_flight", "most in flight"),
        Column("redelivered", "redelivered"),
        Column("server_us", "server's CPU us/message", 1, spread=False),
    ),
    "B": (RATE, Column("share", "% of 5,000/s", 0, 100), CALLS),
    "C": (RATE, Column("beyond_us", "CPU us/message beyond the handler's", 0)),
    "D": (
        Column("in_time", "% done in time", 0, 100),
        Column("duplicates", "started again"),
        Column("heartbeats_a_message", "extensions/message", 2),
        Column("heartbeat_calls_a_message", "heartbeat calls/message", 2),
        Column("calls_an_extension", "calls/extension", 2),
    ),
    "E": (Column("calls_a_minute", "calls/minute", 1), Column("cpu_ms_a_minute", "CPU ms/minute"), MEMORY),
    "F": (
        Column("to_first", "ms to first handled", 0, 1000),
        Column("to_full", "ms to full speed", 0, 1000),
        Column("to_empty", "s to empty queue", 2),
    ),
    "G": (
        Column("stop_deleted", "deleted"),
        Column("left_leased", "left invisible"),
        Column("finished_undeleted", "finished, not deleted"),
        Column("cut_short", "started, not finished"),
        Column("lost", "deleted, not finished"),
        Column("exit_seconds", "s to exit", 1),
        Column("exit_status", "exit status", spread=True),
    ),
    "H64": (Column("megabytes_a_second", "MB/s", 1), CPU, MEMORY),
    "H1M": (Column("megabytes_a_second", "MB/s", 1), CPU, MEMORY),
    **dict.fromkeys(("K1", "K10", "K1K"), GROUPS),
    "KC": (Column("cold_rate", "messages/s"), CALLS),
    "KH": (
        Column("cold_rate", "messages/s of the other groups"),
        Column("to_alone", "% of their rate alone", 0, 100),
        Column("hot_handled", "handled of the one group"),
        CALLS,
    ),
    "L": (RATE, CPU, Column("to_standard", "times the CPU of A", 2), CALLS),
    "M": (RATE, CPU, Column("to_standard", "times the CPU of single handlers", 2), CALLS, MEMORY),
    "I": (Column("p50_ms", "p50 ms", 1), Column("p99_ms", "p99 ms", 1), CALLS),
}


def runs_of(results: Mapping[str, Any], letter: str) -> dict[str, list[Figures]]:
    """The runs of a scenario by client, in the order of the clients; F uses B's runs."""
    runs = results["scenarios"].get("B" if letter == "F" else letter, {}).get("runs", {})
    return {name: runs[name] for name in results["clients"] if name in runs}


def completed(runs: Sequence[Figures]) -> list[Figures]:
    """The runs without a failure."""
    return [run for run in runs if "failure" not in run]


def failure(runs: Sequence[Figures]) -> str | None:
    """How the first failed run ended, or how far it came, with the number of failed runs if others succeeded."""
    failures = [run.get("failure") or run["unfinished"] for run in runs if "failure" in run or "unfinished" in run]
    if not failures:
        return None
    return failures[0] if len(failures) == len(runs) else f"{len(failures)} of {len(runs)} runs: {failures[0]}"


def table(letter: str, runs: Mapping[str, Sequence[Figures]]) -> list[list[str]]:
    """Rows of cells, the headings first; a client without a completed run has dashes."""
    columns = COLUMNS[letter]
    rows = [["client", *(column.heading for column in columns)]]
    for name, each in runs.items():
        good = completed(each)
        cells = [column.cell(good) for column in columns] if good else ["-"] * len(columns)
        rows.append([name, *cells])
    return rows


def in_text(rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
