"""How a command ends: exit codes, and the one sentence on standard error that goes with them.

Used by every command. It promises that an error which Leasekeeper raises on purpose never shows a traceback.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from leasekeeper.cli.words import printable_lines
from leasekeeper.errors import ConfigurationError, LeasekeeperError, Unusable
from leasekeeper.exit_codes import Exit
from leasekeeper.sqs.urls import redacted
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stopped(Exception):
    """End the command with this code; everything has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def exit_of(error: LeasekeeperError) -> Exit:
    """The exit code that stands for an error."""
    if isinstance(error, Unusable):
        return Exit.UNUSABLE
    if isinstance(error, ConfigurationError):
        return Exit.USAGE
    return Exit.FAILED


def say(sentence: str, *commands: str) -> None:
    """Print a sentence on standard error; each command goes below it on one line, so that it can be copied."""
    shown = (f"  {printable_lines(command)}" for command in commands)
    print(printed(sentence), *shown, sep="\n", file=sys.stderr, flush=True)


def say_error(error: LeasekeeperError) -> None:
    """Print an error on standard error; of several mistakes one line each."""
    for sentence in sentences_of(error):
        say(sentence)


def sentences_of(error: LeasekeeperError) -> Sequence[str]:
    """What is to be said of an error: one sentence, or one for each mistake in the configuration."""
    return [in_flags(str(each)) for each in error.args] if isinstance(error, ConfigurationError) else [str(error)]


def in_flags(sentence: str) -> str:
    """The sentence with flags in place of options, where the user gave these flags: `--region=` for `region=`."""
    for option in ("region", "endpoint_url", "profile"):
        flag = "--" + option.replace("_", "-")
        if any(word.partition("=")[0] == flag for word in sys.argv[1:]) and f"{option} is set by" not in sentence:
            sentence = re.sub(rf"(?<![\w-]){option}(?==)|(?<=leave ){option}(?= out)", flag, sentence)
    return sentence


def printed(sentence: str) -> str:
    """A sentence as standard error shows it: on one line, or wrapped between words on a terminal."""
    line = f"leasekeeper: {printable(redacted(sentence))}"
    if sys.stderr.isatty():
        import shutil
        import textwrap

        columns = max(20, shutil.get_terminal_size().columns)
        line = textwrap.fill(line, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return line
