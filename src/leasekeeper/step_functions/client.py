"""The client of Step Functions: the three calls that report on a task, by its token.

Owned by the reports, used on one event loop. Temporary errors are retried, up to three tries in all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from leasekeeper.errors import SqsError
from leasekeeper.sqs.connecting import connect
from leasekeeper.sqs.services import STEP_FUNCTIONS

if TYPE_CHECKING:
    from leasekeeper.sqs.settings import ClientSettings
    from leasekeeper.sqs.wire import Wire

GONE = frozenset({"TaskTimedOut", "TaskDoesNotExist"})
"""Errors that say that nothing waits for the task any more."""
LONGEST_ERROR, LONGEST_CAUSE = 256, 32_768
"""Characters of an error's name and of its cause (API reference of Step Functions, SendTaskFailure)."""


class TaskGone(Exception):
    """The task has ended, by its time-out or another report. Its argument is the error code."""


class TaskClient:
    """Reports on tasks; made by `connect`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @classmethod
    async def connect(cls, settings: ClientSettings) -> TaskClient:
        """Find endpoint and credentials; no call is made yet.

        Raises:
            ConfigurationError: no region, or settings that contradict each other.
            CredentialsMissing: no credentials were found.
        """
        wire, _ = await connect(replace(settings, service=STEP_FUNCTIONS))
        return cls(wire)

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def succeed(self, token: str, output: str) -> None:
        """Report that the task succeeded; `output` is JSON, at most 262,144 bytes."""
        await self._report("SendTaskSuccess", {"taskToken": token, "output": output})

    async def fail(self, token: str, error: str, cause: str) -> None:
        """Report that the task failed; what is too long of error and cause is cut."""
        fields = {"taskToken": token, "error": error[:LONGEST_ERROR], "cause": cause[:LONGEST_CAUSE]}
        await self._report("SendTaskFailure", fields)

    async def beat(self, token: str) -> None:
        """Report that the task is at work."""
        await self._report("SendTaskHeartbeat", {"taskToken": token})

    async def _report(self, operation: str, fields: dict[str, str]) -> None:
        """Make a call.

        Raises:
            TaskGone: nothing waits for the task any more.
            SqsError: Step Functions refused the call or could not be reached.
        """
        try:
            await self._wire.call_patiently(operation, msgspec.json.encode(fields))
        except SqsError as error:
            if error.code.removesuffix("Exception") in GONE:
                raise TaskGone(error.code) from error
            raise
