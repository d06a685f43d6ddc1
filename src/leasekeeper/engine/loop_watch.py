"""The watch of the event loop that handlers run on: it notices when the loop stops turning, and names what blocks it.

Owned by the host, one for each loop; the consumers of an app share it. It works on the engine's loop, so it sees what
the blocked loop cannot. It asks once a second while messages are held, and costs nothing for each message.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leasekeeper.events import LoopBlocked, LoopUnblocked
from leasekeeper.tracebacks import LIBRARIES, OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import CodeType, FrameType

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.pollers import Pollers
    from leasekeeper.lanes.handlers import AnyHandler

INTERVAL = 1.0
"""Seconds between two questions to a loop."""
PATIENCE = 5
"""Intervals without an answer after which a loop counts as blocked. A pause of the garbage collector, a slow import, or
a machine with too much to do takes less; people see the warning while they can still look at the process."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A loop that does not turn."""

    since: float
    """When it was asked the question that it has not answered: seconds, monotonic."""
    handler: str
    """The handler that blocks it; empty if it is something else."""
    place: str
    """Where its thread is: a function with file and line."""

    def __str__(self) -> str:
        return f"handler {self.handler} in {self.place}" if self.handler else self.place


class LoopWatch:
    """Watches one loop for consumers that hold messages.

    Args:
        loop: the loop of the handlers.
        clock: seconds, monotonic; called from both threads.

    Attributes:
        blocked: what is known while the loop is blocked, else None. May be read from any thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._members: dict[Watched, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._asked = self._due = 0.0
        self._answered = 0.0
        """When the loop answered last; its thread writes this."""
        self._thread = 0
        self._missed = 0
        self._told: Watched | None = None
        self.blocked: Blocked | None = None

    def add(self, member: Watched) -> None:
        """Watch for this consumer, which holds messages."""
        self._members[member] = None
        if self._timer is None:
            self._ask()

    def discard(self, member: Watched) -> None:
        """Watch no more for this consumer."""
        self._members.pop(member, None)
        if not self._members:
            self._rest()

    def _ask(self) -> None:
        self._asked, self._missed = self._clock(), 0
        try:
            self._loop.call_soon_threadsafe(self._answer)
        except RuntimeError:  # the loop is closed, which its lanes notice
            self._rest()
        else:
            self._arm()

    def _answer(self) -> None:
        """Called on the watched loop."""
        self._thread = threading.get_ident()
        self._answered = self._clock()

    def _arm(self) -> None:
        self._due = self._clock() + INTERVAL
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock()
        if self._answered >= self._asked:
            self._has_answered()
            return
        if now - self._due < INTERVAL:  # else the engine was held up too, as when the process was suspended
            self._missed += 1
        if self._missed >= PATIENCE:
            self._is_blocked(now)
        self._arm()

    def _has_answered(self) -> None:
        if self.blocked is not None:
            if self._told in self._members:
                self._told.tell(LoopUnblocked(self._told.queue, self._answered - self._asked))
            self.blocked = self._told = None
        for member in [each for each in self._members if not each.busy]:
            del self._members[member]
            member.rest()
        if self._members:
            self._ask()

    def _is_blocked(self, now: float) -> None:
        frames = _frames_of(self._thread)
        blocker, handler = self._blocker(frames)
        before = self.blocked
        self.blocked = Blocked(self._asked, handler, _place(frames, blocker.codes))
        if before is None:
            self._told = blocker
            blocker.tell(LoopBlocked(blocker.queue, handler, now - self._asked, self.blocked.place))

    def _blocker(self, frames: Sequence[FrameType]) -> tuple[Watched, str]:
        """The consumer whose handler the loop's thread is in, and its name; else one that waits for the loop."""
        for member in self._members:
            for frame in frames:
                if (name := member.codes.get(frame.f_code)) is not None:
                    return member, name
        return next((each for each in self._members if each.busy), next(iter(self._members))), ""

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._told = self.blocked = None

    def __repr__(self) -> str:
        return f"<LoopWatch for {len(self._members)} consumers, {self.blocked or 'not blocked'}>"


class Watched:
    """A consumer whose handlers run on a watched loop: it is watched while it holds messages.

    Args:
        watch: of the loop; None: there is none to watch.
        take: takes messages.
        context: the runner's.
        capacity: says whether messages are held.
        handler: the consumer's.
        pollers: they hand messages to `take`, and to this object while none is held, so it costs nothing otherwise.

    Attributes:
        queue: the queue's name.
        codes: the names of its handlers, by their code.
    """

    def __init__(  # noqa: PLR0917 - the parts of one runner
        self,
        watch: LoopWatch | None,
        take: Callable[[Sequence[Delivery]], None],
        context: QueueContext,
        capacity: Capacity,
        handler: AnyHandler,
        pollers: Pollers,
    ) -> None:
        self.queue = context.queue
        self.tell = context.emit
        self.codes = codes_of(handler)
        self._watch = watch if handler.is_coroutine else None
        self._clock = context.clock
        self._capacity = capacity
        self._pollers = pollers
        self._take = take
        self.rest()

    @property
    def busy(self) -> bool:
        """Whether it holds messages that run or wait."""
        return self._capacity.taken > self._capacity.polling

    @property
    def blocked(self) -> Blocked | None:
        """What is known of its loop while that is blocked; may be read from any thread."""
        return None if self._watch is None else self._watch.blocked

    @property
    def blocked_seconds(self) -> float:
        """For how long that has lasted, in seconds; 0.0 while the loop turns. May be read from any thread."""
        blocked = self.blocked
        return 0.0 if blocked is None else max(0.0, self._clock() - blocked.since)

    def rest(self) -> None:
        """No message is held any more."""
        if self._watch is not None:
            self._pollers.hand_to(self._take_first)

    def _take_first(self, fresh: Sequence[Delivery]) -> None:
        """Take the first messages after none was held."""
        self._pollers.hand_to(self._take)
        if self._watch is not None:
            self._watch.add(self)
        self._take(fresh)

    def close(self) -> None:
        """The consumer ends."""
        if self._watch is not None:
            self._watch.discard(self)
            self._watch = None


def codes_of(handler: Any) -> dict[CodeType, str]:
    """The names of a handler, or of each of several, by the code of their functions."""
    handlers = [route.handler for route in handler.routes] if hasattr(handler, "routes") else [handler]
    return {code: each.name for each in handlers for code in _codes_of(each.function)}


def _codes_of(function: Any) -> Iterator[CodeType]:
    if isinstance(function, partial):  # a user's, or one of ours with the user's function as its argument
        for part in (function.func, *function.args):
            yield from _codes_of(part)
        return
    function = inspect.unwrap(function)
    if not inspect.isroutine(function):
        function = type(function).__call__  # an object that can be called
    code = getattr(function, "__code__", None)  # that of a method is its function's
    if code is not None:
        yield code


def _frames_of(thread: int) -> list[FrameType]:
    """What a thread is calling now, the innermost first."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented, in spite of its name
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _place(frames: Sequence[FrameType], codes: dict[CodeType, str]) -> str:
    """The line of the application in these frames: its innermost one, else that of the handler, else any."""
    own = (each for each in frames if not each.f_code.co_filename.startswith((*LIBRARIES, OURS, "<")))
    handlers = (each for each in frames if each.f_code in codes)
    frame = next(own, None) or next(handlers, None) or next(iter(frames), None)
    if frame is None:
        return "a call that cannot be named"
    return f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})"
