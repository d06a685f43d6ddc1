"""Tasks of Step Functions: a state machine sends a message with a task token, and waits for the handler's result.

`StepFunctions` is given as the option `envelope`. It promises that a message is deleted only after Step Functions has
the result, and that a long handler keeps its task alive, whatever its own event loop does: reports are made on a
thread of their own.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from leasekeeper.engine.host import LoopThread
from leasekeeper.envelopes.opening import NothingToHandle, NotThisEnvelope, Opened
from leasekeeper.errors import ConfigurationError
from leasekeeper.events import HandlersEnded
from leasekeeper.loggers import safe_logger
from leasekeeper.outcomes import Failed, Reject, Retry, Settlement
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.sqs.tasks import TaskClient, TaskGone
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from leasekeeper.api import Credentials, CredentialsProvider
    from leasekeeper.channel import Channel
    from leasekeeper.message import Message, Received
    from leasekeeper.options import Middleware
    from leasekeeper.outcomes import Outcome

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


class StepFunctionsTask(msgspec.Struct, frozen=True):
    """A task of a state machine: the envelope that `StepFunctions` opens, in `message.envelopes`.

    Attributes:
        token: with which a result is reported.
        input: the task's input, as JSON.
        heartbeat_seconds: how often Step Functions expects a heartbeat; None: never.
    """

    token: str
    input: str
    heartbeat_seconds: float | None = None

    def __repr__(self) -> str:
        return f"<StepFunctionsTask, heartbeat_seconds={self.heartbeat_seconds}>"  # who has the token can end the task


class StepFunctions:
    """Opens the message of a state that waits for a task token, and reports what the handler makes of it.

    What the handler returns is the output of the task (`SendTaskSuccess`), and `Reject` fails the task
    (`SendTaskFailure`); then the message is deleted. Any other exception, and `Retry`, are retries as always: the
    task goes on waiting, and fails when its message becomes a dead letter. If nothing waits for the task any more, the
    message is deleted and counted as skipped. If a report cannot be made, the message is retried.

    Args:
        token: the field of the body with the token: a name, or a path with dots.
        body: the field with the input, which the handler gets; None: the whole body.
        heartbeat: the field with the state's `HeartbeatSeconds`, if the state sends it: heartbeats are then sent while
            the handler runs.
        region: of the state machine; None takes the environment's, as for `endpoint_url`, `profile`, `credentials`.
        endpoint_url: of Step Functions; None: `AWS_ENDPOINT_URL_SFN`, else the region's.
        profile: of ~/.aws/config.
        credentials: as the option of a consumer.

    Raises:
        ConfigurationError: a field that is not text.
    """

    def __init__(
        self,
        token: str = "TaskToken",  # noqa: S107 - the name of a field
        body: str | None = "Input",
        *,
        heartbeat: str = "HeartbeatSeconds",
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        credentials: Credentials | CredentialsProvider | None = None,
    ) -> None:
        for name, field in (("token", token), ("body", body), ("heartbeat", heartbeat)):
            if not (isinstance(field, str) and field) and not (name == "body" and field is None):
                raise ConfigurationError(f"StepFunctions({name}={field!r}): must be the name of a field of the body")
        self._token = token.split(".")
        self._body = None if body is None else body.split(".")
        self._heartbeat = heartbeat.split(".")
        settings = ClientSettings(region=region, endpoint_url=endpoint_url, profile=profile, credentials=credentials)
        self._reports = _Reports(settings)

    def __call__(self, received: Received) -> Opened:
        """Open a task, as every `EnvelopeDecoder`."""
        body = received.body
        token, seconds = _at(body, self._token, str), _at(body, self._heartbeat, float)
        held = body if self._body is None else _at(body, self._body, Raw)
        if token is None:
            raise NotThisEnvelope(f"it has no text in {'.'.join(self._token)}")
        if held is None:
            raise NotThisEnvelope(f"it has nothing in {'.'.join(self._body or ())}")
        task = StepFunctionsTask(token, held if isinstance(held, str) else bytes(held).decode(), seconds)
        return Opened(task.input, task)

    def subscribe_to(self, channel: Channel) -> None:
        """Hear of messages that become dead letters: their tasks fail."""
        channel.subscribe(self._fail_dead_letters, HandlersEnded)

    def _fail_dead_letters(self, event: HandlersEnded) -> None:
        for conclusion in event.others:
            if conclusion.copied and not conclusion.settled:
                with suppress(Exception):  # it is in no such envelope, or inside of another one
                    self._reports.fail(self(conclusion.message).envelope, conclusion.outcome)

    def around(self, *, is_coroutine: bool) -> Middleware:
        """What runs around the handler, of the same kind: it reports what the handler makes of the task."""
        return self._await_and_report if is_coroutine else self._call_and_report

    async def _await_and_report(
        self, message: Message[Any], call_next: Callable[[Message[Any]], Awaitable[Any]]
    ) -> Any:
        task = _task_of(message)
        heartbeat = self._reports.heartbeat(task)
        try:
            result = await call_next(message)
        except Reject as rejected:
            result = rejected
        finally:
            heartbeat.stop()
        if _is_open(message, result):
            return result
        heartbeat.check()
        # Shielded: a report that has begun is made, also if this handler is cancelled.
        await asyncio.shield(asyncio.wrap_future(self._reports.report(task, result)))
        return None

    def _call_and_report(self, message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        task = _task_of(message)
        heartbeat = self._reports.heartbeat(task)
        try:
            result = call_next(message)
        except Reject as rejected:
            result = rejected
        finally:
            heartbeat.stop()
        if _is_open(message, result):
            return result
        heartbeat.check()
        self._reports.report(task, result).result()
        return None

    def __repr__(self) -> str:
        return f"StepFunctions(token={'.'.join(self._token)!r})"


def _at(body: str, path: list[str], kind: Any) -> Any:
    """What is at a path of a JSON body, if it is of that kind; else None."""
    found: Any = body
    try:
        for name in path:
            found = msgspec.json.decode(found, type=dict[str, Raw])[name]
        return found if kind is Raw else msgspec.json.decode(found, type=kind)
    except (msgspec.MsgspecError, KeyError, RecursionError):
        return None


def _task_of(message: Message[Any]) -> StepFunctionsTask:
    task: StepFunctionsTask = next(each for each in message.envelopes if isinstance(each, StepFunctionsTask))
    return task


def _is_open(message: Message[Any], result: Any) -> bool:
    """Whether the task goes on: the handler wants a retry, or keeps the message."""
    retries = isinstance(result, Retry) or (isinstance(result, type) and issubclass(result, Retry))
    return retries or getattr(message._lease, "withheld", False)  # noqa: SLF001 - the handler's view of its lease


def _nothing_waits(error: TaskGone) -> NothingToHandle:
    return NothingToHandle(f"Step Functions does not wait for its task any more ({error})")


class _Heartbeat:
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


class _Reports:
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

    def heartbeat(self, task: StepFunctionsTask) -> _Heartbeat:
        """Send heartbeats if the task needs some, until they are stopped."""
        heartbeat = _Heartbeat()
        if task.heartbeat_seconds is not None:
            interval = min(max(task.heartbeat_seconds / BEATS, SHORTEST_BEAT), LONGEST_BEAT)
            self._submit(lambda client: heartbeat.run(client, task.token, interval), within=None, heartbeat=heartbeat)
        return heartbeat

    def _submit(
        self,
        call: Callable[[TaskClient], Awaitable[None]],
        *,
        within: float | None = PATIENCE,
        heartbeat: _Heartbeat | None = None,
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
