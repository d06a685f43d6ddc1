"""Draw how a fleet follows its load under three formulas of KEDA; as SVG, by hand.

Run `python benchmarks/scaling_plot.py` to write `docs/internals/images/scaling.svg`. The fleets are real consumers in
virtual time (`tests/simulation/fleet.py`) with a fixed seed, so the same code draws the same picture.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "simulation"))
from fleet import Fleet, Sample, story

PAGE = Path(__file__).resolve().parents[1] / "docs" / "internals" / "images" / "scaling.svg"
STEP = ((0.75, 300.0), (3.0, 900.0), (0.75, 900.0))
HANDLER, CONCURRENCY, LATENCY = 10.0, 5, 60.0
FLEETS = (
    ("wanted", "wanted_replicas of /statusz (metrics-api)", None),
    ("formula", "in flight / 4 + visible / 30 (the manifest's formula)", None),
    ("queue", "queueLength 30 = capacity x latency: the usual advice", 30),
)
WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 760, 120, 70, 70, 40, 46
MOST, BACKLOG = 16, 320
INK, PALE, FLEET, NEED, QUEUE = "#1b3a4b", "#c9d6df", "#0b7a75", "#8a8f98", "#d1495b"
FONT = 'font-family="sans-serif" font-size="11"'


def main() -> None:
    """Play the fleets and write the picture."""
    rows = []
    for place, (by, title, length) in enumerate(FLEETS):
        fleet = story(STEP, seed=1, by=by, handler=HANDLER, concurrency=CONCURRENCY, latency=LATENCY, length=length)
        rows.append(_row(fleet, title, TOP + place * (HEIGHT + GAP)))
    height = TOP + len(FLEETS) * (HEIGHT + GAP) + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    title = "<title>Processes and backlog of a fleet whose load rises to four times and falls back</title>"
    PAGE.write_text(f'{head}\n{title}\n<rect width="100%" height="100%" fill="#fff"/>\n{"".join(rows)}</svg>\n')


def _row(fleet: Fleet, title: str, top: float) -> str:
    seconds = sum(duration for _, duration in STEP)

    def across(at: float) -> float:
        return LEFT + at / seconds * (WIDTH - LEFT - RIGHT)

    def down(value: float, most: float) -> float:
        return top + HEIGHT * (1 - min(value, most) / most)

    parts = [f'<text x="{LEFT}" y="{top - 10}" {FONT} fill="{INK}" font-weight="bold">{title}</text>']
    for value in (0, MOST // 2, MOST):
        y = down(value, MOST)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="{PALE}" stroke-width="0.7"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" {FONT} text-anchor="end" fill="{FLEET}">{value}</text>')
        shown = value * BACKLOG // MOST
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4}" {FONT} fill="{QUEUE}">{shown}</text>')
    below = f'y="{top + HEIGHT + 15}" {FONT} text-anchor="middle" fill="{INK}"'
    parts += [f'<text x="{across(at)}" {below}>{at // 60} min</text>' for at in range(0, int(seconds) + 1, 300)]
    need = [(at, _needed(rate)) for at, rate in _edges()]
    parts.append(_line([(across(at), down(value, MOST)) for at, value in need], NEED, dashed=True))
    parts.append(_line(_steps(fleet.samples, across, lambda each: down(each.replicas, MOST)), FLEET, width=2))
    parts.append(_line([(across(each.at), down(each.visible, BACKLOG)) for each in fleet.samples], QUEUE))
    parts.append(_legend(top - 10))
    return "".join(f"{part}\n" for part in parts)


def _edges() -> list[tuple[float, float]]:
    """The rate at both ends of each part of the story."""
    found, at = [], 0.0
    for rate, duration in STEP:
        found += [(at, rate), (at + duration, rate)]
        at += duration
    return found


def _needed(rate: float) -> int:
    """Processes that work at a utilisation of 0.8."""
    return math.ceil(rate * HANDLER / CONCURRENCY / 0.8)


def _steps(samples: list[Sample], across: object, down: object) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for sample in samples:
        x, y = across(sample.at), down(sample)  # type: ignore[operator]
        if points:
            points.append((x, points[-1][1]))
        points.append((x, y))
    return points


def _line(points: list[tuple[float, float]], colour: str, *, width: float = 1.2, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'


def _legend(y: float) -> str:
    words = (("processes", FLEET), ("needed", NEED), ("messages that wait", QUEUE))
    spans = "".join(f'<tspan fill="{colour}">{word}  </tspan>' for word, colour in words)
    return f'<text x="{WIDTH - RIGHT}" y="{y}" {FONT} text-anchor="end" xml:space="preserve">{spans}</text>'


if __name__ == "__main__":
    main()
