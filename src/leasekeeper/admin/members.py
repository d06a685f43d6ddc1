"""The answers of one admin surface for all processes of a supervisor: it asks each, and speaks for all.

Run by the supervisor as a process beside its children (`python -m leasekeeper.admin.members ADDRESS FOLDER`). It knows
them by the folder in which the supervisor notes them and each has its socket. A death of this process disturbs none of
them.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.admin.asking import Place, Unreachable, ask
from leasekeeper.admin.exposition import merged
from leasekeeper.admin.process import HOST
from leasekeeper.admin.server import AdminServer
from leasekeeper.admin.silent import stopped, unknown
from leasekeeper.errors import ConfigurationError, Unusable
from leasekeeper.exit_codes import Exit
from leasekeeper.supervision.folder import Folder
from leasekeeper.supervision.lifeline import Lifeline
from leasekeeper.supervision.protocol import OF_TERMINALS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leasekeeper.admin.asking import Answer
    from leasekeeper.admin.state import Process

WITHIN = 7.0
"""Seconds for the answer of a process: it has five to show a sign of life."""
FRESH = 0.02
"""Seconds for which what the supervisor noted is not read again."""
NOT_YET = "is starting, and does not answer yet"
GONE = ("waiting", "over", "idle")
"""States without a process."""
ENDING = ("stopping", "over")
"""States of a process that is not started again."""


class Members:
    """The processes of a supervisor.

    Args:
        folder: where the supervisor notes them.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._read: list[dict[str, Any]] = []
        self._read_at = -math.inf
        self._pids: dict[int, int] = {}
        """The newest process of each number, also after its end."""

    def places(self) -> dict[str, int]:
        """The surfaces of those that run, or that have run and are not started again; and their numbers."""
        numbers = [each["number"] for each in self._known() if each["state"] not in GONE or each["state"] == "over"]
        return {f"unix:{self._folder.socket(number)}": number for number in numbers}

    def note(self, pid: int) -> tuple[str, float]:
        """Whether the process with this id took the place of others, and when the last of them ended; "" if not."""
        for each in self._known():
            if each["pid"] == pid and each["restarts"]:
                times = "once" if each["restarts"] == 1 else f"{each['restarts']} times"
                words = f"it was started again {times}; the one before it ended with {each['last']}"
                return words, each["last_at"] or 0.0
        return "", 0.0

    def stand_in(self, number: int, last: Mapping[str, Process], *, silent: bool) -> dict[str, Process] | None:
        """What to show of the process of that number in place of an answer; None: what its surface answers.

        One that starts does not answer yet. One that was told to stop before it answered is gone. Those that have
        ended are shown as they were once all others stop too.
        """
        known = self._known()
        (found,) = [each for each in known if each["number"] == number] or [{"state": ""}]
        its = {key: each for key, each in last.items() if each["pid"] == self._pids.get(number)}
        if found["state"] == "over":
            if any(each["state"] not in ENDING for each in known):
                return {}
            reason = f"it has ended with {found['last']}"
            return {key: stopped(each, reason, found["last_at"] or 0.0) for key, each in its.items()}
        if silent and found["state"] == "stopping":
            reason = "a stop was asked for, and it does not answer now"
            return {key: {**each, "state": "DRAINING", "reason": reason} for key, each in its.items()}
        if silent and found["state"] == "starting":
            pid = found["pid"] or 0
            name = f"{HOST}:{pid}"  # as it will call itself
            return {name: {**unknown(name, HOST, pid), "state": "STARTING", "reason": f"it {NOT_YET}"}}
        return None

    async def live(self) -> list[str]:
        """Why one of them does not live; a process that has died is being replaced, and no reason to end the others."""
        return await self._reasons("/livez", missing=False)

    async def ready(self) -> list[str]:
        """Why one of them does not receive messages now."""
        return await self._reasons("/readyz", missing=True)

    async def status(self, query: str) -> dict[str, Any]:
        """The statistics of all consumers, each with the number of its process, and the processes."""
        answers = await self._ask_all(f"/statusz?{query}")
        found = {number: msgspec.json.decode(each.body) for number, each in answers.items() if each.status == 200}
        processes = self._known()
        running = [each["number"] for each in processes if each["state"] != "over"]
        return {
            "version": version("leasekeeper"),
            "process": os.getppid(),
            "healthy": all(number in found and found[number]["healthy"] for number in running),
            "ready": all(number in found and found[number]["ready"] for number in running),
            "processes": processes,
            "consumers": [
                {"process": number, **consumer} for number, each in found.items() for consumer in each["consumers"]
            ],
        }

    async def metrics(self) -> bytes:
        """The metrics of all in the text format, each sample with the number of its process, and the supervisor's."""
        answers = await self._ask_all("/metrics")
        return merged({number: each.body for number, each in answers.items() if each.status == 200}, self._known())

    def _known(self) -> list[dict[str, Any]]:
        now = time.monotonic()
        if now - self._read_at > FRESH:
            self._read, self._read_at = self._folder.read(), now
            self._pids.update({each["number"]: each["pid"] for each in self._read if each["pid"]})
        return self._read

    async def _ask_all(self, path: str) -> dict[int, Answer]:
        """The answers of those that answer."""
        found = await self._answers(path)
        return {number: each for number, each in found.items() if not isinstance(each, str)}

    async def _answers(self, path: str) -> dict[int, Answer | str]:
        """The answers by the numbers of the processes; a reason from those that do not answer."""

        async def one(number: int) -> Answer | str:
            try:
                return await ask(Place.parse(f"unix:{self._folder.socket(number)}"), path, within=WITHIN)
            except Unreachable as error:
                return str(error)

        numbers = [each["number"] for each in self._known() if each["state"] not in GONE]
        return dict(zip(numbers, await asyncio.gather(*map(one, numbers)), strict=True))

    async def _reasons(self, path: str, *, missing: bool) -> list[str]:
        answers = await self._answers(path)
        reasons = []
        for each in self._known():
            number, answer = each["number"], answers.get(each["number"])
            who = f"process {number}"
            if isinstance(answer, str):
                late = answer.startswith("no answer within")
                if missing and each["state"] == "starting" and not late:
                    reasons.append(f"{who} {NOT_YET}")
                elif missing or late:
                    reasons.append(f"{who} ({each['state']}): {answer}")
            elif answer is None:
                if missing and each["state"] != "over":
                    reasons.append(f"{who} has died ({each['last']}); another is about to start")
            elif answer.status != 200:
                reasons += [f"{who}: {reason}" for reason in _reasons_in(answer.body)]
        return reasons or ([] if self._known() or not missing else ["no process has started yet"])


def _reasons_in(body: bytes) -> Sequence[str]:
    try:
        return [str(each) for each in msgspec.json.decode(body)["reasons"]]
    except (msgspec.DecodeError, KeyError, TypeError):
        return ["it answers with an error"]


def main(
    arguments: Sequence[str], environment: Mapping[str, str], lifeline: Lifeline | None, wait: Callable[[], object]
) -> int:
    """Serve at the address, for the processes of the folder, until `wait` returns; the exit code."""
    address, folder = arguments
    members = Members(Folder(folder))
    try:
        with AdminServer(
            address=address,
            token=environment.get("LEASEKEEPER_ADMIN_TOKEN") or None,
            hosts=_listed(environment.get("LEASEKEEPER_ADMIN_HOSTS", "")),
            peers=_listed(environment.get("LEASEKEEPER_PEERS", "")),
            actions_over_http=environment.get("LEASEKEEPER_ACTIONS_OVER_HTTP", "").lower()
            in ("1", "true", "yes", "on"),
            members=members,
        ) as server:
            if lifeline is not None:
                lifeline.tell(says=f"the admin surface of all processes: {server.url}")
            wait()
    except ConfigurationError as error:
        sys.stderr.write(f"leasekeeper: {error}\n")
        return Exit.UNUSABLE if isinstance(error, Unusable) else Exit.USAGE
    return Exit.CLEAN


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


if __name__ == "__main__":
    stop = threading.Event()
    line = Lifeline.from_environment(os.environ)
    for each in (signal.SIGTERM, *OF_TERMINALS):
        # A signal may be for all processes of a group; the supervisor says when it is over.
        signal.signal(each, lambda *_: stop.set() if line is None else None)
    if line is not None:
        line.listen(stop.set)
    os._exit(main(sys.argv[1:], os.environ, line, stop.wait))
