"""The program: every command of `leasekeeper`, and how each ends.

Owned by the console script. It promises the exit codes of `leasekeeper.exit_codes`, and to load what a command needs
only when that command runs.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasekeeper import __version__
from leasekeeper.cli.errors import Stopped, exit_of, printed, say, say_error
from leasekeeper.cli.layout import HelpfulCommand, HelpfulGroup
from leasekeeper.cli.mistakes import UsageError, sentence
from leasekeeper.errors import LeasekeeperError
from leasekeeper.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = {
    "run": "Run the consumers of a module until SIGTERM or SIGINT, then drain; a second signal cuts the drain short",
    "local": "Run SQS on this machine until Ctrl-C, with standard and FIFO queues in memory",
    "send": "Send one message, or one for each line of a file or of standard input",
    "peek": "Look at messages: receive them, show them, give them back at once",
    "redrive": "Move the messages of a dead-letter queue back",
    "top": "Show the consumers of one process or several",
    "doctor": "Check credentials, endpoint, permissions and the queue's attributes, and say what to change",
    "scale": "Print KEDA's queueLength and the target of ECS for a queue, from what its consumer measures, and why",
    "manifest": "Write a Deployment with KEDA's ScaledObject, or an ECS task definition with its scaling",
    "store": "Create the table of a store of idempotency keys, or of an inbox; nothing happens if it is there",
    "outbox": "Create the table of an outbox in Postgres, send its rows, show what waits, or retry what was set aside",
    "options": "Show the options of each consumer, and where each comes from: code, file, environment or flag",
    "new": "Write a service: an app, a test, a Dockerfile, and manifests for Kubernetes and ECS",
    "docs": "Write what apps consume and send as an AsyncAPI 3.0 document, and as a page",
    "health": "Ask a process that runs with an admin address whether it lives, or receives messages (--ready)",
    "demo": "Watch messages flow through a local SQS, without an AWS account",
}
"""The commands, each with the first sentence of its help. Each is a function of that name in a module of that name."""


def _function(name: str) -> Callable[..., Any] | None:
    """The function of a command; None when there is none of that name."""
    if name not in COMMANDS:
        return None
    module = import_module(f"leasekeeper.cli.{name}")
    function: Callable[..., Any] = module.command() if name in ("run", "options") else getattr(module, name)
    return function


class Commands(HelpfulGroup):
    """The commands; each is imported when it is used, so that one does not pay for another."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; None when there is none of that name."""
        del ctx
        function = _function(cmd_name)
        if function is None:
            return None
        from leasekeeper.cli.logs import show_warnings

        show_warnings()
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cmd_name, cls=HelpfulCommand)(function)
        return typer.main.get_command(alone)

    def sentence(self, name: str) -> str:
        """What a command does, without importing it."""
        return COMMANDS[name]


WRONG_PATH = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""Errors of files that say that another path has to be given; others say that the disk is full, for example."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of what has no room for the output."""

program = typer.Typer(
    name="leasekeeper",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(*, wanted: bool) -> None:
    if wanted:
        print(f"leasekeeper {__version__}")
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


def execute() -> int:
    """Run the command that this process was started with, and write out what it prints; returns the exit code."""
    code: int = Exit.FAILED
    try:
        code = _execute()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has all that it wants, such as `head`
        return code
    except OSError as error:
        if error.errno not in FULL:
            raise
        say(f"the output cannot be written: {error.strerror}; what was to be done before may be done")
        return Exit.FAILED
    return code


def _execute() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # show what the terminal's encoding lacks as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        ended = program(prog_name="leasekeeper", standalone_mode=False)
    except SystemExit as error:
        ended = error.code if isinstance(error.code, int) else Exit.FAILED
    except UsageError as error:
        return _refuse(error)
    except Stopped as stopped:
        return stopped.code
    except LeasekeeperError as error:
        say_error(error)
        return exit_of(error)
    except OSError as error:
        if error.filename is None:  # not about a file that was given
            if not isinstance(error, FileNotFoundError):
                raise
            say("the working directory does not exist any more: change to another one")
            return Exit.USAGE
        wrong = isinstance(error, WRONG_PATH)
        say(f"{os.fsdecode(error.filename)}: {error.strerror}{'; give another path' if wrong else ''}")
        return Exit.USAGE if wrong else Exit.FAILED
    except ImportError as error:
        from leasekeeper.cli.shadows import hiding

        hides = hiding(error, Path.cwd())
        if not hides:
            raise
        say(f"{error}: {hides}")
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        ended = Exit.INTERRUPTED
    if ended == Exit.INTERRUPTED:
        say("interrupted")
    return ended if isinstance(ended, int) else Exit.CLEAN


def _refuse(error: Exception) -> Exit:
    """Say what is wrong with the arguments; without any, show the help."""
    arguments = sys.argv[1:]
    if arguments:
        words = sentence(error, arguments, list(COMMANDS), _function(arguments[0]))
        from leasekeeper.supervision.lifeline import Lifeline

        lifeline = Lifeline.from_environment(os.environ)
        if lifeline is None or not lifeline.refuse(printed(words)):
            say(words)
    else:
        typer.echo(error, err=True)
    return Exit.USAGE
