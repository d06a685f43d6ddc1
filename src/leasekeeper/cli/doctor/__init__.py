"""`leasekeeper doctor`: is the queue ready to be consumed, and may these credentials do it; with what to change.

Owned by the command line. Of a module it checks the queue and the options of each consumer. It promises to change
nothing and to receive nothing. `examination` collects the findings of all checks, and `report` prints them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.cli import interrupts
from leasekeeper.cli.connection import Connection, EndpointOption, ProfileOption, RegionOption
from leasekeeper.cli.doctor.examination import Patient, patient_of
from leasekeeper.cli.doctor.report import print_report
from leasekeeper.cli.errors import Stopped
from leasekeeper.cli.grace import GraceOption  # noqa: TC001 - typer reads the annotation
from leasekeeper.cli.settings import ConfigOption  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from leasekeeper.consumer import Consumer
    from leasekeeper.outbox import Relay


def doctor(
    queue: Annotated[
        str,
        typer.Argument(
            metavar="QUEUE|MODULE:NAME", help="The queue's name, URL or ARN; or an app or a consumer, e.g. shop:app."
        ),
    ],
    *,
    handler_seconds: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="The longest time that your handler takes; unset, its handler_timeout."
        ),
    ] = None,
    grace_period: GraceOption = None,
    config: ConfigOption = None,
    policy: Annotated[
        bool, typer.Option("--policy", help="Print the IAM policy that the consumers need, and check nothing.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of each check why it matters, and where to read more.")
    ] = False,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Check credentials, endpoint, permissions and the queue's attributes, and say what to change.

    Of an app or a consumer the options are checked too, as `leasekeeper run` would set them. Receives nothing and
    changes nothing. The exit code is 1 when a check fails.
    """
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    patients = [Patient(connection=connection, handler_seconds=handler_seconds)]
    if _names_a_module(queue):
        found = [patient_of(each, connection, handler_seconds, grace_period) for each in _consumers(queue, config)]
        patients = sharing(found, _relays(queue))
    if policy:
        from leasekeeper.cli.doctor.policy_command import print_policy

        consumers = [(each.connection, each.options, each.senders) for each in patients]
        raise Stopped(interrupts.run(print_policy(consumers, patients[0].relays)))
    raise Stopped(interrupts.run(print_report(patients, explain=explain)))


def sharing(patients: Sequence[Patient], relays: Sequence[Relay]) -> list[Patient]:
    """The consumers of an app. The first one has the senders and relays that they share, so these are checked once."""
    first, *others = patients
    return [replace(first, relays=relays), *(replace(each, senders=None) for each in others)]


def _names_a_module(reference: str) -> bool:
    """Whether `MODULE:NAME` is meant: a colon is in no name of a queue, but in its URL and its ARN."""
    return ":" in reference and "://" not in reference and not reference.startswith("arn:")


def _consumers(reference: str, config: Path | None) -> Sequence[Consumer]:
    """The consumers of a module with the options that `leasekeeper run` would give them."""
    from leasekeeper.cli.targets import configured

    return configured(reference, config, os.environ)


def _relays(reference: str) -> Sequence[Relay]:
    from leasekeeper.cli.targets import load

    return getattr(load(reference), "relays", ())
