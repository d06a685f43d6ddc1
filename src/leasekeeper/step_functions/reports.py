"""Reports about tasks, and their heartbeats: calls of Step Functions, made from any thread on a loop for themselves.

Owned by one `StepFunctions`. It promises that a long handler keeps its task alive, whatever its own event loop does.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.engine.host import LoopThread
from leasekeeper.envelopes.opening import NothingToHandle
from leasekeeper.loggers import safe_logger
from leasekeeper.outcomes import Failed, Reject, Settlement
from leasekeeper.step_functions.client import TaskClient, TaskGone
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from leasekeeper.outcomes import Outcome
    from leasekeeper.sqs.settings import ClientSettings
    from leasekeeper.step_functions.task import StepFunctionsTask

log = safe_logger("leasekeeper.tasks")

BEATS = 3
"""Heartbeats in the time in which Step Functions expects one."""
SHORTEST_BEAT, LONGEST_BEAT = 0.3, 10_000.0
"""Seconds between two heartbeats."""
FIRST_BEAT = 1.0
"""Seconds from the start of a handler to its first heartbeat, at most."""
PATIENCE = 60.0
"""Seconds that a report may take, with all its tries."""
IDLE = 30.0
"""Seconds after the last report until the connections to Step Functions are closed and their thread ends."""


class Heartbeat:
    """The heartbeats of one task, from the start of its handler to the end."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self._gone: TaskGone | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """They are sent on that loop from now on."""
        self._loop = loop

    def stop(self) -> None:
        """Send no more; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and so have they
                self._loop.call_soon_threadsafe(self._over.set)

    def check(self) -> None:
        """Raise `NothingToHandle` if a heartbeat was answered that the task has ended."""
        if self._gone is not None:
            raise _nothing_waits(self._gone)

    async def run(self, client: TaskClient, token: str, interval: float) -> None:
        """Send one every `interval` seconds until `stop`; the first early, because the message has waited already."""
        pause = min(interval, FIRST_BEAT)
        while not await self._is_over(pause):
            try:
                await client.beat(token)
            except TaskGone as gone:
                self._gone = gone
                return
            except Exception as error:  # credentials may be a user's code
                log.warning("a heartbeat of a task of Step Functions failed: %s", safe_str(error, 300))
            pause = interval

    async def _is_over(self, within: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), within)
        return self._over.is_set()


class Reports:
    """Calls Step Functions from any thread, on a loop that runs while there is something to report."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._thread = LoopThread("leasekeeper-tasks")
        self._process = 0
        self._active = 0
        self._client: asyncio.Task[TaskClient] | None = None
        self._closing: asyncio.TimerHandle | None = None

    def report(self, task: StepFunctionsTask, result: Any) -> Future[None]:
        """Report what the handler has made of a task. The future is never to be cancelled.

        Raises:
            TypeError: the result cannot be written as JSON.
        """
        if isinstance(result, type) and issubclass(result, Reject):
            result = result()
        if isinstance(result, Reject):
            error, cause = type(result).__qualname__, safe_str(result.reason, 30_000)
            return self._submit(lambda client: client.fail(task.token, error, cause))
        output = msgspec.json.encode(None if isinstance(result, Settlement) else result, enc_hook=_plain).decode()
        return self._submit(lambda client: client.succeed(task.token, output))

    def fail(self, task: StepFunctionsTask, outcome: Outcome) -> None:
        """Report that the message of a task is a dead letter, without waiting. An error is logged."""
        raised = outcome.error if isinstance(outcome, Failed) else outcome
        error, cause = type(raised).__qualname__, safe_str(getattr(raised, "reason", raised), 30_000)
        self._submit(lambda client: client.fail(task.token, error, cause)).add_done_callback(_log_failure)

    def heartbeat(self, task: StepFunctionsTask) -> Heartbeat:
        """Send heartbeats if the task needs some, until they are stopped."""
        heartbeat = Heartbeat()
        if task.heartbeat_seconds is not None:
            interval = min(max(task.heartbeat_seconds / BEATS, SHORTEST_BEAT), LONGEST_BEAT)
            self._submit(lambda client: heartbeat.run(client, task.token, interval), within=None, heartbeat=heartbeat)
        return heartbeat

    def _submit(
        self,
        call: Callable[[TaskClient], Awaitable[None]],
        *,
        within: float | None = PATIENCE,
        heartbeat: Heartbeat | None = None,
    ) -> Future[None]:
        loop = self._thread.enter()
        if heartbeat is not None:
            heartbeat.begin(loop)
        return asyncio.run_coroutine_threadsafe(self._run(call, within), loop)

    # All below runs on the loop of the thread

    async def _run(self, call: Callable[[TaskClient], Awaitable[None]], within: float | None) -> None:
        if self._process != os.getpid():  # a forked child has none of its parent's connections
            self._process, self._active, self._client = os.getpid(), 0, None
        self._active += 1
        try:
            async with asyncio.timeout(within):
                await call(await self._connected())
        except TaskGone as error:
            raise _nothing_waits(error) from None
        finally:
            self._active -= 1
            if self._closing is not None:
                self._closing.cancel()
            self._closing = asyncio.get_running_loop().call_later(IDLE, self._close_if_idle)
            self._thread.leave()  # here, and not where the future is done: the thread must not end before this

    async def _connected(self) -> TaskClient:
        """The client, which keeps the thread running while it is open."""
        if self._client is None:
            self._thread.enter()
            self._client = asyncio.ensure_future(TaskClient.connect(self._settings))
        connecting = self._client
        try:
            return await asyncio.shield(connecting)
        except Exception:
            if self._client is connecting:
                self._client = None
                self._thread.leave()
            raise

    def _close_if_idle(self) -> None:
        if self._active == 0 and self._client is not None:
            closing = asyncio.ensure_future(self._close(self._client))
            self._client = None
            closing.add_done_callback(lambda _: self._thread.leave())

    @staticmethod
    async def _close(connecting: asyncio.Task[TaskClient]) -> None:
        with suppress(Exception):  # it was never connected
            await (await connecting).close()


def _log_failure(reported: Future[None]) -> None:
    if (error := reported.exception()) is not None and not isinstance(error, NothingToHandle):
        log.warning("a task of Step Functions could not be failed, and waits on: %s", safe_str(error, 300))


def _plain(value: Any) -> Any:
    """What JSON encodes of a pydantic model."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(
            f"a result with a {type(value).__qualname__} cannot be the output of a task, which is JSON: return a dict, "
            "a dataclass, a msgspec.Struct or a pydantic model"
        )
    return dump(mode="json", by_alias=True)


def _nothing_waits(error: TaskGone) -> NothingToHandle:
    return NothingToHandle(f"Step Functions does not wait for its task any more ({error})")
