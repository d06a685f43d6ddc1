"""`leasekeeper manifest`: write what a runtime needs to run a service, from the options of its consumers.

Owned by the command line. It reads the module and asks no queue. It promises grace periods in which a stop ends.
"""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.cli.advice import LatencyOption  # noqa: TC001 - typer reads the annotations
from leasekeeper.cli.errors import Stopped, say
from leasekeeper.cli.settings import ConfigOption  # noqa: TC001
from leasekeeper.core.scaling import LATENCY
from leasekeeper.errors import ConfigurationError
from leasekeeper.exit_codes import Exit

if TYPE_CHECKING:
    from leasekeeper.cli.manifests.service import Service

GUESSED = "without --handler-seconds the numbers of the scaling are a guess; `leasekeeper scale advise` measures them"


class Kind(StrEnum):
    """What runs the service."""

    KUBERNETES = "kubernetes"
    ECS = "ecs"


def manifest(
    kind: Annotated[Kind, typer.Argument(metavar="kubernetes|ecs", help="What runs the service.", show_choices=False)],
    target: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="The app or consumer, e.g. shop:app.")],
    *,
    image: Annotated[str, typer.Option(metavar="IMAGE", help="The container image.")] = "IMAGE",
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The service's name; unset, the module's.")] = None,
    most: Annotated[int, typer.Option("--max", metavar="NUMBER", help="The most processes.", min=1)] = 20,
    handler_seconds: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="The usual time of a handler, for the numbers of the scaling.", min=0),
    ] = None,
    latency: LatencyOption = LATENCY,
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Kubernetes: jobs that end when the queue is empty, for work of hours.")
    ] = False,
    config: ConfigOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Write files there; unset, to standard output."),
    ] = None,
) -> None:
    """Write a Deployment with KEDA's ScaledObject, or an ECS task definition with its scaling.

    Grace periods are computed from the options: drain, flush, and a margin. Capital words, such as ACCOUNT, stand for
    what the code does not say.
    """
    if jobs and kind is Kind.ECS:
        raise ConfigurationError("--jobs is for kubernetes: ECS has no jobs that scale by a queue")
    from leasekeeper.cli.manifests.service import service_of
    from leasekeeper.cli.targets import configured

    consumers = configured(target, config, os.environ)
    if handler_seconds is None:
        say(GUESSED)
    service = service_of(
        target, consumers, name=name, image=image, most=most, handler_seconds=handler_seconds, latency=latency
    )
    files = _kubernetes(service, jobs=jobs) if kind is Kind.KUBERNETES else _ecs(service, apart=output is not None)
    _write(files, output)
    raise Stopped(Exit.CLEAN)


def _kubernetes(service: Service, *, jobs: bool) -> dict[str, str]:
    from leasekeeper.cli.manifests.kubernetes import kubernetes

    return {"kubernetes-jobs.yaml" if jobs else "kubernetes.yaml": kubernetes(service, jobs=jobs)}


def _ecs(service: Service, *, apart: bool) -> dict[str, str]:
    """One file for each command of the AWS CLI, or all of them in one text."""
    from leasekeeper.cli.manifests.ecs import ecs, too_long

    if problem := too_long(service):
        say(problem)
    found = ecs(service)
    parts = {f"ecs-{part}.json": value for part, value in found.items()} if apart else {"": found}
    return {name: json.dumps(value, indent=2) + "\n" for name, value in parts.items()}


def _write(files: dict[str, str], output: Path | None) -> None:
    if output is None:
        print("".join(files.values()), end="")
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (output / name).write_text(text)
            say(f"wrote {output / name}")
    except OSError as error:
        raise ConfigurationError(f"--output={str(output)!r}: {error.strerror or error}") from error
