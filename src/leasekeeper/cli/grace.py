"""The grace period: how long a runtime waits after SIGTERM before it kills a process, against what a stop may take.

Used by `run`, `doctor` and the manifests. Pure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.cli.ending import LIMIT

if TYPE_CHECKING:
    from leasekeeper.options import Options

MARGIN = 5
"""Seconds between the longest stop and the end of the grace period: for the process to report and to end."""
SET_IN = "terminationGracePeriodSeconds of Kubernetes, stopTimeout of ECS, `docker stop -t`, TimeoutStopSec of systemd"


GraceOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long the runtime waits after SIGTERM before it kills the process, to be compared with the longest "
        "stop. Unset: not known.",
        envvar="LEASEKEEPER_GRACE_PERIOD",
        min=0,
    ),
]


def grace_period(stop: float) -> int:
    """The grace period for a stop that may take this long, in whole seconds."""
    return math.ceil(stop) + MARGIN


def cut_short(stop: float, grace: float) -> str:
    """The words for exit functions that the runtime may cut off, where the stop itself has the time; else empty."""
    left = grace - stop
    if left < 0 or left >= LIMIT:
        return ""
    return (
        f"exit functions, such as the last flush of telemetry, may take {LIMIT:g} s after it and have {left:g} s: set "
        f"the grace period to {grace_period(stop)} s if they need more"
    )


def cut_off(options: Options, stop: float, grace: float) -> str:
    """The sentence for a stop that may be cut off; empty where it has the time.

    Args:
        options: the consumer's.
        stop: seconds that its stop may take.
        grace: seconds that the runtime waits.
    """
    if stop <= grace:
        return ""
    from leasekeeper.life import longest_stop  # imports the engine, which completion of a shell can do without

    lower = options.drain_timeout - (stop - grace) - 1
    smaller = f", or drain_timeout to {math.floor(lower)} s" if lower >= 1 else ""
    lifespan = stop - longest_stop(options, lifespan=False) >= options.lifespan_timeout
    closing = f"lifespan_timeout={options.lifespan_timeout:g} s, " if lifespan else ""
    return (
        f"a stop may take {stop:g} s (drain_timeout={options.drain_timeout:g} s, flush_timeout="
        f"{options.flush_timeout:g} s, {closing}and what does not end by itself), but the process is killed after "
        f"{grace:g} s; what it holds then comes again. Set the grace period to {grace_period(stop)} s "
        f"({SET_IN}){smaller}"
    )
