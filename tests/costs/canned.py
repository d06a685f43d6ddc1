"""SQS as a transport that has its answers ready: endless messages, every delete confirmed, after a fixed time.

Owned by one scene. It promises messages as long as real ones (a body of 500 bytes, a receipt of 350 characters, the
four system attributes, a different id each), and that nothing of it stays in memory when it has answered.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from leasekeeper.api import Response
from leasekeeper.message import MessageAttribute
from leasekeeper.sqs.digests import md5_of_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

encode = msgspec.json.encode
BODY = 500
"""Characters of each body."""
RECEIPT = 350
"""Characters of each receipt."""
BATCH = 10
"""Messages in each answer."""
EMPTY = 20.0
"""Seconds that a receive waits when there are no messages any more."""


class Supply:
    """What the transports of one client answer from.

    Args:
        latency: seconds from a call to its answer; 0: in the loop's next turn.
        groups: message groups that the receives take turns with, ten messages of one group each; 0: no groups.
        traceparent: the trace header of W3C that each message has as its attribute; empty: none.
        trace: the `AWSTraceHeader` of each message; empty: none.

    Attributes:
        calls: API calls made so far, by name.
        receives: receives so far that were answered with messages.
        given: messages that have been given out so far.
        deleted: messages with a confirmed delete so far.
        looked_at: called with `receives` before each of these is answered.
        limit: receives after which there are no messages any more.
    """

    def __init__(self, latency: float, *, groups: int = 0, traceparent: str = "", trace: str = "") -> None:
        self._groups = groups
        self._headers = _headers(traceparent, trace)
        self.calls = Counter[str]()
        self.receives = 0
        self.given = 0
        self.deleted = 0
        self.looked_at: Callable[[int], None] = lambda _: None
        self.limit: int | None = None
        self._latency = latency
        self._ended = asyncio.Event()

    def transport(self) -> Canned:
        """One more transport that answers from here."""
        return Canned(self)

    async def received(self, receives: int) -> None:
        """Wait until so many receives were given messages; no more are."""
        self.limit = receives
        await self._ended.wait()

    def answered(self, operation: str, body: bytes) -> asyncio.Future[Response]:
        """The answer to a call, when its time has come."""
        loop = asyncio.get_running_loop()
        self.calls[operation] += 1
        latency = self._latency
        if operation == "ReceiveMessage" and (self.limit is None or self.receives < self.limit):
            self.looked_at(self.receives)
            group = f"group-{self.receives % self._groups}" if self._groups else None
            answer = _messages(self.receives * BATCH, group, self._headers)
            self.receives += 1
            if self.receives == self.limit:
                self._ended.set()
        elif operation == "ReceiveMessage":
            answer, latency = b"{}", EMPTY
        else:
            entries = body.count(b'"Id"')
            self.deleted += entries
            answer = _confirmed(entries)
        future: asyncio.Future[Response] = loop.create_future()
        response = Response(200, _no_header, answer)
        if latency:
            loop.call_later(latency, self._resolve, future, response)
        else:
            loop.call_soon(self._resolve, future, response)
        return future

    def _resolve(self, future: asyncio.Future[Response], response: Response) -> None:
        if not future.done():
            self.given += response.body.count(b'"MessageId"')
            future.set_result(response)


class Canned:
    """A `leasekeeper.api.Transport` without a network."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109
        """The supply's answer."""
        return await self._supply.answered(headers["X-Amz-Target"].rpartition(".")[2], body)

    async def close(self) -> None:
        """There is nothing to give back."""


def _headers(traceparent: str, trace: str) -> tuple[dict[str, str], dict[str, object]]:
    """System attributes, and what a message with attributes has more than others."""
    system = {"AWSTraceHeader": trace} if trace else {}
    if not traceparent:
        return system, {}
    attribute = MessageAttribute(data_type="String", string_value=traceparent)
    return system, {
        "MessageAttributes": {"traceparent": {"DataType": "String", "StringValue": traceparent}},
        "MD5OfMessageAttributes": md5_of_attributes({"traceparent": attribute}),
    }


def _messages(first: int, group: str | None, headers: tuple[dict[str, str], dict[str, object]]) -> bytes:
    return encode({"Messages": [_message(first + each, group, *headers) for each in range(BATCH)]})


def _message(number: int, group: str | None, system: dict[str, str], more: dict[str, object]) -> dict[str, object]:
    body = f"{number:0{BODY}d}"
    place = {"MessageGroupId": group, "SequenceNumber": f"{number:020d}"} if group is not None else {}
    return {
        "MessageId": f"{number:08x}-7f3a-4c1e-9b52-0d8e6a4f1c27",
        "ReceiptHandle": f"{number:0{RECEIPT}d}",
        "MD5OfBody": hashlib.md5(body.encode()).hexdigest(),
        "Body": body,
        "Attributes": {
            "SenderId": "AIDAEXAMPLEEXAMPLE123",
            "ApproximateFirstReceiveTimestamp": "1700000000500",
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1700000000000",
            **place,
            **system,
        },
        **more,
    }


def _confirmed(count: int) -> bytes:
    return encode({"Successful": [{"Id": str(each)} for each in range(count)], "Failed": []})


def _no_header(_: str) -> None:
    return None
