"""A `leasekeeper run` at work: imports the targets, runs their consumers in the foreground, and gives the verdict.

Owned by the command line. It promises that a signal before the start ends the process at once, and that the exit code
says whether every message was settled.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NoReturn

from leasekeeper.app import refuse_shared_queues
from leasekeeper.cli import ending, settings
from leasekeeper.cli.admin import AdminWishes
from leasekeeper.cli.connection import suggesting_names
from leasekeeper.cli.exit_when_empty import UntilEmpty, polls_within
from leasekeeper.cli.grace import cut_off, cut_short
from leasekeeper.cli.local_queues import check_places, create_queues
from leasekeeper.cli.service import Services, reports_of, tell
from leasekeeper.cli.targets import configure_all, consumers_of, load_all
from leasekeeper.exit_codes import Exit
from leasekeeper.guard import SIGNALS
from leasekeeper.loggers import safe_logger
from leasekeeper.options import Options
from leasekeeper.running import run as run_in_foreground

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.cli.targets import Target
    from leasekeeper.consumer import Consumer
    from leasekeeper.observe.statistics import Report
    from leasekeeper.supervision.lifeline import Lifeline

log = safe_logger("leasekeeper.run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is to be run, and how.

    Attributes:
        references: `module:name` of apps and consumers.
        given: settings from outside the code.
        admin: the admin surface to serve.
        grace_period: seconds after which the runtime kills the process.
        exit_when_empty: seconds for which all queues have to be empty for a stop.
        lifeline: the connection to the supervisor, in a process that has one.
    """

    references: Sequence[str]
    given: settings.RunSettings
    admin: AdminWishes = field(default_factory=AdminWishes)
    grace_period: float | None = None
    exit_when_empty: float | None = None
    lifeline: Lifeline | None = None


def serve(wishes: Wishes) -> Exit:
    """Run until a signal, drain, and say how it went."""
    given, lifeline = wishes.given, wishes.lifeline
    targets: list[Target] = []
    services = Services(targets, lifeline)
    for number in SIGNALS:
        # Before the start nothing was received, so the process ends at once; and one signal too many does not kill a
        # process that has drained and not yet reported. In between, the run sets its signal handlers.
        signal.signal(number, lambda *_: None if services.begun else _end_now(supervised=lifeline is not None))
    if lifeline is not None:
        lifeline.listen()
    # A module that fails in all processes is left to their supervisor.
    targets += load_all(wishes.references, None if lifeline is None else lifeline.refuse)
    configure_all(targets, given)
    consumers = [consumer for target in targets for consumer in consumers_of(target)]
    _tell_options(consumers, given)
    refuse_shared_queues(consumers)
    if wishes.grace_period is not None:
        _tell_grace(consumers, wishes.grace_period)
    if lifeline is not None and lifeline.local:
        check_places(consumers)
        lifeline.tell(loaded=True)  # nothing is wrong here: the supervisor starts the local SQS
        asyncio.run(create_queues(consumers))
    if wishes.exit_when_empty is not None:
        for consumer in consumers:
            _poll_shorter(consumer, wishes.exit_when_empty)
        UntilEmpty(consumers, wishes.exit_when_empty, services.stop_unasked).watch()
    # The surface is served until the end: a process that drains is alive.
    with wishes.admin.served(targets, lifeline), suggesting_names(consumers):
        reports = reports_of(run_in_foreground(services, lifeline))
        tell(reports, forced=services.forced)
    ending.grant(services.stop_left)
    if lifeline is not None:
        lifeline.tell(ends="signal" if services.signalled else "itself", reports=list(map(asdict, reports)))
    if services.forced:
        return Exit.INTERRUPTED
    return verdict(
        reports, len(consumers), unusable=not services.signalled and any(consumer.problem for consumer in consumers)
    )


def _tell_options(consumers: Sequence[Consumer], given: settings.RunSettings) -> None:
    """Log where the options of each consumer come from, and which options in the file are for none of them."""
    names = {consumer.address.name for consumer in consumers}
    for queue in sorted(set(given.queues) - names):
        log.warning(
            "the options for queue %s in the file are for no consumer here: those are of %s", queue, ", ".join(names)
        )
    for consumer in consumers:
        layer = given.of(consumer.address.name)
        log.info("queue %s: %s", consumer.address.name, settings.described(layer) or "options as in the code")


def _tell_grace(consumers: Sequence[Consumer], grace: float) -> None:
    """Log which consumers may need longer for a stop than the grace period."""
    for consumer in consumers:
        stop = consumer.longest_stop
        if problem := cut_off(consumer.options, stop, grace):
            log.warning("queue %s: %s", consumer.address.name, problem)
        elif hurry := cut_short(stop, grace):
            log.info("queue %s: a stop may take %g s; %s", consumer.address.name, stop, hurry)


def _poll_shorter(consumer: Consumer, seconds: float) -> None:
    """Let three long polls fit into this time, unless `wait_time` was set outside the code or as other than usual."""
    wait, usual = polls_within(seconds), Options().wait_time
    if wait < consumer.options.wait_time == usual and "wait_time" not in consumer.places:
        consumer.configure({"wait_time": wait}, {"wait_time": "--exit-when-empty"})


def _end_now(*, supervised: bool) -> NoReturn:
    if not supervised:  # a supervisor has said that it stops
        os.write(2, b"leasekeeper: stopped before it started; nothing was received\n")  # no lock, unlike print
    os._exit(Exit.CLEAN)


def verdict(reports: Sequence[Report], expected: int, *, unusable: bool) -> Exit:
    """The exit code of a run with these reports."""
    if unusable:
        return Exit.UNUSABLE
    wrong = any(report.still_open or report.lifespan_error for report in reports)
    return Exit.CLEAN if len(reports) == expected and not wrong else Exit.FAILED
