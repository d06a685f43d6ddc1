"""The demo's live view and, where there is no terminal, its lines.

Pure: it turns a state into something to print. It fits 80 columns and 24 lines.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from leasekeeper.cli.demo.state import DemoState

BARS = " ▁▂▃▄▅▆▇█"
STAGES = {"flowing": "bold green", "draining": "bold yellow", "done": "bold"}
HINTS = {
    "flowing": "Ctrl-C stops: running handlers finish, the rest is given back, a report follows",
    "draining": "draining: no more is received, running handlers finish, the rest is given back",
    "done": "",
}


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars; the highest value has a full bar."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return " " * len(shown)
    return "".join(BARS[math.ceil(value / top * (len(BARS) - 1))] for value in shown)


def bar(part: float, whole: float, width: int) -> Text:
    """A bar that is filled by the share of `part` in `whole`."""
    filled = round(width * min(1.0, part / whole)) if whole else 0
    return Text.assemble(("█" * filled, "cyan"), ("░" * (width - filled), "dim"))


def margin(seconds: float | None) -> str:
    """A lease margin, or a dash before the first."""
    return "-" if seconds is None else f"{seconds:.1f} s"


def live(state: DemoState, width: int) -> RenderableType:
    """The whole view."""
    panels = Table.grid(expand=True)
    for _ in range(3):
        panels.add_column(ratio=1)
    panels.add_row(_work(state, width), _lease(state), _settled(state))
    return Group(_title(state), _story(state), _flow(state, width), panels, _events(state))


def _title(state: DemoState) -> RenderableType:
    limit = f" of {state.plan.seconds:g} s" if state.stage == "flowing" else ""
    title = Table.grid(expand=True)
    title.add_column()
    title.add_column(justify="right")
    title.add_row(
        Text.assemble(("leasekeeper demo", "bold"), "  ", (state.stage, STAGES[state.stage])),
        Text(f"{state.elapsed:.1f} s{limit}"),
    )
    return title


def _story(state: DemoState) -> Text:
    return Text(state.pages, style="dim", no_wrap=True)


def deleted(state: DemoState) -> int:
    """Finished orders that were deleted: rejected ones are deleted too, after they were copied to the dead letters."""
    ledger = state.statistics.ledger
    return ledger.acked + ledger.late - ledger.deleted_by.get("dead_letter", 0)


def _flow(state: DemoState, width: int) -> RenderableType:
    steps = Table.grid(expand=True)
    row: list[Text] = []
    stations = (
        ("sent", state.sent),
        ("in queue", state.waiting),
        ("held", held(state)),
        ("finished", state.finished),
        ("deleted", deleted(state)),
    )
    for name, count in stations:
        if row:
            steps.add_column(justify="center", no_wrap=True)
            row.append(Text("─▶", style="dim"))
        steps.add_column(justify="center", no_wrap=True)
        row.append(Text.assemble((f"{count:,}", "bold cyan"), f"\n{name}"))
    steps.add_row(*row)
    rate = Text.assemble(
        (f"{state.rate:>7,.0f}/s ", "bold green"), (sparkline(state.rates, width - 16), "green"), no_wrap=True
    )
    return Panel(Group(steps, Text(), rate), title="orders", title_align="left", border_style="dim")


def held(state: DemoState) -> int:
    """Messages that the consumer holds, from receive to confirmed delete."""
    statistics = state.statistics
    return (
        statistics.lane.running
        + statistics.lane.waiting
        + statistics.ledger.held["acking"]
        + statistics.ledger.held["releasing"]
    )


def _work(state: DemoState, width: int) -> Panel:
    statistics = state.statistics
    rows = Table.grid(padding=(0, 1))
    rows.add_row("running", f"{statistics.lane.running} of {statistics.concurrency}")
    rows.add_row("", bar(statistics.lane.running, statistics.concurrency, max(6, width // 3 - 15)))
    rows.add_row("waiting", f"{statistics.lane.waiting}")
    rows.add_row("pollers", f"{statistics.pollers}")
    rows.add_row("handler", f"{statistics.throttler.handler * 1000:.1f} ms")
    return _panel("work", rows)


def _lease(state: DemoState) -> Panel:
    statistics = state.statistics
    rows = Table.grid(padding=(0, 1))
    rows.add_row("lease of", f"{state.plan.visibility} s")
    rows.add_row("least left", Text(margin(statistics.ledger.smallest_margin), style="bold"))
    rows.add_row("heartbeats", f"{statistics.heartbeat.calls}")
    rows.add_row("lease lost", Text(f"{statistics.ledger.lost}", style="red" if statistics.ledger.lost else "green"))
    rows.add_row("duplicates", f"{statistics.ledger.known_duplicates}")
    return _panel("leases", rows)


def _settled(state: DemoState) -> Panel:
    statistics = state.statistics
    rows = Table.grid(padding=(0, 1))
    rows.add_row("deletes due", f"{statistics.deletes.waiting + statistics.ledger.held['acking']}")
    rows.add_row("retried", f"{statistics.work.failed + statistics.work.retried:,}")
    rows.add_row("dead letters", f"{statistics.work.dead_lettered:,}")
    rows.add_row("API calls", f"{sum(state.calls.values()):,}")
    rows.add_row("per message", Text(f"{state.calls_per_message:.2f}", style="bold"))
    return _panel("settling", rows)


def _panel(title: str, rows: Table) -> Panel:
    return Panel(rows, title=title, title_align="left", border_style="dim")


def _events(state: DemoState) -> RenderableType:
    lines = [Text(event, no_wrap=True, overflow="ellipsis") for event in state.events]
    lines += [Text()] * (4 - len(lines))
    hint = Text(HINTS[state.stage], style="dim")
    return Group(Panel(Group(*lines), title="events", title_align="left", border_style="dim", subtitle=None), hint)


def line(state: DemoState) -> str:
    """The same in one plain line, for logs."""
    statistics = state.statistics
    parts = (
        f"{state.elapsed:5.1f} s  {state.stage:8}  {state.rate:>6,.0f}/s",
        f"sent {state.sent:,}",
        f"finished {state.finished:,}",
        f"deleted {deleted(state):,}",
        f"running {statistics.lane.running}/{statistics.concurrency}",
        f"retried {statistics.work.failed + statistics.work.retried:,}",
        f"dead letters {statistics.work.dead_lettered:,}",
        f"{state.calls_per_message:.2f} calls per message",
    )
    return "  ".join(parts)
