"""Virtual time: an asyncio event loop with a clock that jumps to the next timer when nothing is ready.

A test owns one, as a rule through `run_virtual`. Code that takes its time from the loop (`asyncio.sleep`, `timeout`,
`loop.time()`) is promised the same order and the same times at each run; 24 hours of timers take milliseconds.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE = 10.0
"""Real seconds after which a loop that waits for something outside itself gives up."""
GRACE = 1.0
"""Real seconds that the clock stands still for threads of a lane; one still at work then is taken as blocked."""
PACE = 1_000.0
"""Virtual seconds that pass in a real one while a thread is blocked, so that it has some time when it goes on."""
NAPS = (0.000_05, 0.005)
"""Real seconds between two looks at threads: at first, and at most."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time.

    When no callback is ready, sockets are polled without waiting; if they have nothing either, the clock jumps to the
    next timer. Four cases differ:

    - While outside work is out (`run_in_executor`, `asyncio.to_thread`, or a block within `external()`), the loop
      really waits: until something wakes it, which leaves the clock where it was, or for the next timer's
      distance in real seconds, after which it jumps there. So a thread faster than every timer is seen at once, and a
      time-out over a slow thread still strikes.
    - While threads of a lane run `def` handlers, the clock stands still: to the clock, handlers that take less than
      `grace` real seconds take no time, however busy the machine is. A thread that takes longer is taken as blocked (it
      may wait for something that is to happen later), and the clock goes on, by 1,000 seconds in a real one at most.
    - With no timer but with open sockets, it really waits for them.
    - With nothing that could ever wake it, it raises `RuntimeError`, naming the tasks that wait.

    Sockets between two tasks of this loop need nothing special. A socket to another thread or process
    belongs within `external()`, since the loop cannot see that an answer is on its way.

    Args:
        start: what `time()` says at first, in seconds.
        patience: real seconds to wait for something outside before raising `RuntimeError`.
        grace: real seconds that the clock stands still for handlers in threads.
    """

    def __init__(self, *, start: float = 0.0, patience: float = PATIENCE, grace: float = GRACE) -> None:
        self.patience = patience
        self.grace = grace
        self._lanes: list[_Threads] = []
        self._now = start
        self._outside = 0
        self._jumping = _JumpingSelector(self)
        super().__init__(self._jumping)
        self._jump(0.0)

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._now

    @property
    def outside(self) -> int:
        """How many pieces of work outside the loop are out: while it is not 0, the loop really waits."""
        return self._outside

    def quiet_until(self) -> float:
        """The time until which nothing can happen on this loop but what its present callback goes on to do.

        It is that of the next timer; infinite without one. It is now while other callbacks are ready, sockets are open,
        work outside is out or threads of a lane are at work that are not taken as blocked.
        """
        ready: object = self._ready  # type: ignore[attr-defined] # asyncio's
        if ready or self._outside or self._jumping.has_sockets() or self.threads(moving=True):
            return self._now
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return scheduled[0].when() if scheduled else math.inf

    @contextmanager
    def external(self) -> Iterator[None]:
        """A block during which something outside the loop may wake it: a thread, a process, the other end of a socket.

        To be entered and left on the loop's own thread. The outside wakes the loop with `call_soon_threadsafe` or
        through a socket.
        """
        self._outside += 1
        try:
            yield
        finally:
            self._outside -= 1

    def attend(self, at_work: Callable[[], object]) -> None:
        """Let the clock stand still while the threads of a lane are at work; every `ThreadLane` calls this.

        Args:
            at_work: what they are doing, to be compared with what they did before; None: each waits for work.
        """
        self._lanes.append(_Threads(at_work))

    def threads(self, *, moving: bool = False) -> bool:
        """Whether threads of a lane are at work; those alone that are not taken as blocked, if they are `moving`."""
        return any(each.moving() if moving else each.at_work() is not None for each in self._lanes)

    def take_as_blocked(self) -> None:
        """Do not wait any more for what threads of lanes are doing now."""
        for each in self._lanes:
            each.blocked = each.at_work()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func` in a thread or process, as every event loop does; the loop really waits until it is back.

        A call with a cancelled future is not waited for any more.
        """
        future = super().run_in_executor(executor, func, *args)
        if not future.done():  # Python 3.14 takes over the result of a call that has ended already
            self._outside += 1
            future.add_done_callback(self._came_back)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - see below
        """Wait for the default executor's threads to end.

        The time-out of Python 3.12 and later is dropped: in virtual time it would strike while the threads end.
        """
        with self.external():
            await super().shutdown_default_executor()

    def _came_back(self, _: asyncio.Future[T]) -> None:
        self._outside -= 1

    def _jump(self, seconds: float) -> None:
        self._now += seconds
        # asyncio runs a timer that is due within the clock's resolution, 1 ns. From 2**24 s on (194 days; epoch times)
        # floats are coarser than that, no timer would ever be due, and the loop would spin.
        self._clock_resolution = max(1e-9, 2 * math.ulp(self._now))

    def __repr__(self) -> str:
        state = "closed" if self.is_closed() else "running" if self.is_running() else "stopped"
        return f"<VirtualLoop {state} at {self._now:.6g} s, {self._outside} outside>"


@dataclass(slots=True)
class _Threads:
    """The threads of one lane, and what they did when they were taken as blocked."""

    at_work: Callable[[], object]
    blocked: object = None

    def moving(self) -> bool:
        now = self.at_work()
        return now is not None and now != self.blocked


class _JumpingSelector(selectors.DefaultSelector):
    """The selector of a `VirtualLoop`: the one place where a loop waits, so the one place where time passes."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._owed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; else wait or jump, by the rules that `VirtualLoop` states."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        loop = self._loop
        if loop.threads(moving=True) and (ready := self._wait_for_threads()):
            return ready
        blocked = loop.threads()
        if loop.outside or (timeout is None and (blocked or self.has_sockets())):
            real = math.inf if timeout is None else timeout
            ready = super().select(min(real, loop.patience))
            if ready:
                return ready
            if real > loop.patience:
                raise RuntimeError(
                    f"{loop.outside} pieces of outside work did not wake the loop within {loop.patience:g} real "
                    f"seconds, at {loop.time():g} s virtual; raise `patience` if they take longer. {_waiting(loop)}"
                )
        if timeout is None:
            raise RuntimeError(
                f"deadlock at {loop.time():g} s: nothing is ready, no timer is set, and nothing outside could wake the "
                f"loop. {_waiting(loop)}"
            )
        if blocked and (ready := self._pace(timeout)):
            return ready
        loop._jump(timeout)  # noqa: SLF001 - loop and selector are one mechanism in two classes
        return ready

    def _wait_for_threads(self) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready when the threads of lanes have come to rest, or their grace has ended."""
        until = time.monotonic() + self._loop.grace
        nap, longest = NAPS
        while self._loop.threads(moving=True):
            if ready := super().select(0):
                return ready
            if time.monotonic() >= until:
                self._loop.take_as_blocked()
            time.sleep(nap)  # which gives them the GIL; a lane at rest wakes nobody, so there is nothing to wait for
            nap = min(2 * nap, longest)
        return super().select(0)

    def _pace(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready after the real time that a jump takes while threads are blocked; a selector counts whole ms."""
        self._owed += seconds / PACE
        if self._owed < 0.001:
            return []
        owed, self._owed = self._owed, 0.0
        return super().select(owed)

    def has_sockets(self) -> bool:
        """Whether anything but the loop's own wake-up socket is registered."""
        return len(self.get_map()) > 1


def run_virtual(
    main: Coroutine[object, object, T], *, start: float = 0.0, loop: Callable[..., VirtualLoop] = VirtualLoop
) -> T:
    """Run a coroutine to its end in virtual time that begins at `start` seconds, and return what it returns.

    Args:
        main: the coroutine.
        start: what `time()` says at first, in seconds.
        loop: the class of the loop.

    Raises:
        RuntimeError: it deadlocked; the sentence names the tasks that wait.
    """
    with asyncio.Runner(loop_factory=lambda: loop(start=start)) as runner:
        return runner.run(main)


def _waiting(loop: VirtualLoop) -> str:
    """The tasks that wait, each with the place of its innermost await."""
    tasks = sorted(f"{task.get_name()} in {_place(task)}" for task in asyncio.all_tasks(loop))
    return f"Tasks that wait: {'; '.join(tasks) or 'none'}."


def _place(task: asyncio.Task[object]) -> str:
    """The innermost coroutine a task stands in, as `name (file:line)`."""
    coroutine: object = task.get_coro()
    while getattr(inner := getattr(coroutine, "cr_await", None), "cr_frame", None) is not None:
        coroutine = inner
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    frame = getattr(coroutine, "cr_frame", None)
    return f"{name} ({frame.f_code.co_filename}:{frame.f_lineno})" if frame is not None else name
