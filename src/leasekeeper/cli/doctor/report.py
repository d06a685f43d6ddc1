"""The findings as a person reads them, one after the other, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.cli.doctor.examination import findings
from leasekeeper.cli.doctor.facts import Finding, Level
from leasekeeper.cli.words import printable_lines
from leasekeeper.exit_codes import Exit
from leasekeeper.sqs.urls import redacted
from leasekeeper.texts import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from leasekeeper.cli.doctor.examination import Patient

COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
SHARED = ("credentials", "endpoint")
"""Topics that most consumers of a program have in common: the same finding is shown once, with the first of them."""
NARROW = 64
"""Columns below which the message goes under its topic."""


async def print_report(patients: Sequence[Patient], *, explain: bool) -> Exit:
    """Examine these and print what is found, each with what it is about if wanted."""
    from rich.console import Console

    console = Console(highlight=False)
    counts = dict.fromkeys(Level, 0)
    said: set[Finding] = set()
    for number, patient in enumerate(patients):
        if patient.options is not None:
            print(("\n" if number else "") + f"consumer of {patient.connection.queue}")
        async for finding in findings(patient):
            if finding.topic in SHARED and finding in said:
                continue
            said.add(finding)
            show(finding, console)
            if explain:
                _explain(finding, console)
            counts[finding.level] += 1
    print(f"\n{counts[Level.FAIL]} to fix, {counts[Level.WARN]} to consider, {counts[Level.OK]} ok")
    return Exit.FAILED if counts[Level.FAIL] else Exit.CLEAN


def _explain(finding: Finding, console: Console) -> None:
    """Say what a finding is about."""
    from rich.padding import Padding

    from leasekeeper.cli.doctor.explanations import explanation

    if text := explanation(finding.topic):
        console.print(Padding(text, (0, 0, 0, 6)), style="dim", markup=False)


def show(finding: Finding, console: Console) -> None:
    """Print a finding; its commands are never wrapped or cut, so that they can be copied."""
    from rich.table import Table
    from rich.text import Text

    level = Text(finding.level.value, style=COLOURS[finding.level])
    topic, message = Text(finding.topic, style="bold"), Text(printable(redacted(finding.message)))
    if not console.is_terminal:
        line = Text.assemble(f"{level.plain:<4}  {topic.plain:<14}  ", message)
        console.print(line, soft_wrap=True)
    else:
        narrow = console.width < NARROW
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=4)
        table.add_column(width=None if narrow else 14)
        if not narrow:
            table.add_column()
        table.add_row(level, topic, *(() if narrow else (message,)))
        if narrow:
            table.add_row("", message)
        console.print(table)
    for command in finding.commands:
        console.print(Text(f"      {printable_lines(command)}", style="cyan"), soft_wrap=True)
