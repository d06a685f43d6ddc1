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
from leasekeeper.supervision.child import leasekeeper
from leasekeeper.supervision.folder import Folder
from leasekeeper.supervision.lines import Lines
from leasekeeper.supervision.protocol import LISTENER
from leasekeeper.supervision.sidecars import Sidecar
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
    sidecars: list[Sidecar] = []
    arguments = list(plan.arguments)
    if plan.local:
        try:
            sidecar, port = _local_sqs()
        except OSError as error:
            return _refuse(f"--local: cannot listen on 127.0.0.1: {error.strerror or error}", Exit.UNUSABLE)
        url = f"http://127.0.0.1:{port}"
        sidecars.append(sidecar)
        environment = _for_local_sqs(environment, url)
        arguments[1:1] = ["--endpoint-url", url]  # a flag, because it wins over the code
    attend = _keeper(plan) if plan.keeper else None

    def command(number: int) -> list[str]:
        own = [] if folder is None else ["--admin", f"unix:{folder.socket(number)}"]
        return leasekeeper((arguments[0], *own, *arguments[1:]))

    folder = None
    if plan.admin is not None:
        folder = Folder.make(environment.get("XDG_RUNTIME_DIR"))
        serving = leasekeeper((plan.admin, folder.path), module="leasekeeper.admin.members")
        sidecars.append(Sidecar("the admin surface", serving, again=True, variables=plan.surface))
    try:
        return Supervisor(
            plan,
            environment,
            command=command,
            sidecars=sidecars,
            changes=changes,
            attend=attend,
            told=None if folder is None else folder.write,
        ).run()
    finally:
        for sidecar in sidecars:
            if sidecar.listener is not None:
                sidecar.listener.close()
        if folder is not None:
            folder.remove()


def _keeper(plan: Plan) -> Attend | None:
    """Makes this process the keeper of its children's leases; None where there can be none."""
    if not hasattr(os, "memfd_create"):
        return None
    from leasekeeper.keeper.attendants import KeeperAttendants

    lines = Lines(plan.level, plan.kind)
    return KeeperAttendants(lambda words: lines.say("warning", words))


def _local_sqs() -> tuple[Sidecar, int]:
    """A local SQS beside the consumers, and its port."""
    listener = _listen(LOCAL_PORT)
    port = listener.getsockname()[1]
    variables = {LISTENER: str(listener.fileno())}
    command = leasekeeper(("local", "--port", str(port)))
    return Sidecar("the local SQS", command, waits=True, variables=variables, listener=listener), port


def _for_local_sqs(environment: Mapping[str, str], url: str) -> Mapping[str, str]:
    """The environment of processes that reach no AWS."""
    kept = {name: value for name, value in environment.items() if name not in _ACCOUNT}
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    return {**kept, **_LOCAL, "AWS_ENDPOINT_URL_SQS": url, "AWS_DEFAULT_REGION": region}


def _listen(wanted: int) -> socket.socket:
    """A socket that listens on this port, or on a free one; nothing else can take the port meanwhile."""
    try:
        return socket.create_server(("127.0.0.1", wanted))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def _refuse(sentence: str, code: Exit = Exit.USAGE) -> int:
    sys.stderr.write(f"leasekeeper: {sentence}\n")
    return code
