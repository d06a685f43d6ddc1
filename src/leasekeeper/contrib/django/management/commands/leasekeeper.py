"""`manage.py leasekeeper`: the consumers of a Django project, as `leasekeeper run` runs them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from leasekeeper.cli import main
from leasekeeper.cli.preparing import PREPARE

if TYPE_CHECKING:
    from collections.abc import Sequence

TASKS = "leasekeeper.contrib.django.tasks:app"
"""The consumers of the backends in `TASKS`."""


class Command(BaseCommand):  # type: ignore[misc] # Django has no types
    """Runs `leasekeeper run` with the targets and flags that follow; by default those of `LEASEKEEPER_TARGETS`."""

    help = "Run consumers of Amazon SQS until SIGTERM or SIGINT, then drain."

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Run with the arguments after `manage.py leasekeeper`; they are those of `leasekeeper run`."""
        given = list(argv[2:])
        if not given or given[0].startswith("-"):
            given = [*targets(given), *given]
        # Processes of `--processes` and `--reload` are started as `leasekeeper run`; they prepare themselves by these.
        os.environ[PREPARE] = "leasekeeper.contrib.django:prepare"
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
        sys.argv = ["leasekeeper", "run", *given]
        main()


def targets(given: Sequence[str] = ()) -> list[str]:
    """What the project has to run.

    Raises:
        CommandError: the settings do not say.
    """
    if {"-h", "--help"} & set(given):
        return []
    named = getattr(settings, "LEASEKEEPER_TARGETS", None)
    if named:
        return [named] if isinstance(named, str) else list(named)
    backends: dict[str, dict[str, Any]] = getattr(settings, "TASKS", {})
    if any("leasekeeper" in each.get("BACKEND", "") for each in backends.values()):
        return [TASKS]
    raise CommandError(
        "name what to run, e.g. `manage.py leasekeeper shop.queues:app`, or set LEASEKEEPER_TARGETS to it"
    )
