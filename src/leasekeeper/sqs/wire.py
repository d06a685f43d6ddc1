"""One call of the SQS JSON protocol: signed, posted, and read as an answer or an `SqsError`.

Owned by one client, on its loop. It promises that receives share no connection with other calls, that a call refused
for its credentials or its time is repeated once with better ones, and that every failure is an `SqsError`.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

import msgspec

from leasekeeper.errors import Closed, SqsError, Verdict
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs import tolerant
from leasekeeper.sqs.errors import EXCERPT, error_of
from leasekeeper.texts import bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.api import Credentials, Response, Transport
    from leasekeeper.sqs.credentials import CredentialKeeper
    from leasekeeper.sqs.signer import Signer

T = TypeVar("T")
Body = bytes | bytearray
log = safe_logger("leasekeeper.sqs")

ATTEMPTS = 3
"""How often a call of administration is made before it fails."""
REPEATED = frozenset({Verdict.UNAVAILABLE, Verdict.THROTTLED})
"""Verdicts after which a call of administration is made again."""
LONGEST_PAUSE = 5.0
"""The most seconds that a server's `Retry-After` delays a call of administration."""


class Wire:
    """Makes calls to one endpoint.

    Args:
        signer: signs for the endpoint.
        credentials: holds the credentials to sign with.
        polls: carries the calls that wait for messages.
        calls: carries all others, so that a delete never waits behind a receive.
        timeout: seconds that a call may take unless it gives its own.
        where: which server was asked, for the error that a queue does not exist; empty: it is not said.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        credentials: CredentialKeeper,
        polls: Transport,
        calls: Transport,
        timeout: float,
        where: str = "",
    ) -> None:
        self._signer = signer
        self._credentials = credentials
        self._polls = polls
        self._calls = calls
        self._timeout = timeout
        self._where = where
        self._closed = False
        self._header: Callable[[str], str | None] = _no_header

    def last_request_id(self) -> str:
        """The server's id of the call that ended last; empty if that had no answer, or its answer no id.

        A call's own code goes on in the same step of the loop in which its answer was read, so until its next `await`
        this is the id of that call.
        """
        return self._header("x-amzn-requestid") or ""

    @property
    def credentials(self) -> Credentials | None:
        """Credentials that are expected to work; None when a call has to wait for a refresh."""
        return self._credentials.current()

    @property
    def credentials_failure(self) -> BaseException | None:
        """Why the last refresh of credentials failed; None when it succeeded."""
        return self._credentials.failure

    async def poll(self, operation: str, body: bytes, *, timeout: float) -> Body:  # noqa: ASYNC109 - see `Transport`
        """Make a call that waits for messages, once."""
        return await self._call(self._polls, operation, body, timeout)

    async def call(self, operation: str, body: bytes, *, again: bool = False) -> Body:
        """Make a call, once.

        Args:
            operation: the API call.
            body: its JSON.
            again: whether making it twice does no harm. It then is made twice, at once, when the connection was reset
                before an answer: SQS closes idle connections, sometimes at the moment in which a call uses one.
        """
        try:
            return await self._call(self._calls, operation, body, self._timeout)
        except SqsError as error:
            if not again or error.code != "ConnectionReset":
                raise
        return await self._call(self._calls, operation, body, self._timeout)

    async def call_patiently(self, operation: str, body: bytes) -> Body:
        """Make a call of administration, up to three times while its errors are temporary.

        The pauses are 0 to 0.2 s and 0 to 0.4 s, or as long as the server asks for, at most 5 s.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._call(self._calls, operation, body, self._timeout)
            except SqsError as error:
                if error.verdict not in REPEATED or error.code == "Closed":
                    raise
                asked = min(error.retry_after, LONGEST_PAUSE)
            await asyncio.sleep(max(asked, random.uniform(0, 0.1 * 2**attempt)))  # noqa: S311 - jitter, not a secret
        return await self._call(self._calls, operation, body, self._timeout)

    async def close(self) -> None:
        """Close all connections; may be called twice."""
        self._closed = True
        self._credentials.close()
        await asyncio.gather(self._polls.close(), self._calls.close())

    async def _call(self, transport: Transport, operation: str, body: bytes, timeout: float) -> Body:  # noqa: ASYNC109
        if self._closed:
            raise Closed(f"{operation} was asked of a client that is closed")
        credentials = self._credentials.current() or await self._credentials.renewed()
        answer = await self._post(transport, credentials, operation, body, timeout)
        if answer.status == 200:
            return answer.body
        refusal = self._refusal(operation, answer)
        better = await self._better(credentials, refusal, answer)
        if better is None:
            raise refusal
        # The refused call did nothing, so it can be made again.
        answer = await self._post(transport, better, operation, body, timeout)
        if answer.status == 200:
            return answer.body
        refusal = self._refusal(operation, answer)
        if refusal.verdict is Verdict.CREDENTIALS:
            self._credentials.reject(better)
        raise refusal

    async def _better(self, credentials: Credentials, refusal: SqsError, answer: Response) -> Credentials | None:
        """Credentials with which the refused call may succeed; None when there is no reason to try."""
        if refusal.verdict not in {Verdict.CREDENTIALS, Verdict.DENIED}:
            return None
        if self._signer.adjust_clock(answer.header("date")):
            log.warning("this machine's clock is wrong: calls are signed by the server's clock from now on; set it")
            return credentials
        if refusal.verdict is not Verdict.CREDENTIALS:
            return None
        self._credentials.reject(credentials)
        renewed = self._credentials.current() or await self._credentials.renewed()
        return renewed if renewed != credentials else None

    async def _post(
        self,
        transport: Transport,
        credentials: Credentials,
        operation: str,
        body: bytes,
        timeout: float,  # noqa: ASYNC109
    ) -> Response:
        try:
            answer = await transport.post(body, self._signer.sign(credentials, operation, body), timeout)
        except SqsError as error:
            self._header = _no_header
            error.operation = operation
            raise
        self._header = answer.header
        return answer

    def _refusal(self, operation: str, answer: Response) -> SqsError:
        error = error_of(
            operation,
            answer.status,
            answer.body,
            query_error=answer.header("x-amzn-query-error") or "",
            request_id=answer.header("x-amzn-requestid") or "",
            retry_after=answer.header("retry-after") or "",
        )
        error.answer = bytes(answer.body)
        if self._where and error.verdict is Verdict.MISSING:  # a queue's URL does not say which server was asked
            error.message = f"{error.message.rstrip('.')} ({self._where})"
        return error


def _no_header(_: str) -> None:
    """What a call without an answer says of every header."""


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
            f"the answer is not one of SQS ({bounded(str(strict), EXCERPT)}): {excerpt!r}. "
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
