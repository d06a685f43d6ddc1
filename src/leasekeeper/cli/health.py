"""`leasekeeper health`: ask a running process whether it lives, or is ready, for images without curl.

Owned by the command line. It needs nothing but the standard library, and goes through no proxy.
"""

from __future__ import annotations

import http.client
import json
import sys
from typing import Annotated

import typer

from leasekeeper.admin.address import DEFAULT, AdminAddress
from leasekeeper.cli.errors import Exit, Stopped, say
from leasekeeper.cli.words import printable_lines

HELP = """Ask a process that runs with an admin address whether it lives, or whether it receives messages (--ready).

Exit codes: 0 yes; 1 no, or no answer; 2 wrong usage.
"""


def health(
    *,
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether every consumer receives messages now.")] = False,
    admin: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the process listens.", envvar="LEASEKEEPER_ADMIN")
    ] = DEFAULT,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for the answer.", min=0.1)] = 8.0,
) -> None:
    """Print one line, and end with the exit code that says what the process answered."""
    address = AdminAddress.parse(admin).reachable
    connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout)
    try:
        connection.request("GET", "/readyz" if ready else "/livez")
        answer = connection.getresponse()
        body = answer.read(65536)
    except (OSError, http.client.HTTPException) as error:
        say(f"no answer from http://{address}: {str(error) or type(error).__name__}")
        raise Stopped(Exit.FAILED) from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        say(f"{'not ready' if ready else 'not alive'}: {_reasons(body) or f'HTTP status {answer.status}'}")
        raise Stopped(Exit.FAILED)
    print("ready" if ready else "alive")
    sys.stdout.flush()


def _reasons(body: bytes) -> str:
    """The reasons in an answer; empty where it is not one of ours."""
    try:
        reasons = json.loads(body)["reasons"]
        return printable_lines("; ".join(map(str, reasons)))
    except (ValueError, KeyError, TypeError):
        return ""


health.__doc__ = HELP
