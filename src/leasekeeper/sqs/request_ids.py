"""The server's ids of calls, for traces and AWS support: noted by the transports of one client once that is wanted.

Owned by the wire. It promises that a client from which no ids are wanted does no more for a call than before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import Response, Transport


class RequestIds:
    """Notes the header `x-amzn-RequestId` of each answer.

    Attributes:
        last: the id of the call that ended last; empty if it had no answer, or no id. A call's own code goes on in the
            same step of the loop in which its answer was read, so until its next `await` this is the id of that call.
    """

    last = ""

    def of(self, transport: Transport) -> Transport:
        """A transport that notes the ids of what this one posts."""
        return _Noting(transport, self)


class _Noting:
    def __init__(self, transport: Transport, ids: RequestIds) -> None:
        self._transport = transport
        self._ids = ids

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109
        try:
            answer = await self._transport.post(body, headers, timeout)
        except BaseException:
            self._ids.last = ""
            raise
        self._ids.last = answer.header("x-amzn-requestid") or ""
        return answer

    async def close(self) -> None:
        await self._transport.close()
