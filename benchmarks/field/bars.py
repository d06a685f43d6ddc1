"""Horizontal bars as SVG: one for each client, with the median as its length, and a line from least to most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 760, 150, 90, 62, 22, 14
INK, PALE = "#1b3a4b", "#c9d6df"
FONT = 'font-family="sans-serif" font-size="11"'
OURS, OTHERS, LOOPS = "#0b7a75", "#edae49", "#9fb3c1"
LOGARITHMIC = 30.0
"""The axis is logarithmic if the largest value is at least this many times the least."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One client's values; `words` replace a bar that cannot be drawn."""

    name: str
    colour: str
    values: Sequence[float]
    middle: float = 0.0
    words: str = ""


def draw(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """A picture of the bars, from top to bottom as given."""
    height = TOP + len(bars) * ROW + 12
    shown = [bar for bar in bars if not bar.words]
    logarithmic = _wide([bar.middle for bar in shown])
    place = _logarithmic(shown) if logarithmic else _linear(shown)
    bottom = height - 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT} fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="36">{escape(unit)}{", logarithmic" if logarithmic else ""}; {_legend()}</text>',
    ]
    for tick in _ticks(shown, logarithmic=logarithmic):
        parts.append(f'<path d="M{place(tick):.1f} {TOP - 6}V{bottom}" stroke="{PALE}"/>')
        parts.append(f'<text x="{place(tick):.1f}" y="{TOP - 9}" text-anchor="middle">{tick:,g}</text>')
    for row, bar in enumerate(bars):
        parts += _row(bar, TOP + row * ROW, place)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> str:
    named = ((OURS, "Leasekeeper"), (OTHERS, "other consumers"), (LOOPS, "bare loops, for scale"))
    return " · ".join(f'<tspan fill="{colour}" font-weight="bold">{name}</tspan>' for colour, name in named)


def _row(bar: Bar, top: float, place: Callable[[float], float]) -> list[str]:
    middle = top + BAR / 2
    name = f'<text x="{LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(bar.name)}</text>'
    if bar.words:
        return [name, f'<text x="{LEFT + 6}" y="{middle + 4:.1f}" font-style="italic">{escape(bar.words)}</text>']
    end, least, most = place(bar.middle), place(min(bar.values)), place(max(bar.values))
    return [
        name,
        f'<rect x="{LEFT}" y="{top}" width="{max(1.0, end - LEFT):.1f}" height="{BAR}" fill="{bar.colour}"/>',
        f'<path d="M{least:.1f} {middle}H{most:.1f}" stroke="{INK}" stroke-width="1.5"/>',
        f'<text x="{max(end, most) + 5:.1f}" y="{middle + 4:.1f}">{_short(bar.middle)}</text>',
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _wide(values: Sequence[float]) -> bool:
    above = [value for value in values if value > 0]
    return len(above) == len(values) > 1 and max(above) / min(above) > LOGARITHMIC


def _linear(bars: Sequence[Bar]) -> Callable[[float], float]:
    highest = _highest(bars)
    return lambda value: LEFT + max(0.0, value) / highest * (WIDTH - RIGHT - LEFT)


def _logarithmic(bars: Sequence[Bar]) -> Callable[[float], float]:
    low, high = _decades(bars)
    step = (WIDTH - RIGHT - LEFT) / (high - low)
    return lambda value: LEFT + (max(low, math.log10(max(value, 1e-9))) - low) * step


def _ticks(bars: Sequence[Bar], *, logarithmic: bool) -> list[float]:
    if logarithmic:
        low, high = _decades(bars)
        return [10.0**power for power in range(low, high + 1)]
    return [_highest(bars) * share for share in (0, 0.25, 0.5, 0.75, 1)]


def _decades(bars: Sequence[Bar]) -> tuple[int, int]:
    values = [value for bar in bars for value in bar.values if value > 0]
    return math.floor(math.log10(min(values)) - 0.2), math.ceil(math.log10(max(values)))


def _highest(bars: Sequence[Bar]) -> float:
    """The next round number for the end of an axis."""
    value = max((value for bar in bars for value in bar.values), default=0.0)
    if value <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 4, 6, 8, 10) if step * scale >= value)
