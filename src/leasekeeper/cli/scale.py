"""`leasekeeper scale advise`: the numbers for an autoscaler, from what a running consumer measures.

Owned by the command line. It asks the admin address of a process and changes nothing.
"""

from __future__ import annotations

import http.client
import json
import textwrap
from enum import StrEnum
from typing import Annotated, Any

import typer

from leasekeeper.admin.address import DEFAULT, AdminAddress
from leasekeeper.cli.advice import LatencyOption, Line, Measured, advice, measured_lines, remarks, together
from leasekeeper.cli.errors import Stopped, say
from leasekeeper.cli.words import printable_lines
from leasekeeper.core.scaling import LATENCY
from leasekeeper.errors import ConfigurationError, Unusable
from leasekeeper.exit_codes import Exit

TIMEOUT = 10.0
"""Seconds that an answer may take."""
COLUMNS = 100
"""Columns of the report."""
MOST = 10_000_000
"""Bytes of an answer."""


class Action(StrEnum):
    """What is to be done."""

    ADVISE = "advise"


def scale(
    action: Annotated[  # noqa: ARG001 - there is one
        Action, typer.Argument(metavar="advise", help="What to do.", show_choices=False)
    ],
    target: Annotated[
        str, typer.Argument(metavar="QUEUE|URL", help="The queue; or the admin URL of a process, for all its queues.")
    ],
    *,
    latency: LatencyOption = LATENCY,
    admin: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where a process of the queue listens.", envvar="LEASEKEEPER_ADMIN")
    ] = DEFAULT,
    concurrency: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Without a process: handlers at the same time.", min=1)
    ] = None,
    handler_seconds: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Without a process: the usual time of a handler.", min=0.0001),
    ] = None,
) -> None:
    """Print KEDA's queueLength and the target of ECS for a queue, from what its consumer measures, and why.

    Ask a process that has worked for some minutes. The exit code is 3 when it does not answer, and 1 when it
    has measured nothing.
    """
    if (concurrency is None) != (handler_seconds is None):
        raise ConfigurationError("--concurrency and --handler-seconds belong together: give both, or ask a process")
    if concurrency is not None and handler_seconds is not None:
        found = [Measured(queue=target, slots=concurrency, handler=handler_seconds)]
    else:
        found = _measured(target, admin)
    for place, now in enumerate(found):
        print(("\n" if place else "") + "\n".join(report(now, latency)))
    raise Stopped(Exit.CLEAN)


def report(now: Measured, latency: float) -> list[str]:
    """The lines about one queue."""
    return [
        f"queue {printable_lines(now.queue)}",
        *_table(measured_lines(now)),
        *([f"for a latency of {latency:g} s", *_table(numbers)] if (numbers := advice(now, latency)) else []),
        *(
            line
            for remark in remarks(now, latency)
            for line in textwrap.wrap(f"- {remark}", COLUMNS, subsequent_indent="  ")
        ),
    ]


def _table(lines: list[Line]) -> list[str]:
    found = []
    for line in lines:
        head = f"  {line.name:<22}{line.value:>10}  "
        found += textwrap.wrap(line.why, COLUMNS, initial_indent=head, subsequent_indent=" " * len(head))
    return found


def _measured(target: str, admin: str) -> list[Measured]:
    url = target.removeprefix("http://").rstrip("/")
    if target.startswith("https://") and target.count("/") < 4:
        raise ConfigurationError(f"{target!r} is no queue, and processes are asked over http: give http://HOST:PORT")
    whole = target.startswith("http://") and "/" not in url
    address = AdminAddress.parse(url if whole else admin).reachable
    consumers = _status(address)["consumers"]
    if not whole:
        name = target.rstrip("/").replace("/", ":").rpartition(":")[2]
        known = dict.fromkeys(each["queue"] for each in consumers)
        consumers = [each for each in consumers if each["queue"] == name]
        if not consumers:
            raise ConfigurationError(f"the process at {address} consumes {', '.join(known) or 'nothing'}, not {name}")
    found: dict[str, list[Measured]] = {}
    for each in consumers:
        if (now := measured(each)) is not None:
            found.setdefault(now.queue, []).append(now)
    if not found:
        say(f"the process at {address} has not finished a message yet: ask again after some minutes of work")
        raise Stopped(Exit.FAILED)
    return [together(each) for each in found.values()]


def measured(consumer: dict[str, Any]) -> Measured | None:
    """What `/statusz` says of one consumer; None while it has measured nothing."""
    now = consumer["statistics"]
    if now is None or not now["throttler"]["handler"]:
        return None
    scaling = now["scaling"] or {}
    return Measured(
        queue=consumer["queue"],
        slots=now["load"]["slots"],
        handler=now["throttler"]["handler"],
        prefetch=now["throttler"]["prefetch"],
        utilisation=now["load"]["utilisation"],
        rate=now["load"]["rate"],
        arrivals=scaling.get("arrivals"),
        growth=scaling.get("growth") or 0.0,
        visible=scaling.get("visible"),
        age=consumer.get("backlog_age"),
        replicas=scaling.get("replicas"),
        drain=consumer["drain_timeout"],
        held=sum(now["ledger"]["held"].values()),
        in_flight=scaling.get("in_flight"),
        given_back=now["load"]["given_back"],
        again=scaling.get("again") or 0.0,
        seconds=now["seconds"],
    )


def _status(address: AdminAddress) -> dict[str, Any]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/statusz")
        answer = connection.getresponse()
        body = answer.read(MOST)
        status: dict[str, Any] = json.loads(body)
        _ = [each["queue"] for each in status["consumers"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if not isinstance(error, (OSError, http.client.HTTPException)):
            why = "what answers there is no admin surface of Leasekeeper"
        raise Unusable(
            f"no answer of a consumer from http://{address}: {why}; run it with --admin, or give --concurrency and "
            "--handler-seconds"
        ) from None
    else:
        return status
    finally:
        connection.close()
