"""Text that others wrote: no control characters, no passwords reach the terminal."""

from __future__ import annotations

import io
import unicodedata

import pytest

from leasekeeper.cli.errors import say
from leasekeeper.cli.words import printable_lines


def test_no_control_character_of_unicode_is_printed_raw() -> None:
    """C0, DEL, C1, lone surrogates and line separators, whatever they are; tabs and line breaks only as lines."""
    for code in range(0x11_0000):
        character = chr(code)
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}:
            assert (printable_lines(character) == character) == (character in "\n\t")


@pytest.mark.parametrize("character", "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
def test_marks_that_turn_the_reading_direction_are_shown(character: str) -> None:
    assert printable_lines(f"a{character}b") == f"a\\u{ord(character):04x}b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x07\x9b31m\x7f", "\\x1b[2J\\x07\\x9b31m\\x7f"),
        ("C:\\temp", "C:\\temp"),
        ("größe 量 \N{WOMAN}\u200d\N{ROCKET} שלום", "größe 量 \N{WOMAN}\u200d\N{ROCKET} שלום"),
    ],
)
def test_control_characters_are_shown_and_letters_stay(text: str, shown: str) -> None:
    assert printable_lines(text) == shown


def test_lines_stay_lines_and_a_carriage_return_cannot_overwrite_one() -> None:
    assert printable_lines("one\r\n\ttwo\rthree\x1b") == "one\n\ttwo\\rthree\\x1b"


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_on_a_terminal_a_sentence_is_wrapped_between_words_and_a_command_is_not(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", str(columns))
    say("a sentence with\x1b[2J some words http://u:p@h/ at its end", "leasekeeper redrive orders-dead --to 'a  b'\x1b")
    *sentence, command = terminal.getvalue().splitlines()
    assert command == "  leasekeeper redrive orders-dead --to 'a  b'\\x1b"
    assert " ".join(" ".join(sentence).split()) == (
        "leasekeeper: a sentence with\\x1b[2J some words http://***@h/ at its end"
    )
    assert max(map(len, sentence)) <= columns
