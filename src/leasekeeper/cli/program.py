"""The program: every command of `leasekeeper`, and the way out of each.

Owned by the console script. It promises the exit codes of `errors.py`, and to load what a command needs
only when it runs.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from leasekeeper.cli import doctor, local, peek, redrive, run, send
from leasekeeper.cli.errors import Exit, Stopped, exit_of, say
from leasekeeper.errors import LeasekeeperError

program = typer.Typer(
    name="leasekeeper",
    help="Consume Amazon SQS: you write the handler, Leasekeeper keeps the lease.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
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
        typer.Option("--version", callback=lambda wanted: _version(wanted=wanted), is_eager=True, help="The version."),
    ] = False,
) -> None:
    """Consume Amazon SQS: you write the handler, Leasekeeper keeps the lease."""


program.command("run")(run.command())
program.command("local")(local.local)
for each in (send.send, peek.peek, redrive.redrive, doctor.doctor):
    program.command()(each)


@program.command()
def demo(
    *,
    seconds: Annotated[float, typer.Option(help="How long orders flow.", min=1, metavar="SECONDS")] = 20.0,
    messages: Annotated[
        int | None, typer.Option(help="How many orders; unset, as many as flow.", min=1, metavar="NUMBER")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Handlers at work at once.", min=1, metavar="NUMBER")] = 50,
    handler_ms: Annotated[
        float, typer.Option(help="What the handler waits, on average, in milliseconds.", min=0, metavar="NUMBER")
    ] = 20.0,
) -> None:
    """Watch messages flow: a local SQS, a producer, and a consumer whose handler waits, fails and rejects as real ones.

    Needs no AWS. Ctrl-C drains and reports; without a terminal it prints plain lines.
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
        program()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.FAILED
    except Stopped as stopped:
        return stopped.code
    except LeasekeeperError as error:
        say(str(error))
        return exit_of(error)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return Exit.CLEAN
