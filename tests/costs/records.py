"""The recorded figures, and what they say about new ones.

They stand in `recorded.toml` beside this file: tolerances and budgets, set by hand, then figures by Python version and
lane, set by `record.py`. Whatever Python runs, a budget holds; where it has a record, that holds too.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lane_costs import Figures, Lane

FILE = Path(__file__).parent / "recorded.toml"
COMMAND = "python tests/costs/record.py"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
HEAD = f"""\
# What a message costs in steady state. Tolerances (shares of the record by which a figure may be above and below it)
# and budgets (which hold without a record too) are set by hand; the figures, by Python version, with
#
#     {COMMAND}
"""

Table = dict[str, float]
Tables = dict[str, dict[str, Table]]
"""By group (`tolerance`, `budget` or a Python version), then by lane."""


def load() -> Tables:
    """What is recorded."""
    tables: Tables = tomllib.loads(FILE.read_text())
    return tables


def save(tables: Tables) -> None:
    """Write it back; versions in order, figures to four digits."""
    groups = sorted(tables, key=lambda name: (name not in ("tolerance", "budget"), [int(n) for n in _numbers(name)]))
    parts = [HEAD]
    for group in groups:
        key = f'"{group}"' if "." in group else group
        for lane, table in tables[group].items():
            lines = [f"{name} = {_short(value)}" for name, value in table.items()]
            parts.append("\n".join([f"[{key}.{lane}]", *lines]) + "\n")
    FILE.write_text("\n".join(parts))


def complaints(lane: Lane, figures: Figures, tables: Tables) -> list[str]:
    """What is wrong with new figures, a sentence each, with the functions that have the largest shares."""
    found: list[str] = []
    recorded = tables.get(VERSION, {}).get(lane, {})
    budget, tolerance = tables["budget"][lane], tables["tolerance"][lane]
    for name, value in figures.values.items():
        before = recorded.get(name)
        what = f"{lane}: {value:.4g} {name} a message on Python {VERSION}"
        if value > budget[name]:
            found.append(f"{what}, above the budget of {budget[name]:g}\n{figures.largest(name)}")
        elif before is not None and value > before * (1 + tolerance["more"]):
            more = f"{value / before - 1:.1%} more than the {before:g} recorded"
            found.append(
                f"{what}, {more}; bring it down, or, if it is worth it, record it: {COMMAND}\n{figures.largest(name)}"
            )
        elif before is not None and value < before * (1 - tolerance["less"]):
            found.append(f"{what}, {1 - value / before:.1%} less than the {before:g} recorded; record it: {COMMAND}")
    unseen = sorted(recorded.keys() - figures.values.keys())
    return found + [f"{lane}: {name} is recorded and was not measured; record again: {COMMAND}" for name in unseen]


def _numbers(name: str) -> list[str]:
    return [part for part in name.split(".") if part.isdigit()]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
