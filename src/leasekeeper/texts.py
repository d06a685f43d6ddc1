"""Texts that come from outside (bodies, errors, reasons, answers), made safe to show in a log line or an error.

On the ground floor: every part may use it. Cut first, then look: nothing here takes time or memory in proportion to a
text that is too long.
"""

from __future__ import annotations

LIMIT = 1000
"""Characters of a text from outside that are shown, unless the caller says otherwise."""


def bounded(text: str, limit: int = LIMIT) -> str:
    """`text` as one printable line of at most `limit` characters, and its length if it is longer.

    Line breaks become spaces; control characters, and what else is not printable, are escaped as in Python's `repr`.
    """
    shown = printable(text[: limit + 1])  # one more: a text that is cut does not look whole because spaces were joined
    return shown if len(text) <= limit and len(shown) <= limit else f"{shown[:limit]}... ({len(text)} characters)"


def printable(text: str) -> str:
    """`text` as one line without control characters. Its cost grows with the text: for texts that are bounded."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def safe_str(thing: object, limit: int = LIMIT) -> str:
    """`str(thing)`, bounded; a sentence with its type when `str` raises, whatever it raises."""
    try:
        return bounded(str(thing), limit)
    except BaseException:  # the code of others may raise anything, and no text is worth losing a message
        return f"({type(thing).__name__}, its text cannot be shown)"


def safe_repr(thing: object, limit: int = LIMIT) -> str:
    """`repr(thing)`, bounded; a sentence with its type when `repr` raises, whatever it raises."""
    try:
        return bounded(repr(thing), limit)
    except BaseException:  # as in `safe_str`
        return f"({type(thing).__name__}, its text cannot be shown)"


def one_line(error: BaseException, limit: int = 300) -> str:
    """The text of an error whose lines are statements of their own, as those of libpq, on one line; else its type."""
    lines: list[str] = []
    try:
        parts = str(error).splitlines()
    except Exception:  # as in `safe_str`
        parts = []
    for part in filter(None, map(str.strip, parts)):
        if lines and lines[-1][-1] not in ".,;:?!":
            lines[-1] += ";"
        lines.append(part)
    return bounded(" ".join(lines), limit) or type(error).__name__
