"""The client of EventBridge Scheduler: a schedule created, and one deleted.

Owned by a sender with `schedules=`, used on its loop. Temporary errors are tried again, up to three tries in all; a
client token makes a creation that is repeated one schedule.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.errors import SqsError, Verdict
from leasekeeper.sqs.connecting import find, transport_settings
from leasekeeper.sqs.errors import verdict_of
from leasekeeper.sqs.http_native import NativeTransport
from leasekeeper.sqs.rest_signer import Request, RestSigner
from leasekeeper.sqs.urls import host_of
from leasekeeper.texts import bounded

if TYPE_CHECKING:
    from leasekeeper.api import Credentials, Response
    from leasekeeper.sqs.credentials import CredentialKeeper
    from leasekeeper.sqs.endpoint import Endpoint
    from leasekeeper.sqs.settings import ClientSettings

TRIES = 3
"""How often a request is made before it fails."""
REPEATED = frozenset({Verdict.UNAVAILABLE, Verdict.THROTTLED})


class SchedulerClient:
    """Creates and deletes schedules.

    Args:
        endpoint: of the scheduler.
        credentials: holds the credentials to sign with.
        settings: how to reach it.
    """

    def __init__(self, endpoint: Endpoint, credentials: CredentialKeeper, settings: ClientSettings) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._timeout = settings.call_timeout
        self._signer = RestSigner(endpoint.region, service="scheduler", session_token=endpoint.session_token)
        self._transport = NativeTransport(transport_settings(settings, endpoint, headers={}))

    @classmethod
    async def connect(cls, settings: ClientSettings) -> SchedulerClient:
        """Find endpoint and credentials; no call is made yet.

        Raises:
            ConfigurationError: no region, or settings that contradict each other.
            CredentialsMissing: no credentials were found.
        """
        return cls(*await find(settings), settings)

    async def create(self, name: str, schedule: dict[str, Any]) -> bool:
        """Create a schedule; False: there is one of that name.

        Raises:
            SqsError: the scheduler refused the call, or could not be reached.
        """
        body = msgspec.json.encode(schedule)
        request = Request("POST", f"/schedules/{name}", "", {"content-type": "application/json"}, body)
        return await self._call("CreateSchedule", request, "ConflictException")

    async def delete(self, group: str, name: str) -> bool:
        """Delete a schedule; False: there is none of that name. Raises as `create`."""
        request = Request("DELETE", f"/schedules/{name}", f"groupName={group}")
        return await self._call("DeleteSchedule", request, "ResourceNotFoundException")

    async def close(self) -> None:
        """Close the connections."""
        self._credentials.close()
        await self._transport.close()

    async def _call(self, operation: str, request: Request, negative: str) -> bool:
        """Make a call; False if it is refused with the code `negative`."""
        for left in reversed(range(TRIES)):
            try:
                answer = await self._once(request)
                if answer.status == 200:
                    return True
                error = _error_of(operation, answer)
            except SqsError as unreachable:
                error = unreachable
                error.operation = operation
            if error.code == negative:
                return False
            if error.verdict not in REPEATED or not left:
                raise error
            await asyncio.sleep(random.uniform(0, 0.2 * 2 ** (TRIES - left)))  # noqa: S311 - jitter, not a secret
        raise AssertionError(request)

    async def _once(self, request: Request) -> Response:
        credentials = self._credentials.current() or await self._credentials.renewed()
        answer = await self._send(credentials, request)
        if answer.status not in {400, 403}:
            return answer
        if self._signer.adjust_clock(answer.header("date")):
            return await self._send(credentials, request)
        if _error_of("", answer).verdict is Verdict.CREDENTIALS:
            self._credentials.reject(credentials)
            renewed = self._credentials.current() or await self._credentials.renewed()
            if renewed != credentials:
                return await self._send(renewed, request)
        return answer

    async def _send(self, credentials: Credentials, request: Request) -> Response:
        signed = self._signer.sign(credentials, host_of(self._endpoint.url), request)
        target = f"{request.path}?{request.query}" if request.query else request.path
        return await self._transport.post(
            request.body, signed, self._timeout, self._transport.start(request.method, target)
        )

    def __repr__(self) -> str:
        return f"<SchedulerClient of {self._endpoint.region}>"


def _error_of(operation: str, answer: Response) -> SqsError:
    """A refusal: its code is in a header, its sentence in the body."""
    try:
        body = msgspec.json.decode(bytes(answer.body), type=dict[str, Any])
    except msgspec.MsgspecError:
        body = {}
    named = answer.header("x-amzn-errortype") or str(body.get("__type") or body.get("Code") or "")
    code = bounded(named.partition(":")[0].rpartition("#")[2], 200) or f"HTTP{answer.status}"
    message = bounded(str(body.get("Message") or body.get("message") or "no sentence"), 500)
    verdict = verdict_of(code, message, answer.status)
    return SqsError(verdict, code, message, operation=operation, status=answer.status)
