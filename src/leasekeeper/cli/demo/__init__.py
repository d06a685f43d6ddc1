"""`leasekeeper demo`: a consumer at work in one command, on a local SQS, without an AWS account.

`command` runs it, `world` holds server and producer, `shop` the handler, `view` draws it, `summary` reports at the end.
"""

from __future__ import annotations

from typing import Annotated

import typer

from leasekeeper.cli.errors import Stopped


def demo(
    *,
    seconds: Annotated[float, typer.Option(help="Time for which orders are sent.", min=1, metavar="SECONDS")] = 60.0,
    messages: Annotated[
        int | None, typer.Option(help="Stop after this many orders; unset, no limit.", min=1, metavar="NUMBER")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Handlers that run at the same time.", min=1, metavar="NUMBER")] = 50,
    handler_ms: Annotated[
        float, typer.Option(help="Average time of a handler, in milliseconds.", min=0, metavar="NUMBER")
    ] = 20.0,
) -> None:
    """Watch messages flow through a local SQS, without an AWS account. The handler waits, fails and rejects.

    Ctrl-C drains and shows the report. Without a terminal the demo prints plain lines.
    """
    from leasekeeper.cli.demo.command import play
    from leasekeeper.cli.demo.state import DemoPlan

    raise Stopped(play(DemoPlan(seconds=seconds, messages=messages, concurrency=concurrency, handler_ms=handler_ms)))
