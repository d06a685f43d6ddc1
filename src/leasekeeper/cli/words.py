"""Words of commands: text that others wrote, made safe to print; counts, lists and ages in a sentence.

Used wherever a command prints a body, an error or a URL; for text on one line there is `leasekeeper.texts`. It promises
that such text can neither move the cursor, nor change colours, nor turn the reading direction.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 with ESC and BEL, DEL, and C1, which some terminals obey as they obey ESC
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the reading direction
    "\u2028\u2029\ufeff"  # line separators, and the byte order mark
    "\ud800-\udfff]"  # lone surrogates, which cannot be encoded
)


def _visible(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def printable_lines(text: str) -> str:
    r"""The text with its lines and tabs as they are, and each other control character shown as an escape."""
    return _CONTROL.sub(_visible, text.replace("\r\n", "\n"))


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


FRESH = 10.0
"""Seconds for which an answer of SQS is shown without its age."""


def ago(seconds: float | None) -> str:
    """When SQS was asked: `now`, or `25 s ago` once that is not new; None: not known."""
    return "now" if seconds is None or seconds <= FRESH else f"{seconds:.0f} s ago"


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 message`, `2,000 messages`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
