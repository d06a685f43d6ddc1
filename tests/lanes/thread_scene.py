"""A lane of threads at work, for its tests."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.lanes.threads import ThreadLane
from leasekeeper.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answer
    from leasekeeper.outcomes import Outcome


PATIENCE = 60.0


class Scene:
    """A lane of threads, gates that handlers wait at, and all that the lane has said."""

    def __init__(self, *, threads: int = 2, clock: Callable[[], float] = time.monotonic, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        self.gates: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = {}
        self.answers: list[tuple[str, Outcome]] = []
        self._came = asyncio.Event()
        self.ran_in: dict[str, str] = {}
        self.on_work: Callable[[str], None] = lambda _body: None
        self.lane = ThreadLane(
            Handler(self.work, queue="q"),
            Options(threads=threads, concurrency=1, **options),
            answers=Mailbox(loop, self._receive),
            clock=clock,
            timer=loop,
        )

    def work(self, body: str) -> None:
        self.ran_in[body] = threading.current_thread().name + str(threading.get_ident())
        self.begun.setdefault(body, threading.Event()).set()
        self.on_work(body)
        gate = self.gates.get(body)
        if gate is not None:
            assert gate.wait(PATIENCE)

    def _receive(self, answers: list[Answer[Delivery]]) -> None:
        self.answers += [(answer.unit.received.body, answer.outcome) for answer in answers]
        self._came.set()

    def submit(self, deliver: Callable[..., Delivery], bodies: Sequence[str], *, gated: Sequence[str] = ()) -> None:
        for each in gated:
            self.gates[each] = threading.Event()
        for each in bodies:
            self.begun.setdefault(each, threading.Event())
        self.lane.submit([deliver(each) for each in bodies])

    async def has_begun(self, *bodies: str) -> None:
        for each in bodies:
            assert await asyncio.to_thread(self.begun[each].wait, PATIENCE)

    async def answered(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.answers) < count:
                self._came.clear()
                await self._came.wait()

    @property
    def numbers(self) -> tuple[int, int, int]:
        now = self.lane.statistics()
        return now.running, now.waiting, now.workers

    async def close(self) -> None:
        for gate in self.gates.values():
            gate.set()
        await self.lane.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does without saying so: parking, taking."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


class Clock:
    """A clock that stands until it is set; the lane's timer still runs."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
