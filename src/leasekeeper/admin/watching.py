"""The watch: looks at the consumers once a second, and gives the state to those who ask and to open streams.

Owned by a surface, used on the event loop that serves it. It promises that a look asks each consumer once however many
streams are open, and that all streams end at once when it is closed.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from leasekeeper.admin.process import HOST, VERSION, consumer_state, key, memory_used, most_urgent, state_of
from leasekeeper.observe.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.admin.state import ConsumerState, Process, State
    from leasekeeper.consumer import Consumer

EVERY = 1.0
"""Seconds between two looks."""


class Watch:
    """Looks at consumers once a second.

    Args:
        consumers: says which there are; asked at each look, because an app may declare more.
    """

    def __init__(self, consumers: Callable[[], Sequence[Consumer]]) -> None:
        self._consumers = consumers
        self._recorders: WeakKeyDictionary[Consumer, Recorder] = WeakKeyDictionary()
        self._started = time.time()
        self._state, self._since = "", 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._looks = 0
        self.closed = False

    def begin(self) -> None:
        """Look each second from now on; called on the serving loop, again and again."""
        loop = asyncio.get_running_loop()
        if self.closed or (self._loop is loop and self._task is not None and not self._task.done()):
            return
        self._loop, self._looked = loop, asyncio.Event()
        self.look()
        self._task = loop.create_task(self._look_on(), name="leasekeeper-watch")

    async def _look_on(self) -> None:
        while not self.closed:
            await asyncio.sleep(EVERY)
            self.look()

    def look(self) -> None:
        """Take the statistics of this moment, and wake the streams."""
        at = time.monotonic()
        for consumer in self._consumers():
            self.recorder(consumer).look(consumer.statistics(), at)
        self._looks += 1
        self._wake()

    def _wake(self) -> None:
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    async def next_look(self) -> bool:
        """Wait for the next look; False when there is none, because the watch was closed."""
        if not self.closed:
            await self._looked.wait()
        return not self.closed

    def close(self) -> None:
        """End all streams; called on the serving loop."""
        self.closed = True
        if self._task is not None:
            self._task.cancel()
        self._wake()

    def recorder(self, consumer: Consumer) -> Recorder:
        """The recorder of a consumer, made at the first look at it."""
        recorder = self._recorders.get(consumer)
        if recorder is None:
            recorder = self._recorders[consumer] = Recorder()
        return recorder

    def state(self, process: str | None = None, consumer: str | None = None) -> State:
        """The state now, with the detail of one consumer of one process if both are named."""
        consumers: dict[str, ConsumerState] = {}
        states: dict[str, tuple[str, str]] = {}
        name = key()
        for each in self._consumers():
            queue = _unused(each.address.name, consumers)
            detailed = process in (name, "self") and consumer == queue
            consumers[queue] = consumer_state(each, self.recorder(each), detailed=detailed)
            states[queue] = state_of(each)
        state, reason = most_urgent(states)
        if state != self._state:
            self._state, self._since = state, time.time()
        found: Process = {
            "key": name,
            "host": HOST,
            "pid": os.getpid(),
            "version": VERSION,
            "started": round(self._started, 1),
            "state": state,
            "reason": reason,
            "since": round(self._since, 1),
            "rss_bytes": memory_used(),
            "read_only": True,
            "consumers": consumers,
        }
        return {"version": VERSION, "now": round(time.time(), 2), "fleet": False, "processes": {name: found}}


def _unused(name: str, taken: dict[str, ConsumerState]) -> str:
    """The name, or, for a second queue of the same name, the name and a number."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
