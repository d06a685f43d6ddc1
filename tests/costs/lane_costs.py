"""What a message costs: the figures that are recorded and compared.

Coroutines behind a semaphore, with a standard queue, with the message groups of a FIFO queue, and in batches of 100;
coroutines in a pool; plain functions in a thread. Each figure is for one message in steady state at full load, with
handlers that do nothing.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import threading
import tracemalloc
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from canned import BATCH, BODY
from counting import Calls, Counting, Instructions
from lockstep import LockStep
from scene import Scene, Window

if TYPE_CHECKING:
    from leasekeeper.option_values import OptionValues

Lane = Literal["semaphore", "fifo", "batches", "pool", "threads"]
LANES: tuple[Lane, ...] = ("semaphore", "fifo", "batches", "pool", "threads")
WARM = 100
"""Receives before anything is counted: the throttler has found its pollers by then."""
COUNTED = 100
"""Receives that are counted."""
HELD = 2_000
"""Messages in flight when memory is measured."""
CRASHES = sys.version_info[:2] == (3, 12)
"""Whether this Python may crash when instructions are traced in two threads: 3.12.1 does, 3.11 and 3.13 do not."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures by name, each for one message, and the functions that make them up."""

    values: dict[str, float]
    shares: dict[str, dict[str, float]] = field(default_factory=dict)

    def largest(self, name: str, count: int = 12) -> str:
        """The functions with the largest share in a figure, a line each."""
        shares = list(self.shares.get(name, {}).items())[:count]
        return "\n".join(f"  {share:8.2f}  {function}" for function, share in shares)


def measure(lane: Lane) -> Figures:
    """Everything that is recorded of a lane."""
    counted = [count(lane, Calls)]
    if not (lane == "threads" and CRASHES):
        counted.append(count(lane, Instructions))
    values = {name: value for each in counted for name, value in each.values.items()}
    if lane not in ("batches", "fifo"):
        values["waiting_bytes"] = memory(lane, running=False)
    if lane in ("semaphore", "pool"):  # in threads no more are at work than there are threads
        values["running_bytes"] = memory(lane, running=True)
    return Figures(values, {name: shares for each in counted for name, shares in each.shares.items()})


def _full_load(lane: Lane, hold: Holding, **values: Any) -> Scene:
    """A scene in virtual time, with one thread where the lane is one of threads."""
    if lane == "threads":
        step = LockStep()
        return Scene(step.handler, step=step, threads=1, thread_queue_depth=100, **values)
    if lane == "fifo":
        return Scene(hold.handler, groups=1_000, **values)
    if lane == "batches":
        return Scene(hold.batch_handler, **{"batch": 100, "concurrency": 10, **values})
    return Scene(hold.handler, dispatch=lane, **values)


def count(lane: Lane, way: type[Calls | Instructions], *, held: int = 0, **values: Any) -> Figures:
    """Count in one way while the handlers of `held` other messages wait."""
    hold = Holding(held)
    scene = _full_load(lane, hold, **values)
    counting: Counting = way(threads=lane == "threads")
    first = WARM + held // BATCH
    window = Window(scene, first=first, last=first + COUNTED, opened=counting.begin, closed=counting.end)

    async def story() -> None:
        await window.over()
        hold.let_go()

    scene.play(story)
    counts = counting.counts
    return Figures(
        {
            **{name: each.total / window.messages for name, each in counts.items()},
            "api_calls": window.api_calls,
        },
        {
            name: {function: times / window.messages for function, times in each.by_function.items()}
            for name, each in counts.items()
        },
    )


def memory(lane: Lane, *, running: bool) -> float:
    """Bytes held by a message in flight beyond the text of its body.

    Args:
        lane: with which it is measured.
        running: whether all handlers are at work and wait, so that their tasks and coroutines are counted too; else one
            is at work, and the other messages wait for it to end.
    """
    _hold(lane, running=running)  # what is made once is made now
    tracemalloc.start()
    try:
        # Of two, the less: threads that tests before have left, e.g. those of senders, allocate memory too.
        return min(_hold(lane, running=running) for _ in range(2)) / HELD - BODY
    finally:
        tracemalloc.stop()


def _hold(lane: Lane, *, running: bool) -> int:
    """Bytes that are in use with `HELD` messages in flight and were not with none."""
    hold = Holding(HELD if running else 1)
    options: OptionValues = {
        "concurrency": HELD if running else 1,
        "prefetch": 0 if running else HELD - 1,
        "throttle": False,
    }
    if lane in ("semaphore", "pool"):
        options["dispatch"] = lane
    scene = Scene(
        hold.block if lane == "threads" else hold.handler,
        virtual=lane != "threads",  # a thread that waits for the test cannot take turns with the loop
        **options,
    )
    used = [0, 0]

    async def story() -> None:
        used[0] = _traced()
        await scene.supply.received(HELD // BATCH)
        await asyncio.sleep(0.05)  # answers are on their way to the handlers
        used[1] = _traced()
        hold.let_go()

    scene.play(story)
    return used[1] - used[0]


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def remaining(lane: Lane) -> float:
    """Blocks of memory that remain of a thousand messages, with the collector of cycles switched off.

    Compares the medians of two stretches of the steady state, because the number of held messages goes up and down.
    """
    stretch, between = 100, 400
    last = WARM + 2 * stretch + between
    samples = array("q", [0]) * (last + 1)
    scene = _full_load(lane, Holding(0))
    over = asyncio.Event()

    def look(receives: int) -> None:
        if receives <= last:
            samples[receives] = sys.getallocatedblocks()
        if receives == last:
            over.set()

    async def story() -> None:
        await over.wait()

    scene.supply.looked_at = look
    gc.collect()
    gc.disable()
    try:
        scene.play(story)
    finally:
        gc.enable()
    early = statistics.median(samples[WARM : WARM + stretch])
    late = statistics.median(samples[last - stretch : last])
    return (late - early) / ((stretch + between) * BATCH) * 1000


class Holding:
    """Handlers of which the first `held` wait until they are let go; the others do nothing."""

    def __init__(self, held: int) -> None:
        self._left = held
        self._gate: asyncio.Future[None] | None = None
        self._door = threading.Event()

    async def handler(self, _: str) -> None:
        """As a coroutine."""
        if self._left:
            self._left -= 1
            if self._gate is None:
                self._gate = asyncio.get_running_loop().create_future()
            await self._gate

    async def batch_handler(self, _: list[str]) -> None:
        """As a coroutine that takes batches."""

    def block(self, _: str) -> None:
        """As a plain function."""
        if self._left:
            self._left -= 1
            self._door.wait()

    def let_go(self) -> None:
        """Wait no more."""
        self._left = 0
        self._door.set()
        if self._gate is not None:
            self._gate.set_result(None)
