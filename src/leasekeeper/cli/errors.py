"""How a command ends: exit codes, and the one sentence on standard error that goes with them.

Used by every command. It promises that an error which Leasekeeper raises on purpose never shows a traceback.
"""

from __future__ import annotations

import sys
from enum import IntEnum

from leasekeeper.cli.words import printable_lines
from leasekeeper.errors import ConfigurationError, LeasekeeperError, QueueUnusable, SqsError
from leasekeeper.sqs.urls import redacted
from leasekeeper.texts import printable


class Exit(IntEnum):
    """The exit codes of every command."""

    CLEAN = 0
    """The command did its work; `run` settled every message."""
    FAILED = 1
    """An error ended it, `run` left messages unsettled, `send` had some refused, or `doctor` found a failure."""
    USAGE = 2
    """Wrong usage or configuration: nothing was done."""
    UNUSABLE = 3
    """The queue does not exist, cannot be reached, or the credentials do not allow its use."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM ended it before its work was done."""


class Stopped(Exception):
    """End the command with this code; everything has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def exit_of(error: LeasekeeperError) -> Exit:
    """The exit code that stands for an error."""
    if isinstance(error, ConfigurationError):
        return Exit.USAGE
    if isinstance(error, (QueueUnusable, SqsError)):
        return Exit.UNUSABLE
    return Exit.FAILED


def say(sentence: str, *commands: str) -> None:
    """Print a sentence on standard error; each command goes below it on one line, so that it can be copied."""
    shown = (f"  {printable_lines(command)}" for command in commands)
    print(printed(sentence), *shown, sep="\n", file=sys.stderr, flush=True)


def printed(sentence: str) -> str:
    """A sentence as standard error shows it: on one line, or wrapped between words on a terminal."""
    line = f"leasekeeper: {printable(redacted(sentence))}"
    if sys.stderr.isatty():
        import shutil
        import textwrap

        columns = max(20, shutil.get_terminal_size().columns)
        line = textwrap.fill(line, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return line
