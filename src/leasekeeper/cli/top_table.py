"""The picture of `leasekeeper top`: a table of consumers, as wide as the terminal allows.

Used by `top`. It promises that what others wrote (names, reasons) is neither markup nor control characters, and that
the columns that matter most stay on a narrow terminal.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from leasekeeper.cli.words import ago
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.admin.state import ConsumerState, Process, QueueState, State

_COLOURS = {"RUNNING": "green", "UNHEALTHY": "bold red", "UNREACHABLE": "bold red", "STOPPED": "dim"}
_BARS = " ▁▂▃▄▅▆▇█"
SPARK = 20
"""Seconds in the small chart of the rate."""


class Column(NamedTuple):
    """A column: its title, what it shows of a consumer, its rank, and characters that it has at least.

    The columns with the smallest ranks are shown, as many as the terminal has room for.
    """

    title: str
    value: Callable[[ConsumerState, QueueState, float], str]
    rank: int
    least: int = 0
    left: bool = False


COLUMNS = (
    Column("in/s", lambda each, *_: _rate(each["rate_in"]), 5, 5),
    Column("out/s", lambda each, *_: _rate(each["rate_out"]), 1),
    Column("backlog", lambda _, queue, __: _backlog(queue), 3, 8),
    Column("to clear", lambda _, queue, __: _to_clear(queue), 7),
    Column("counted", lambda _, queue, now: _counted(queue, now), 6, 8),
    Column("running", lambda each, *_: f"{each['running']}/{each['concurrency']}", 2),
    Column("waiting", lambda each, *_: f"{each['waiting']:,}", 9),
    Column("lag p95", lambda each, *_: _seconds(each["lag_p95"]), 8),
    Column("handler p50", lambda each, *_: _seconds(each["handler_p50"]), 12),
    Column("lease left", lambda each, *_: _seconds(each.get("lease_margin")), 10),
    Column("fail/min", lambda each, *_: f"{each['failures_per_minute']:g}", 4),
    Column("calls/msg", lambda each, *_: _ratio(each.get("calls_per_message")), 13),
    Column("last 20 s", lambda each, *_: _spark(each["spark_out"]), 11, SPARK, left=True),
)
REASONS = 4
"""Reasons above the table, at most."""
BETWEEN = 2
"""Characters between two columns."""


def board(state: State, width: int, height: int | None = None, *, held: bool = False) -> Group:
    """The picture. Reasons stand above the table, where no terminal is too low for them; in plain text they follow it.

    Args:
        state: what is shown.
        width: characters of a line.
        height: lines of the terminal; None: plain text, without the line about keys.
        held: whether the picture stands still.
    """
    processes = state["processes"]
    several = len(processes) > 1
    names = [
        _named(consumer, several=several) for each in processes.values() for consumer in each["consumers"].values()
    ]
    heads = [_process_row(each)[1] for each in processes.values() if several or not each["consumers"]]
    longest = max((len(each["state"]) for each in processes.values()), default=0)
    first = min(max(12, width // 3), max(len(each) for each in (Text("queue"), *names, *heads)))
    columns = _fitting(state, width - longest - first - 2 * BETWEEN)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, BETWEEN, 0, 0))
    table.add_column("state", no_wrap=True, min_width=longest)
    table.add_column("queue", no_wrap=True, overflow="ellipsis", max_width=first)
    for column in columns:
        table.add_column(column.title, justify="left" if column.left else "right", no_wrap=True)
    rows: list[tuple[Text | str, ...]] = []
    for process in processes.values():
        if several or not process["consumers"]:
            rows.append(_process_row(process))
        for name, consumer in process["consumers"].items():
            cells = [column.value(consumer, state["queues"][name], state["now"]) for column in columns]
            rows.append((_word(consumer["state"]), _named(consumer, several=several), *cells))
    plain = height is None
    reasons = [Text(line, style="yellow", no_wrap=not plain, overflow="ellipsis") for line in _reasons(state)]
    if height is None:
        above, below, shown = [], reasons, len(rows)
    else:
        above, below = [_headline(state, width, held=held), *_first(reasons, REASONS, "reasons")], []
        room = height - len(above) - 1
        shown = len(rows) if len(rows) <= room else max(1, room - 1)
    for row in rows[:shown]:
        table.add_row(*row)
    if shown < len(rows):
        below = [Text(f"and {len(rows) - shown} more rows: --once prints all", style="dim", no_wrap=True)]
    return Group(*above, table, *below)


def _first(lines: list[Text], most: int, what: str) -> list[Text]:
    """The first lines; the last says how many there are beside them."""
    if len(lines) <= most:
        return lines
    rest = Text(f"and {len(lines) - most + 1} more {what}", style="yellow", no_wrap=True)
    return [*lines[: most - 1], rest]


def _fitting(state: State, room: int) -> list[Column]:
    """The columns for which there is room, with what they show now; none is cut."""
    found: set[Column] = set()
    for column in sorted(COLUMNS, key=lambda each: each.rank):
        values = [
            column.value(consumer, state["queues"][name], state["now"])
            for process in state["processes"].values()
            for name, consumer in process["consumers"].items()
        ]
        wide = max(column.least, len(column.title), *map(len, values), 0)
        if wide <= room:
            found.add(column)
            room -= wide + BETWEEN
    return [column for column in COLUMNS if column in found]


def _headline(state: State, width: int, *, held: bool) -> Text:
    count = len(state["processes"])
    at = time.strftime("%H:%M:%S", time.localtime(state["now"]))
    text = Text.assemble(("leasekeeper top", "bold"), f"  {count} {'process' if count == 1 else 'processes'}  {at}")
    keys = "  held: p goes on" if held else "  q ends, p holds"
    if len(text) + len(keys) <= width:
        text.append(keys, style="bold yellow" if held else "dim")
    return text


def _process_row(process: Process) -> tuple[Text, Text]:
    memory = process.get("rss_bytes")
    facts = f"  {memory / 2**20:.0f} MiB" if memory else ""
    where = f"  {printable(process['key'])}" if "number" in process else ""
    return _word(process["state"]), Text(printable(_called(process)) + facts + where, style="bold")


def _called(process: Process) -> str:
    """What a process is called, as its supervisor does in the log."""
    return f"process {process['number']}" if "number" in process else process["key"]


def _named(consumer: ConsumerState, *, several: bool) -> Text:
    return Text(("  " if several else "") + printable(consumer["queue"]))


def _word(state: str) -> Text:
    return Text(state, style=_COLOURS.get(state, "yellow"))


def _reasons(state: State) -> list[str]:
    """Why something is not as it should be, in one line each."""
    found: list[str] = []
    for process in state["processes"].values():
        reason = process["reason"]
        if reason and not process["consumers"]:
            found.append(reason if reason.startswith(_called(process)) else f"{_called(process)}: {reason}")
        consumers = process["consumers"].values()
        found += [f"{each['queue']}: {each['reason']}" for each in consumers if each["reason"]]
    return list(dict.fromkeys(map(printable, found)))


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 120:
        return f"{value / 60:,.0f} min"
    return f"{value:.1f} s" if value >= 1 or not value else f"{value * 1000:.3g} ms"


def _backlog(queue: QueueState) -> str:
    """Messages, and where they are going."""
    backlog = queue.get("backlog")
    if backlog is None:
        return "-"
    trend = backlog.get("trend") or 0.0
    return f"{backlog['visible']:,}" + (" ↑" if trend > 0.05 else " ↓" if trend < -0.05 else "")


def _to_clear(queue: QueueState) -> str:
    """The time that the backlog needs at the rate of all processes; unknown while its count is out of date."""
    backlog = queue.get("backlog")
    return _seconds(backlog.get("seconds") if backlog and not backlog.get("outdated") else None)


def _counted(queue: QueueState, now: float) -> str:
    """When SQS was asked, once that is not new: it is asked every 30 seconds, or receives have found no messages."""
    backlog = queue.get("backlog")
    if backlog is None:
        return "-"
    age = now - backlog["asked"]
    return f"{age:.0f} s ago" if backlog.get("outdated") else ago(age)


def _spark(values: list[float]) -> str:
    last = values[-SPARK:]
    most = max(last, default=0.0)
    return "".join(_BARS[round(value / most * (len(_BARS) - 1))] if most else _BARS[0] for value in last)
