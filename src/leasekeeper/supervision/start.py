"""Starts the supervisor of a plan: with a local SQS, with the code watched, as the plan wants.

Owned by the command line. It promises one sentence for what is missing, before anything is started.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from leasekeeper.exit_codes import Exit
from leasekeeper.extras import needs
from leasekeeper.supervision.asides import Aside
from leasekeeper.supervision.child import leasekeeper
from leasekeeper.supervision.folder import Folder
from leasekeeper.supervision.lines import Lines
from leasekeeper.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.supervision.attendant import Attend
    from leasekeeper.supervision.changes import Changes
    from leasekeeper.supervision.plan import Plan

LOCAL_PORT = 9324
"""Where a local SQS listens, unless another program does."""
_LOCAL = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
_ACCOUNT = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "LEASEKEEPER_PROFILE", "LEASEKEEPER_ENDPOINT_URL")


def supervise(plan: Plan, environment: Mapping[str, str]) -> int:
    """Run the processes of the plan to their end; the exit code."""
    if sys.platform == "win32":
        return _refuse("--processes, --reload and --local need signals and sockets that Windows does not have")
    changes: Changes | None = None
    if plan.reload:
        try:
            from leasekeeper.supervision.changes import Changes

            changes = Changes(Path.cwd())
        except ModuleNotFoundError as error:
            return _refuse(needs("--reload", error.name, "reload"))
    asides: list[Aside] = []
    arguments = list(plan.arguments)
    if plan.local:
        port = _free_port(LOCAL_PORT)
        url = f"http://127.0.0.1:{port}"
        asides.append(Aside("the local SQS", leasekeeper(("local", "--port", str(port))), waits=True))
        environment = {name: value for name, value in environment.items() if name not in _ACCOUNT}
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
        environment |= _LOCAL | {"AWS_ENDPOINT_URL_SQS": url, "AWS_DEFAULT_REGION": region}
        arguments[1:1] = ["--endpoint-url", url]  # a flag, because it wins over the code
    attend = _keeper(plan) if plan.keeper else None

    def command(number: int) -> list[str]:
        own = [] if folder is None else ["--admin", f"unix:{folder.socket(number)}"]
        return leasekeeper((arguments[0], *own, *arguments[1:]))

    folder = None
    if plan.admin is not None:
        folder = Folder.make(environment.get("XDG_RUNTIME_DIR"))
        serving = leasekeeper((plan.admin, folder.path), module="leasekeeper.admin.members")
        asides.append(Aside("the admin surface", serving, again=True, variables=plan.surface))
    try:
        return Supervisor(
            plan,
            environment,
            command=command,
            asides=asides,
            changes=changes,
            attend=attend,
            told=None if folder is None else folder.write,
        ).run()
    finally:
        if folder is not None:
            folder.remove()


def _keeper(plan: Plan) -> Attend | None:
    """Makes this process the keeper of its children's leases; None where there can be none."""
    if not hasattr(os, "memfd_create"):
        return None
    from leasekeeper.keeper.attendants import KeeperAttendants

    lines = Lines(plan.level, plan.kind)
    return KeeperAttendants(lambda words: lines.say("warning", words))


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    return wanted


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"leasekeeper: {sentence}\n")
    return Exit.USAGE
