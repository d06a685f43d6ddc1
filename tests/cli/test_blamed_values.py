"""How messages show a value that is wrong: behind `=`, as flags, options and variables are given.

A space stands between a flag and its value only in commands that are meant to be copied.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import leasekeeper
from leasekeeper.options import Options

SOURCES = sorted(Path(leasekeeper.__file__).parent.rglob("*.py"))
OPTION = "|".join(option.name for option in dataclasses.fields(Options) if "_" in option.name)
SPACED = re.compile(rf"(?:--[a-z][a-z-]*|\{{flag\}}) \{{[^}}]*!r\}}|(?<![\w-])(?:{OPTION}) (?:[0-9']|\{{[^}}]*!r)")


def text_of(part: ast.expr) -> str:
    """A text as it stands in the code, with what is filled in as `{value}` or `{value!r}`."""
    if isinstance(part, ast.JoinedStr):
        return "".join(map(text_of, part.values))
    if isinstance(part, ast.FormattedValue):
        return f"{{{ast.unparse(part.value)}{'!r' if part.conversion == ord('r') else ''}}}"
    return str(part.value) if isinstance(part, ast.Constant) else ""


def test_a_value_that_is_blamed_stands_behind_an_equals_sign() -> None:
    texts = {
        f"{source.name}, line {part.lineno}: {found[0]}"
        for source in SOURCES
        for part in ast.walk(ast.parse(source.read_text()))
        if isinstance(part, ast.JoinedStr) and (found := SPACED.search(text_of(part)))
    }
    assert texts == set()


def test_the_rule_finds_what_breaks_it() -> None:
    for wrong in ('f"--queue {given!r}: no"', 'f"retry_base {value!r}: no"', 'f"{flag} {given!r}"'):
        assert SPACED.search(text_of(ast.parse(wrong, mode="eval").body))
    for right in ('f"--queue={given!r}: no"', 'f"{name}={value!r}"', 'f"leasekeeper redrive {queue} --to {other}"'):
        assert not SPACED.search(text_of(ast.parse(right, mode="eval").body))
