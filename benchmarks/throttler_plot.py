"""Draw how the throttler converges: a step in handler time, an outage, a burst; as SVG, by hand.

Run `python benchmarks/throttler_plot.py` to write `docs/internals/images/throttler-*.svg`. The flows are simulated
in virtual time by `tests/core/flow.py` with a fixed seed, so the same code draws the same pictures.
"""

from __future__ import annotations

import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leasekeeper.core.throttle_policy import ThrottlePolicy

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "core"))
from flow import Flow, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 760, 110, 70, 20, 46, 34
INK, PALE = "#1b3a4b", "#c9d6df"
FONT = 'font-family="sans-serif" font-size="11"'
COLOURS = ("#0b7a75", "#d1495b", "#edae49")


@dataclass(frozen=True, slots=True)
class Panel:
    """One row of a picture: curves that share an axis."""

    title: str
    curves: tuple[tuple[str, Callable[[Sample], float]], ...]


PANELS = (
    Panel("messages a second", (("finished", lambda sample: sample.finished),)),
    Panel("pollers", (("wanted", lambda sample: sample.pollers), ("calls under way", lambda sample: sample.polling))),
    Panel("messages", (("prefetch", lambda sample: sample.prefetch), ("waiting", lambda sample: sample.waiting))),
    Panel("in the queue", (("queued", lambda sample: sample.queued),)),
)


def uneven(seed: int) -> Callable[[float], float]:
    """Receive calls of 10 ms on average, from 5 ms up."""
    draw = random.Random(seed)
    return lambda _: 0.005 + draw.expovariate(200)


def step() -> Flow:
    """Handlers of 20 ms take 2 s from second 5 to second 15."""
    flow = Flow(policy(), handler=lambda now: 2.0 if 5 <= now < 15 else 0.02, latency=uneven(1))
    flow.send_steadily(2_500, start=0, end=5)
    flow.send(20_000, at=5)
    flow.run(24)
    return flow


def outage() -> Flow:
    """2,500 messages a second, and every receive fails from second 5 to second 35."""
    flow = Flow(policy(), latency=uneven(2), sample_every=0.25)
    flow.send_steadily(2_500, start=0, end=60)
    flow.fail(start=5, end=35)
    flow.run(75)
    return flow


def burst() -> Flow:
    """Ten thousand messages after half a minute of idling."""
    flow = Flow(policy(), latency=uneven(3), sample_every=0.02)
    flow.send(10_000, at=30)
    flow.run(33)
    flow.samples[:] = [sample for sample in flow.samples if sample.time >= 29.8]
    return flow


def policy() -> ThrottlePolicy:
    """A hundred handlers, ten pollers at most, the defaults otherwise."""
    return ThrottlePolicy(concurrency=100, visibility=30.0)


def draw(title: str, samples: list[Sample]) -> str:
    """A picture of the samples: one row a panel, time from left to right."""
    height = TOP + len(PANELS) * (HEIGHT + GAP)
    start, end = math.floor(samples[0].time * 10) / 10, samples[-1].time
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT} fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{title}</text>',
    ]
    for row, panel in enumerate(PANELS):
        parts += _row(panel, samples, TOP + row * (HEIGHT + GAP), start, end)
    return "\n".join([*parts, "</svg>", ""])


def _row(panel: Panel, samples: list[Sample], top: float, start: float, end: float) -> list[str]:
    highest = _round_up(max(value(sample) for _, value in panel.curves for sample in samples))
    bottom, right = top + HEIGHT, WIDTH - RIGHT

    def x(time: float) -> float:
        return LEFT + (time - start) / (end - start) * (right - LEFT)

    parts = []
    for share in (0, 0.5, 1):
        y = bottom - share * HEIGHT
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="{PALE}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{highest * share:,g}</text>')
    tick = _round_up((end - start) / 10)
    for count in range(math.ceil(start / tick), int(end / tick) + 1):
        time = count * tick
        parts.append(f'<text x="{x(time):.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{time:g} s</text>')
    label = LEFT + 6
    for colour, (name, value) in zip(COLOURS, panel.curves, strict=False):
        points = " ".join(f"{x(each.time):.1f},{bottom - value(each) / highest * HEIGHT:.1f}" for each in samples)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{label}" y="{top - 5:.1f}" fill="{colour}">{name}</text>')
        label += 8 * len(name) + 12
    parts.append(f'<text x="{right}" y="{top - 5:.1f}" text-anchor="end">{panel.title}</text>')
    return parts


def _round_up(value: float) -> float:
    """The next round number for the top of an axis."""
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 4, 6, 8, 10) if step * scale >= value)


def main() -> None:
    """Write the three pictures."""
    pictures = Path(__file__).parents[1] / "docs" / "internals" / "images"
    pictures.mkdir(exist_ok=True)
    for name, title, flow in (
        ("step", "Handlers of 20 ms take 2 s from second 5 to second 15", step()),
        ("outage", "Every receive fails from second 5 to second 35", outage()),
        ("burst", "10,000 messages after half a minute of idling", burst()),
    ):
        (pictures / f"throttler-{name}.svg").write_text(draw(title, flow.samples))
        print(name, flow)


if __name__ == "__main__":
    main()
