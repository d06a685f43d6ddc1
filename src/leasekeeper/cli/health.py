"""`leasekeeper health`: ask a running process whether it lives, or is ready, for images without curl.

Owned by the command line. `light.py` answers it in the usual case, without this module.
"""

from __future__ import annotations

from typing import Annotated

import typer

from leasekeeper.admin.address import DEFAULT, AdminAddress
from leasekeeper.cli.errors import Stopped
from leasekeeper.cli.light import TIMEOUT
from leasekeeper.cli.probe import probe

HELP = """Ask a process that runs with an admin address whether it lives, or receives messages (--ready).

Exit codes: 0 yes; 1 no, or no answer; 2 wrong usage.
"""


def health(
    *,
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether every consumer receives messages now.")] = False,
    admin: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the process listens.", envvar="LEASEKEEPER_ADMIN")
    ] = DEFAULT,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to wait for the answer.", min=0.1, max=1e6)
    ] = TIMEOUT,
) -> None:
    """Print one line, and end with the exit code that says what the process answered."""
    raise Stopped(probe(AdminAddress.parse(admin), ready=ready, timeout=timeout))


health.__doc__ = HELP
