"""What the tests of FIFO queues share: a journal of runs, and a server that fails single messages when told to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from leasekeeper.local.model import refusals
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from leasekeeper.local.model import Refusal
    from leasekeeper.local.model.stored import Stored
    from leasekeeper.option_values import OptionValues
    from leasekeeper.testing.world import World


def options(**values: Unpack[OptionValues]) -> OptionValues:
    """Options, with leases of 30 s and polls of 5 s unless the test says something about these."""
    return {"visibility_timeout": 30, "wait_time": 5, **values}


@dataclass(eq=False, slots=True)
class Run:
    """A run of a handler. Times are virtual seconds since the world began; `ended` is infinite while it runs."""

    body: str
    group: str
    consumer: str
    receive_count: int
    attempt: int
    started: float
    ended: float = float("inf")
    cancelled: bool = False

    @property
    def seconds(self) -> tuple[float, float]:
        """When it started and ended, rounded to milliseconds."""
        return round(self.started, 3), round(self.ended, 3)


class Journal:
    """Runs of handlers in the order of their starts.

    Args:
        world: says what time it is.
        seconds: how long handlers take: all of them, by body (others take no time), or as a function says.
        ends: called at the end of each run; what it returns or raises is what the handler does.
    """

    def __init__(
        self,
        world: World,
        *,
        seconds: float | Mapping[str, float] | Callable[[Message[str]], float] = 0.0,
        ends: Callable[[Message[str]], object] = lambda _: None,
    ) -> None:
        self._world = world
        self._seconds = seconds
        self._ends = ends
        self.runs: list[Run] = []

    def handler(self, consumer: str = "first") -> Callable[[Message[str]], Coroutine[Any, Any, object]]:
        """A handler that writes into this journal."""

        async def handle(message: Message[str]) -> object:
            run = Run(
                message.body, message.group_id or "", consumer, message.receive_count, message.attempt, self._world.now
            )
            self.runs.append(run)
            try:
                await asyncio.sleep(self._time(message))
                return self._ends(message)
            except asyncio.CancelledError:
                run.cancelled = True
                raise
            finally:
                run.ended = self._world.now

        return handle

    def _time(self, message: Message[str]) -> float:
        seconds = self._seconds
        if isinstance(seconds, float | int):
            return seconds
        return seconds(message) if callable(seconds) else seconds.get(message.body, 0.0)

    @property
    def order(self) -> list[str]:
        """The bodies in the order in which their runs started."""
        return [run.body for run in self.runs]

    def of(self, body: str) -> list[Run]:
        """The runs of a message."""
        return [run for run in self.runs if run.body == body]

    def overlaps(self) -> list[tuple[str, str]]:
        """Runs of one group that were at work at the same time, as pairs of bodies."""
        return [
            (one.body, other.body)
            for at, one in enumerate(self.runs)
            for other in self.runs[at + 1 :]
            if one.group == other.group and other.started < one.ended
        ]


class Failing(Exception):
    """What a handler raises that fails."""


def failing(times: int, *bodies: str) -> Callable[[Message[str]], object]:
    """Handlers of these messages fail that many times, then succeed; with no body named, all of them."""
    failed: dict[str, int] = {}

    def end(message: Message[str]) -> object:
        body = message.body
        if (not bodies or body in bodies) and failed.get(body, 0) < times:
            failed[body] = failed.get(body, 0) + 1
            raise Failing(f"run {failed[body]} of {body}")
        return None

    return end


def always(*bodies: str, answer: object = None) -> Callable[[Message[str]], object]:
    """Handlers of these messages never succeed: they raise, or return `answer`."""

    def end(message: Message[str]) -> object:
        if message.body not in bodies:
            return None
        if answer is not None:
            return answer
        raise Failing(message.body)

    return end


class Server:
    """The queue of a world, with eyes and switches for single messages.

    Attributes:
        deletes, changes: each delete and each change of visibility that reached the queue: time, body, and seconds.
        receives: each delivery: time, body and receive count.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue = queue = world.queue()
        self.deletes: list[tuple[float, str]] = []
        self.changes: list[tuple[float, str, int]] = []
        self.receives: list[tuple[float, str, int]] = []
        self._refuses_delete: Callable[[str], Refusal | None] = lambda _: None
        self._refuses_change: Callable[[str], Refusal | None] = lambda _: None
        delete, change, receive = queue.delete, queue.change_visibility, queue.receive

        def watched_delete(handle: str, now: float) -> None:
            body = self._body(handle)
            self.deletes.append((world.now, body))
            if refusal := self._refuses_delete(body):
                raise refusal
            delete(handle, now)

        def watched_change(handle: str, timeout: int, now: float) -> None:
            body = self._body(handle)
            self.changes.append((world.now, body, timeout))
            if refusal := self._refuses_change(body):
                raise refusal
            change(handle, timeout, now)

        def watched_receive(most: int, visibility: float, now: float) -> list[Stored]:
            taken = receive(most, visibility, now)
            self.receives.extend((world.now, message.content.body, message.receives) for message in taken)
            return taken

        vars(queue).update(delete=watched_delete, change_visibility=watched_change, receive=watched_receive)

    def refuse_deletes(self, *bodies: str, times: int = 1_000_000, expired: bool = False) -> None:
        """Let deletes of these messages fail: as expired, or with an internal error."""
        self._refuses_delete = self._refusals(bodies, times, expired=expired)

    def refuse_changes(self, *bodies: str, times: int = 1_000_000) -> None:
        """Let changes of the visibility of these messages fail with an internal error."""
        self._refuses_change = self._refusals(bodies, times, expired=False)

    def lapse(self, body: str) -> None:
        """Let the lease of a message end now."""
        message = self.stored(body)
        handle = f"AQEB{self._queue.receipt_tag}-{message.number}-{message.receives}"
        type(self._queue).change_visibility(self._queue, handle, 0, asyncio.get_running_loop().time())

    def stored(self, body: str) -> Stored:
        """The message with that body."""
        return next(message for message in self._queue.contents() if message.content.body == body)

    def places(self) -> dict[str, str]:
        """Where each message is, by body: "visible" or "in flight"."""
        return {message.content.body: message.place.value for message in self._world.queue().contents()}

    def counts(self) -> dict[str, int]:
        """The receive count of each message in the queue, by body."""
        return {message.content.body: message.receives for message in self._world.queue().contents()}

    def _body(self, handle: str) -> str:
        message, _ = self._queue.find(handle)
        return "" if message is None else message.content.body

    @staticmethod
    def _refusals(bodies: tuple[str, ...], times: int, *, expired: bool) -> Callable[[str], Refusal | None]:
        left = times

        def refuse(body: str) -> Refusal | None:
            nonlocal left
            if body not in bodies or not left:
                return None
            left -= 1
            return refusals.receipt_expired(body) if expired else refusals.unavailable()

        return refuse
