"""The envelope of a task: opens its message, and reports what the handler makes of it.

Given by users as the option `envelope`. It promises that a message is deleted only after Step Functions has the result.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from leasekeeper.envelopes.opening import NotThisEnvelope, Opened
from leasekeeper.errors import ConfigurationError
from leasekeeper.events import HandlersEnded
from leasekeeper.message import lease_of
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.step_functions.reports import Reports
from leasekeeper.step_functions.task import StepFunctionsTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from leasekeeper.api import Credentials, CredentialsProvider
    from leasekeeper.channel import Channel
    from leasekeeper.message import Message, Received
    from leasekeeper.options import Middleware


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
        self._reports = Reports(settings)
        self._again = partial(
            StepFunctions,
            token,
            body,
            heartbeat=heartbeat,
            region=region,
            endpoint_url=endpoint_url,
            profile=profile,
            credentials=credentials,
        )

    def __reduce__(self) -> tuple[Callable[[], StepFunctions], tuple[()]]:
        """It is pickled for worker processes, each of which makes reports for itself."""
        return self._again, ()

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
    return retries or lease_of(message).withheld
