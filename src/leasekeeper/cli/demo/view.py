"""The demo's live view and, where there is no terminal, its lines.

Pure: a state goes in, something to print comes out. It fits 80 columns and 24 lines.
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
    "flowing": "Ctrl-C drains and reports",
    "draining": "draining: nothing new is received; what runs is finished, the rest given back",
    "done": "",
}


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars, the highest of them a full one."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return " " * len(shown)
    return "".join(BARS[math.ceil(each / top * (len(BARS) - 1))] for each in shown)


def bar(part: float, whole: float, width: int) -> Text:
    """A bar that is filled as far as part is of whole."""
    filled = round(width * min(1.0, part / whole)) if whole else 0
    return Text.assemble(("█" * filled, "cyan"), ("░" * (width - filled), "bright_black"))


def margin(seconds: float) -> str:
    """A lease margin, or a dash before the first."""
    return "-" if math.isinf(seconds) else f"{seconds:.1f} s"


def live(state: DemoState, width: int) -> RenderableType:
    """The whole view."""
    panels = Table.grid(expand=True)
    for _ in range(3):
        panels.add_column(ratio=1)
    panels.add_row(_work(state, width), _lease(state), _settled(state))
    return Group(_title(state), _flow(state, width), panels, _lately(state))


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


def _flow(state: DemoState, width: int) -> RenderableType:
    statistics = state.statistics
    steps = Table.grid(expand=True)
    row: list[Text] = []
    stations = (
        ("sent", state.sent),
        ("in queue", state.waiting),
        ("in hand", held(state)),
        ("finished", state.finished),
        ("deleted", statistics.acked + statistics.late),
    )
    for name, count in stations:
        if row:
            steps.add_column(justify="center", no_wrap=True)
            row.append(Text("─▶", style="bright_black"))
        steps.add_column(justify="center", no_wrap=True)
        row.append(Text.assemble((f"{count:,}", "bold cyan"), f"\n{name}"))
    steps.add_row(*row)
    rate = Text.assemble(
        (f"{state.rate:>7,.0f}/s ", "bold green"), (sparkline(state.rates, width - 16), "green"), no_wrap=True
    )
    return Panel(Group(steps, Text(), rate), title="orders", title_align="left", border_style="bright_black")


def held(state: DemoState) -> int:
    """Messages whose lease is ours."""
    each = state.statistics
    return each.running + each.waiting + each.acking + each.releasing


def _work(state: DemoState, width: int) -> Panel:
    each = state.statistics
    rows = Table.grid(padding=(0, 1))
    rows.add_row("running", f"{each.running} of {each.concurrency}")
    rows.add_row("", bar(each.running, each.concurrency, max(6, width // 3 - 15)))
    rows.add_row("waiting", f"{each.waiting}")
    rows.add_row("pollers", f"{each.pollers}")
    rows.add_row("handler", f"{each.handler_seconds * 1000:.1f} ms")
    return _panel("work", rows)


def _lease(state: DemoState) -> Panel:
    each = state.statistics
    rows = Table.grid(padding=(0, 1))
    rows.add_row("lease of", f"{state.plan.visibility} s")
    rows.add_row("least left", Text(margin(each.smallest_margin), style="bold"))
    rows.add_row("heartbeats", f"{each.heartbeat_calls}")
    rows.add_row("lost", Text(f"{each.lost}", style="red" if each.lost else "green"))
    rows.add_row("recognised", f"{each.recognised}")
    return _panel("leases", rows)


def _settled(state: DemoState) -> Panel:
    each = state.statistics
    rows = Table.grid(padding=(0, 1))
    rows.add_row("acks waiting", f"{each.acks_waiting + each.acking}")
    rows.add_row("retried", f"{each.failed + each.retried:,}")
    rows.add_row("dead letters", f"{each.dead_lettered:,}")
    rows.add_row("calls", f"{sum(state.calls.values()):,}")
    rows.add_row("  a message", Text(f"{state.calls_a_message:.2f}", style="bold"))
    return _panel("settling", rows)


def _panel(title: str, rows: Table) -> Panel:
    return Panel(rows, title=title, title_align="left", border_style="bright_black")


def _lately(state: DemoState) -> RenderableType:
    lines = [Text(each, no_wrap=True, overflow="ellipsis") for each in state.lately]
    lines += [Text()] * (4 - len(lines))
    hint = Text(HINTS[state.stage], style="bright_black")
    return Group(
        Panel(Group(*lines), title="lately", title_align="left", border_style="bright_black", subtitle=None), hint
    )


def line(state: DemoState) -> str:
    """The same in one plain line, for logs."""
    each = state.statistics
    return (
        f"{state.elapsed:5.1f} s  {state.stage:8}  {state.rate:>6,.0f}/s  sent {state.sent:,}  "
        f"finished {state.finished:,}  deleted {each.acked + each.late:,}  running {each.running}/{each.concurrency}  "
        f"waiting {each.waiting}  pollers {each.pollers}  retried {each.failed + each.retried}  "
        f"dead letters {each.dead_lettered}  heartbeats {each.heartbeat_calls}  "
        f"{state.calls_a_message:.2f} calls a message"
    )
