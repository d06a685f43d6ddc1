"""One call of the SQS JSON protocol: signed, posted, and read as an answer or an `SqsError`.

Owned by one client, on its loop. It promises that polls share no connection with other calls, that refused credentials
are refreshed before the next call, and that whatever goes wrong on the way is an `SqsError` with a verdict.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, TypeVar

import msgspec

from leasekeeper.errors import Closed, SqsError, Verdict
from leasekeeper.sqs import tolerant
from leasekeeper.sqs.errors import EXCERPT, error_of
from leasekeeper.sqs.signer import CONTENT_TYPE

if TYPE_CHECKING:
    from leasekeeper.api import Credentials, Response, Transport
    from leasekeeper.sqs.credentials import CredentialKeeper
    from leasekeeper.sqs.signer import Signer

T = TypeVar("T")
Body = bytes | bytearray
log = logging.getLogger("leasekeeper.sqs")

FIXED_HEADERS = {"Content-Type": CONTENT_TYPE, "x-amzn-query-mode": "true"}
"""Headers of every call; the query mode asks for error codes in the older protocol's spelling too."""
ATTEMPTS = 3
"""How often a call of administration is made before its error stands."""
PASSING = frozenset({Verdict.UNAVAILABLE, Verdict.THROTTLED})
"""Verdicts after which a call of administration is made again."""


class Wire:
    """Makes calls to one endpoint.

    Args:
        signer: signs for the endpoint.
        credentials: what to sign with.
        polls: carries the calls that wait for messages.
        calls: carries all others, so that a delete never waits behind a poll.
        timeout: seconds a call may take when it does not say otherwise.
    """

    def __init__(
        self, *, signer: Signer, credentials: CredentialKeeper, polls: Transport, calls: Transport, timeout: float
    ) -> None:
        self._signer = signer
        self._credentials = credentials
        self._polls = polls
        self._calls = calls
        self._timeout = timeout
        self._closed = False

    @property
    def credentials_failure(self) -> Exception | None:
        """Why the last refresh of credentials failed; None when it went well."""
        return self._credentials.failure

    async def poll(self, operation: str, body: bytes, *, timeout: float) -> Body:  # noqa: ASYNC109 - see `Transport`
        """Make a call that waits for messages, once."""
        return await self._once(self._polls, operation, body, timeout)

    async def call(self, operation: str, body: bytes, *, again: bool = False) -> Body:
        """Make a call, once.

        Args:
            operation: the API call.
            body: its JSON.
            again: whether it may be made twice without harm; it then is, at once, when the connection was reset before
                an answer: SQS closes idle connections, now and then just as we take one up again.
        """
        try:
            return await self._once(self._calls, operation, body, self._timeout)
        except SqsError as error:
            if not again or error.code != "ConnectionReset":
                raise
        return await self._once(self._calls, operation, body, self._timeout)

    async def call_patiently(self, operation: str, body: bytes) -> Body:
        """Make a call of administration, up to three times while its errors are passing, 0-0.2 s and 0-0.4 s apart."""
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._once(self._calls, operation, body, self._timeout)
            except SqsError as error:
                if error.verdict not in PASSING or error.code == "Closed":
                    raise
            await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - jitter, not a secret
        return await self._once(self._calls, operation, body, self._timeout)

    async def close(self) -> None:
        """Give back all connections; may be called twice."""
        self._closed = True
        self._credentials.close()
        await asyncio.gather(self._polls.close(), self._calls.close())

    async def _once(self, transport: Transport, operation: str, body: bytes, timeout: float) -> Body:  # noqa: ASYNC109
        if self._closed:
            raise Closed(f"{operation} was asked of a client that is closed")
        credentials = self._credentials.current() or await self._credentials.renewed()
        answer = await self._post(transport, credentials, operation, body, timeout)
        if answer.status == 200:
            return answer.body
        if answer.status in {400, 403} and self._signer.heed(answer.header("date")):
            log.warning(
                "this machine's clock is off: calls are signed by the server's from now on; set the clock right"
            )
            answer = await self._post(transport, credentials, operation, body, timeout)
            if answer.status == 200:
                return answer.body
        refusal = error_of(
            operation,
            answer.status,
            answer.body,
            query_error=answer.header("x-amzn-query-error") or "",
            request_id=answer.header("x-amzn-requestid") or "",
        )
        if refusal.verdict is Verdict.CREDENTIALS:
            self._credentials.reject(credentials)
        raise refusal

    async def _post(
        self,
        transport: Transport,
        credentials: Credentials,
        operation: str,
        body: bytes,
        timeout: float,  # noqa: ASYNC109
    ) -> Response:
        try:
            return await transport.post(body, self._signer.sign(credentials, operation, body), timeout)
        except SqsError as error:
            error.operation = operation
            raise


def read(decoder: msgspec.json.Decoder[T], operation: str, answer: Body) -> T:
    """An answer of HTTP 200 in our types; an empty one counts as `{}`, as AWS sends it for calls that return nothing.

    Raises:
        SqsError: UNAVAILABLE, `Garbage`: this is not the answer to such a call.
    """
    try:
        return decoder.decode(answer or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _read_odd(decoder.type, operation, answer, error)


def _read_odd(kind: type[T], operation: str, answer: Body, strict: Exception) -> T:
    """An answer that the strict decoder refused, as far as it can be read; what cannot be read is logged."""
    try:
        found, problems = tolerant.read(kind, answer)
    except (ValueError, RecursionError):
        excerpt = answer[:EXCERPT].decode(errors="replace")
        raise SqsError(
            Verdict.UNAVAILABLE,
            "Garbage",
            f"the answer is not one of SQS ({str(strict)[:EXCERPT]}): {excerpt!r}. "
            "Check that the endpoint is SQS, and any proxy in between",
            operation=operation,
            status=200,
        ) from strict
    for problem in problems:
        log.error(
            "%s: a part of the answer cannot be read and was left out: %s. SQS shows a message that was left out "
            "again when its visibility timeout ends",
            operation,
            problem,
        )
    return found
