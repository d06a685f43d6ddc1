"""`leasekeeper run`: run the consumers of a module in the foreground until a signal, then drain.

Owned by the command line. Its flags are made from the schema of options, one for each that is configurable.
"""

from __future__ import annotations

import inspect
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasekeeper.cli import admin, logs, settings
from leasekeeper.cli.errors import Stopped, exit_of, printed, sentences_of
from leasekeeper.cli.grace import GraceOption  # noqa: TC001 - typer reads the annotations
from leasekeeper.errors import ConfigurationError
from leasekeeper.loggers import safe_logger
from leasekeeper.supervision.lifeline import Lifeline
from leasekeeper.supervision.plan import MOST, plan_of
from leasekeeper.supervision.start import supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from leasekeeper.cli.option_words import OptionWords

log = safe_logger("leasekeeper.run")

HELP = """Run the consumers of a module until SIGTERM or SIGINT, then drain; a second signal cuts the drain short.

Every option below is also a variable (--wait-time is LEASEKEEPER_WAIT_TIME) and a key of the TOML file (wait_time; \
for the consumer of one queue in [tool.leasekeeper.queues.NAME]). A flag wins over a variable, that over the file, \
and the file over the code.

Exit codes: 0 stopped, everything settled; 1 ended by an error, or messages unsettled; 2 wrong usage or configuration; \
3 a queue, a table or a bucket cannot be used; 130 a second signal cut the drain short.
"""


TargetsArgument = Annotated[
    list[str], typer.Argument(metavar="MODULE:NAME...", help="Apps and consumers to run, e.g. shop:app.")
]
LevelOption = Annotated[
    str, typer.Option(metavar="|".join(logs.LEVELS), help="Least level to log.", envvar="LEASEKEEPER_LOG_LEVEL")
]
FormatOption = Annotated[
    str, typer.Option(metavar="|".join(logs.FORMATS), help="Form of a log line.", envvar="LEASEKEEPER_LOG_FORMAT")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="Run this many processes, and start another for one that dies.",
        min=1,
        max=MOST,
        envvar="LEASEKEEPER_PROCESSES",
    ),
]
SupervisorOption = Annotated[
    bool,
    typer.Option(
        "--supervisor/--no-supervisor",
        help="Run the consumers in a process below a small one that keeps their leases and starts another for one that "
        "dies. On where there can be a keeper (Linux).",
        envvar="LEASEKEEPER_SUPERVISOR",
    ),
]
EmptyOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Stop when the queues have been empty for so long, for jobs: after three empty long polls in a row, with "
        "no message that is visible, in flight or delayed. Below 60 the long polls are shorter, 1 s at least, unless "
        "wait_time is set.",
        envvar="LEASEKEEPER_EXIT_WHEN_EMPTY",
        min=0,
    ),
]
ReloadOption = Annotated[
    bool,
    typer.Option("--reload", help="Start again when a .py or .toml file below this folder changes, for development."),
]
LocalOption = Annotated[
    bool, typer.Option("--local", help="Run a local SQS as well, with the queues of the consumers, for development.")
]


def run(
    targets: TargetsArgument,
    *,
    config: settings.ConfigOption = None,
    log_level: LevelOption = "info",
    log_format: FormatOption = "plain",
    processes: ProcessesOption = None,
    reload: ReloadOption = False,
    local: LocalOption = False,
    supervisor: SupervisorOption = True,
    grace_period: GraceOption = None,
    exit_when_empty: EmptyOption = None,
    **options: Any,
) -> None:
    """Run until a signal, drain, and end with the exit code that says how it went."""
    logs.check(log_level, log_format)
    lifeline = Lifeline.from_environment(os.environ)
    if (processes or reload or local) and lifeline is None:
        admin.AdminWishes.of(options)  # a mistake in these flags is why there is no supervisor yet
        raise Stopped(_supervise(supervisor=supervisor))
    with _said_once(lifeline):
        surface = admin.AdminWishes.of(options)
        given = settings.RunSettings.read(config, os.environ, options)
        logs.set_up(log_level, log_format, lifeline.number if lifeline is not None and lifeline.count > 1 else None)
        for name, near in settings.misspelt(os.environ).items():
            log.warning("%s is not an option; did you mean %s?", name, near)
        from leasekeeper.cli.serve import Wishes, serve

        wishes = Wishes(
            references=targets,
            given=given,
            admin=surface,
            grace_period=grace_period,
            exit_when_empty=exit_when_empty,
            lifeline=lifeline,
        )
        code = serve(wishes)
    raise Stopped(code)


@contextmanager
def _said_once(lifeline: Lifeline | None) -> Iterator[None]:
    """Leave what is wrong in arguments and settings to the supervisor: all of its processes have the same."""
    try:
        yield
    except ConfigurationError as error:
        if lifeline is None or not lifeline.refuse("\n".join(map(printed, sentences_of(error)))):
            raise
        raise Stopped(exit_of(error)) from error


def _supervise(*, supervisor: bool) -> int:
    """Run what needs a supervisor, where the console script has not: `--no-supervisor`, or a call from a program."""
    plan = plan_of(sys.argv[1:], os.environ)
    if not supervisor or plan is None:
        raise ConfigurationError("--no-supervisor: --processes, --reload and --local need one; leave one of them out")
    return supervise(plan, os.environ)


def command() -> Callable[..., None]:
    """The command with a flag for each option of the schema."""
    return with_flags(run, HELP, admin.flags())


def with_flags(function: Callable[..., None], text: str, more: Sequence[inspect.Parameter] = ()) -> Callable[..., None]:
    """A command with a flag for each option of the schema, as typer reads it: from the signature.

    Args:
        function: takes the targets, and all flags as keywords.
        text: its help.
        more: other flags.
    """
    signature = inspect.signature(function, eval_str=True)
    fixed = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    flags = [*more, *(_flag(option) for option in settings.schema())]

    def flagged(**values: Any) -> None:
        function(values.pop("targets"), **values)

    flagged.__doc__ = text
    parameters = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in (*fixed, *flags)]
    vars(flagged)["__signature__"] = signature.replace(parameters=parameters)
    flagged.__annotations__ = {parameter.name: parameter.annotation for parameter in (*fixed, *flags)}
    return flagged


def _flag(option: OptionWords) -> inspect.Parameter:
    panel = f"Options: {option.section.lower()}"
    if option.kind == "bool":
        both = f"{option.flag}/--no-{option.flag.removeprefix('--')}"
        kind: Any = Annotated[bool | None, typer.Option(both, help=option.help, rich_help_panel=panel)]
    elif option.kind == "Sequence[str]":
        words = typer.Option(option.flag, help=option.help, metavar="NAME,...", rich_help_panel=panel)
        kind = Annotated[list[str] | None, words]
    else:
        words = typer.Option(option.flag, help=option.help, metavar=option.metavar, rich_help_panel=panel)
        kind = Annotated[str | None, words]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
