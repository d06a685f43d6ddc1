"""`leasekeeper run`: run the consumers of a module in the foreground until a signal, then drain.

Owned by the command line. Its flags are made from the schema of options, one for each that is configurable.
"""

from __future__ import annotations

import inspect
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from leasekeeper.cli import logs, settings
from leasekeeper.cli.errors import Exit, Stopped
from leasekeeper.cli.grace import GraceOption, cut_off
from leasekeeper.errors import ConfigurationError
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from leasekeeper.cli.targets import Target
    from leasekeeper.observe.statistics import Report

log = safe_logger("leasekeeper.run")

HELP = """Run the consumers of a module until SIGTERM or SIGINT, then drain; a second signal cuts the drain short.

Every option below is also a variable (--wait-time is LEASEKEEPER_WAIT_TIME) and a key of the TOML file (wait_time; \
for the consumer of one queue in [tool.leasekeeper.queues.NAME]). A flag wins over a variable, that over the file, \
and the file over the code.

Exit codes: 0 stopped, everything settled; 1 ended by an error, or messages unsettled; 2 wrong usage or configuration; \
3 a queue cannot be used.
"""


def run(
    targets: Annotated[
        list[str], typer.Argument(metavar="MODULE:NAME...", help="Apps and consumers to run, e.g. shop:app.")
    ],
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file with a [leasekeeper] table; unset, [tool.leasekeeper] of ./pyproject.toml.",
            envvar="LEASEKEEPER_CONFIG",
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option(metavar="|".join(logs.LEVELS), help="Least level to log.", envvar="LEASEKEEPER_LOG_LEVEL")
    ] = "info",
    log_format: Annotated[
        str, typer.Option(metavar="|".join(logs.FORMATS), help="Form of a log line.", envvar="LEASEKEEPER_LOG_FORMAT")
    ] = "plain",
    admin: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Serve health, statistics and metrics there, e.g. 127.0.0.1:9900; a port alone is one of 127.0.0.1.",
            envvar="LEASEKEEPER_ADMIN",
        ),
    ] = None,
    grace_period: GraceOption = None,
    **options: Any,
) -> None:
    """Run until a signal, drain, and end with the exit code that says how it went."""
    for word, known, name in ((log_level, logs.LEVELS, "--log-level"), (log_format, logs.FORMATS, "--log-format")):
        if word not in known:
            raise ConfigurationError(f"{name}={word!r}: must be one of {', '.join(known)}")
    file, queues = settings.from_file(config, Path.cwd())
    given = settings.RunSettings(
        file=file,
        queues=queues,
        environment=settings.from_environment(os.environ),
        flags=settings.from_flags(options),
    )
    logs.set_up(log_level, log_format)
    for name, near in settings.misspelt(os.environ).items():
        log.warning("%s is not an option; did you mean %s?", name, near)
    raise Stopped(_serve(targets, given, admin, grace_period))


def _serve(
    references: Sequence[str], given: settings.RunSettings, admin: str | None, grace_period: float | None
) -> Exit:
    from leasekeeper.app import refuse_shared_queues
    from leasekeeper.cli.service import Services, reports_of, tell
    from leasekeeper.cli.targets import configure, consumers_of, load
    from leasekeeper.guard import SIGNALS
    from leasekeeper.running import run as run_in_foreground

    targets: list[Target] = []
    services = Services(targets)
    for number in SIGNALS:
        # Before the start nothing was received, so the process ends at once; and one signal too many does not kill a
        # process that has drained and not yet reported. In between, the run sets its signal handlers.
        signal.signal(number, lambda *_: None if services.begun else _end_now())
    targets += {id(target): target for target in map(load, references)}.values()
    for target in targets:
        configure(target, given)
    consumers = [consumer for target in targets for consumer in consumers_of(target)]
    names = {consumer.address.name for consumer in consumers}
    for queue in sorted(set(given.queues) - names):
        log.warning(
            "the options for queue %s in the file are for no consumer here: those are of %s", queue, ", ".join(names)
        )
    for consumer in consumers:
        layer = given.of(consumer.address.name)
        log.info("queue %s: %s", consumer.address.name, settings.described(layer) or "options as in the code")
    refuse_shared_queues(consumers)
    if grace_period is not None:
        for consumer in consumers:
            if problem := cut_off(consumer.options, consumer.longest_stop, grace_period):
                log.warning("queue %s: %s", consumer.address.name, problem)
    with _admin(targets, admin):  # until the end: a process that drains is alive
        reports = reports_of(run_in_foreground(services))
        tell(reports)
    return _verdict(
        reports, len(consumers), unusable=not services.signalled and any(consumer.problem for consumer in consumers)
    )


@contextmanager
def _admin(targets: Sequence[Target], address: str | None) -> Iterator[None]:
    if not address:
        yield
        return
    from leasekeeper.admin import AdminServer

    with AdminServer(*targets, address=address) as server:
        log.info("admin: %s/livez, /readyz, /statusz and /metrics", server.url)
        yield


def _end_now() -> NoReturn:
    os.write(2, b"leasekeeper: stopped before it started; nothing was received\n")  # no lock, unlike print
    os._exit(Exit.CLEAN)


def _verdict(reports: Sequence[Report], expected: int, *, unusable: bool) -> Exit:
    if unusable:
        return Exit.UNUSABLE
    wrong = any(report.unsettled or report.lifespan_error for report in reports)
    return Exit.CLEAN if len(reports) == expected and not wrong else Exit.FAILED


def command() -> Callable[..., None]:
    """The command with a flag for each option of the schema, as typer reads it: from the signature."""
    signature = inspect.signature(run, eval_str=True)
    fixed = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    flags = [_flag(option) for option in settings.schema()]

    def flagged(**values: Any) -> None:
        run(values.pop("targets"), **values)

    flagged.__doc__ = HELP
    parameters = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in (*fixed, *flags)]
    vars(flagged)["__signature__"] = signature.replace(parameters=parameters)
    flagged.__annotations__ = {parameter.name: parameter.annotation for parameter in (*fixed, *flags)}
    return flagged


def _flag(option: settings.OptionWords) -> inspect.Parameter:
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
