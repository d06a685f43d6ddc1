"""Colours of the stylesheet: text stands out from what is behind it, in light and dark (WCAG AA)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import leasekeeper.pages

STYLE = (Path(leasekeeper.pages.__file__).parent / "style.css").read_text()
LEAST = 4.5
"""Contrast of text (WCAG 2.2, 1.4.3)."""
LEAST_MARK = 3.0
"""Contrast of signs and of what a person has to see to use the page (WCAG 2.2, 1.4.11)."""
TEXT = [
    *((ink, back) for ink in ("ink", "soft", "amber", "red", "accent") for back in ("page", "card")),
    *((ink, "faint") for ink in ("ink", "soft")),
    ("ink", "red-soft"),
    ("ink", "amber-soft"),
    ("amber", "amber-soft"),
    ("ink", "accent-soft"),
    ("card", "accent"),
    ("card", "red"),
    ("page", "ink"),
]
MARKS = [("lease-4", "card"), ("accent", "card"), ("red", "card"), ("amber", "card"), ("soft", "faint")]


def palette(scheme: str) -> dict[str, str]:
    """The colours of a scheme; dark ones replace light ones."""
    light, _, rest = STYLE.partition("@media (prefers-color-scheme: dark)")
    dark = rest.partition("* { box-sizing")[0]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else {})


def luminance(color: str) -> float:
    """As WCAG defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_has_the_highest_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_signs_stand_out(scheme: str) -> None:
    colors = palette(scheme)
    wanted = dict.fromkeys(TEXT, LEAST) | {pair: LEAST_MARK for pair in MARKS if pair not in TEXT}

    faint = {pair: round(contrast(colors[pair[0]], colors[pair[1]]), 2) for pair in wanted}
    assert {pair: value for pair, value in faint.items() if value < wanted[pair]} == {}
