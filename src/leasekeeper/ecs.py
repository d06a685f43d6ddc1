"""Task protection of Amazon ECS: scale-in and deployments spare a task while it has long handlers.

Used by consumers with the option `ecs_protection`. A process is one task, so all its consumers share one thread, which
makes the calls: it never blocks an engine, and what fails there harms nothing (it is logged once).
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from leasekeeper.core.protection import MINUTES, Protection
from leasekeeper.loggers import safe_logger
from leasekeeper.texts import bounded, safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = safe_logger("leasekeeper.run")

VARIABLE = "ECS_AGENT_URI"
"""The environment variable with which ECS tells a container where its agent listens."""
LOOK_EVERY = 5.0
"""Seconds between two looks at the handlers."""
TIMEOUT = 5.0
"""Seconds that a call may take."""


class TaskProtection:
    """Asks the agent of ECS for protection while one of its watches says so.

    Args:
        uri: the address of the agent.
        look_every: seconds between two looks.
        clock: seconds, monotonic.
    """

    def __init__(
        self, uri: str, *, look_every: float = LOOK_EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._uri = urlsplit(uri)
        self._look_every = look_every
        self._clock = clock
        self._protection = Protection()
        self._watches: list[Callable[[], bool]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._left = threading.Event()
        self._told = False

    def watch(self, needed: Callable[[], bool]) -> Callable[[], None]:
        """Ask `needed` from now on, from another thread; returns a function that ends that. Neither waits."""
        with self._lock:
            self._watches.append(needed)
            if self._thread is None:
                self._left.clear()
                self._thread = threading.Thread(target=self._run, name="leasekeeper-ecs", daemon=True)
                self._thread.start()

        def leave() -> None:
            with self._lock:
                self._watches.remove(needed)
                if not self._watches:
                    self._left.set()

        return leave

    def _run(self) -> None:
        while True:
            ended = self._left.wait(self._look_every)
            with self._lock:
                watches = list(self._watches)
                if ended and not watches:
                    self._thread = None
                    break
                self._left.clear()
            now = self._clock()
            on = self._protection.decide(now, needed=any(map(_asked, watches)))
            if on is not None:
                self._ask(now, on=on)
        if self._protection.on:
            self._ask(self._clock(), on=False)

    def _ask(self, now: float, *, on: bool) -> None:
        was_on, reason = self._protection.on, self._put(on=on)
        self._protection.answered(now, on=on, ok=not reason)
        if reason and not self._told:
            self._told = True
            log.warning("ECS does not %s this task: %s; this is tried again", "protect" if on else "release", reason)
        elif not reason and (self._told or on is not was_on):
            self._told = False
            log.info("ECS %s", f"spares this task for {MINUTES} minutes" if on else "may end this task again")

    def _put(self, *, on: bool) -> str:
        """Make the call; why it failed, or empty."""
        wanted = {"ProtectionEnabled": True, "ExpiresInMinutes": MINUTES} if on else {"ProtectionEnabled": False}
        connection = http.client.HTTPConnection(self._uri.hostname or "", self._uri.port, timeout=TIMEOUT)
        try:
            path = f"{self._uri.path.rstrip('/')}/task-protection/v1/state"
            connection.request("PUT", path, json.dumps(wanted), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read(65_536))
            if response.status == http.client.OK and isinstance(answer, dict) and "protection" in answer:
                return ""
            return bounded(f"HTTP {response.status}: {_why(answer)}", 300)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return safe_str(error, 300) or type(error).__name__
        finally:
            connection.close()

    def __repr__(self) -> str:
        return f"<TaskProtection {'on' if self._protection.on else 'off'}, {len(self._watches)} watches>"


def _asked(needed: Callable[[], bool]) -> bool:
    try:
        return needed()
    except Exception as error:
        log.debug("task protection cannot see a consumer: %r", error)
        return False


def _why(answer: object) -> str:
    """What ECS says of a refusal: under `failure` if the task cannot be protected, under `error` otherwise."""
    found = answer.get("failure") or answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        return "no reason given"
    words = [str(found[name]) for name in ("Code", "Reason", "Message", "Detail") if found.get(name)]
    return ": ".join(words) or "no reason given"


_shared: TaskProtection | None = None
_sharing = threading.Lock()


@contextmanager
def protected(needed: Callable[[], bool]) -> Iterator[None]:
    """Have ECS spare this process's task while `needed()`, inside the block.

    Outside ECS a warning is logged, and nothing else happens.
    """
    global _shared  # noqa: PLW0603 - a process is one task
    uri = os.environ.get(VARIABLE)
    if not uri:
        log.warning(
            "ecs_protection is on, but %s is not set: this is not a container of ECS, or its agent or platform version "
            "is too old; nothing protects it from scale-in",
            VARIABLE,
        )
        yield
        return
    with _sharing:
        if _shared is None:
            _shared = TaskProtection(uri)
        leave = _shared.watch(needed)
    try:
        yield
    finally:
        leave()


def _forget() -> None:
    """A forked child has no thread of its parent, and is not what ECS knows as the task's consumer."""
    global _shared, _sharing
    _shared, _sharing = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
