"""The program: every command of `leasekeeper`, and how each ends.

Owned by the console script. It promises the exit codes of `errors.py`, and to load what a command needs only when that
command runs.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from leasekeeper.cli import doctor, health, local, peek, redrive, run, send
from leasekeeper.cli.errors import Exit, Stopped, exit_of, say
from leasekeeper.cli.layout import HelpfulCommand, HelpfulGroup
from leasekeeper.errors import LeasekeeperError

program = typer.Typer(
    name="leasekeeper",
    cls=HelpfulGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(*, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"leasekeeper {version('leasekeeper')}")
        raise typer.Exit


@program.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda wanted: _version(wanted=wanted),
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Consume Amazon SQS: you write the handler, Leasekeeper keeps the lease."""


for name, command in (
    ("run", run.command()),
    ("local", local.local),
    ("send", send.send),
    ("peek", peek.peek),
    ("redrive", redrive.redrive),
    ("doctor", doctor.doctor),
    ("health", health.health),
):
    program.command(name, cls=HelpfulCommand)(command)


@program.command(cls=HelpfulCommand)
def demo(
    *,
    seconds: Annotated[float, typer.Option(help="Time for which orders are sent.", min=1, metavar="SECONDS")] = 20.0,
    messages: Annotated[
        int | None, typer.Option(help="Stop after this many orders; unset, no limit.", min=1, metavar="NUMBER")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Handlers that run at the same time.", min=1, metavar="NUMBER")] = 50,
    handler_ms: Annotated[
        float, typer.Option(help="Average time of a handler, in milliseconds.", min=0, metavar="NUMBER")
    ] = 20.0,
) -> None:
    """Watch messages flow through a local SQS, without an AWS account. The handler waits, fails and rejects.

    Ctrl-C drains and shows the report. Without a terminal the demo prints plain lines.
    """
    from leasekeeper.cli.demo.command import play
    from leasekeeper.cli.demo.state import DemoPlan

    raise Stopped(play(DemoPlan(seconds=seconds, messages=messages, concurrency=concurrency, handler_ms=handler_ms)))


def execute() -> int:
    """Run the command that this process was started with; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # show what the terminal's encoding lacks as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        program(prog_name="leasekeeper")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.FAILED
    except Stopped as stopped:
        return stopped.code
    except LeasekeeperError as error:
        say(str(error))
        return exit_of(error)
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.INTERRUPTED
    return Exit.CLEAN
