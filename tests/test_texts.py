"""Texts from outside: cut, on one line, without control characters, whatever raises on the way."""

from __future__ import annotations

import time

import pytest

from leasekeeper.texts import LIMIT, bounded, safe_repr, safe_str


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain", "plain"),
        ("grüße 🐝", "grüße 🐝"),
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("bell\x07 c1\x9b nul\x00", r"bell\x07 c1\x9b nul\x00"),
        ("\u202eright to left", r"\u202eright to left"),
        ("surrogate \ud83d", r"surrogate \ud83d"),
        ("line\u2028separator\x85next", "line separator next"),
    ],
)
def test_a_short_text_is_shown_on_one_printable_line(text: str, shown: str) -> None:
    assert bounded(text) == shown


def test_a_long_text_is_cut_and_its_length_is_shown() -> None:
    assert bounded("x" * 10) == "x" * 10
    assert bounded("x" * 11, 10) == "xxxxxxxxxx... (11 characters)"
    assert bounded("\x1b" * 10, 10) == r"\x1b\x1b\x... (10 characters)"
    assert bounded("a" + " " * 20, 10) == "a... (21 characters)"


def test_a_cut_costs_the_same_however_long_the_text_is() -> None:
    text, took = "\x1b" * 50_000_000, list[float]()
    for _ in range(5):  # the garbage collector may run in one of them
        began = time.thread_time()
        assert len(bounded(text)) < LIMIT + 40
        took.append(time.thread_time() - began)
    assert min(took) < 0.02


class Raises:
    """An object with texts that raise."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit(), RecursionError()], ids=repr)
def test_a_text_that_raises_is_replaced(error: BaseException) -> None:
    """L15: whatever `__str__` and `__repr__` raise."""
    assert safe_str(Raises(error)) == "(Raises, its text cannot be shown)"
    assert safe_repr(Raises(error)) == "(Raises, its text cannot be shown)"


def test_other_texts_are_bounded_too() -> None:
    assert safe_str(ValueError("a\nb")) == "a b"
    assert safe_str("x" * 5000, 10) == "xxxxxxxxxx... (5000 characters)"
    assert safe_repr("x" * 5000, 10) == "'xxxxxxxxx... (5002 characters)"
