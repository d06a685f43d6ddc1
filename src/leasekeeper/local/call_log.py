"""The newest calls of the API, for the page: what was asked, what came of it, how long it took.

Owned by the server, written by its connections. It is off unless the page was open lately, so that it costs nothing
otherwise. It holds no bodies.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import count
from typing import Any

import msgspec

KEPT = 200
"""Calls that are kept."""
WATCHED_FOR = 30.0
"""Seconds for which it stays on after the page has asked."""


class Call(msgspec.Struct):
    """One call.

    Attributes:
        number: counts the calls.
        at: when it arrived, in seconds since 1970.
        operation: of the API.
        queue: the queue's name; empty for calls that name none.
        entries: entries of a batch call, messages of a receive; None for others.
        status: of the answer; 0 stands for none: a fault took it, or the client went away.
        error: SQS's code, or why there is no answer; empty after success.
        seconds: until the answer.
    """

    number: int
    at: float
    operation: str
    queue: str
    entries: int | None
    status: int = 0
    error: str = ""
    seconds: float = 0.0


class CallLog:
    """The newest calls.

    Attributes:
        on: whether calls are written down.
    """

    def __init__(self) -> None:
        self.on = False
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._numbers = count(1)
        self._until = 0.0

    def watch(self) -> None:
        """Write calls down from now on, for some time."""
        self.on = True
        self._until = time.monotonic() + WATCHED_FOR

    def begin(self, operation: str, members: dict[str, Any]) -> Call | None:
        """A call has arrived; None once the page has not asked for long."""
        if time.monotonic() > self._until:
            self.on = False
            self._calls.clear()
            return None
        url, entries = members.get("QueueUrl"), members.get("Entries")
        queue = url.rpartition("/")[2] if isinstance(url, str) else str(members.get("QueueName", ""))
        size = len(entries) if isinstance(entries, list) else None
        return Call(next(self._numbers), time.time(), operation[:40], queue[:80], size)

    def end(self, call: Call, status: int, error: str = "", answer: dict[str, Any] | None = None) -> None:
        """A call was answered."""
        call.seconds = max(0.0, time.time() - call.at)
        call.status, call.error = status, error
        if call.operation == "ReceiveMessage" and answer is not None:
            call.entries = len(answer.get("Messages", ()))
        elif answer is not None and (failed := answer.get("Failed")):
            call.error = f"{len(failed)} of {call.entries} failed: {failed[0].get('Code', '')}"
        self._calls.append(call)

    def newest(self) -> dict[str, Call]:
        """The calls by their number, in the order in which they ended."""
        return {str(call.number): call for call in self._calls}
