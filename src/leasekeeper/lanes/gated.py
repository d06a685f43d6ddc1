"""The gated lane: a lane around another one, which is given no message before the gate lets it start.

Owned by a consumer with `rate=`, `fair=` or `share=`. What waits, waits here: the lane inside gets only what it can
start at once. It promises that every message is answered exactly once, as any lane does.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from leasekeeper.lanes.api import Answer, Resizable, Together
from leasekeeper.outcomes import NOT_STARTED, Failed, Unclaimed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.gate import Gate
    from leasekeeper.lanes.api import Lane, LaneStatistics
    from leasekeeper.options import Options


class GatedLane:
    """Submits to `lane` what the gate lets start.

    Args:
        lane: runs the handlers.
        gate: decides.
        post: takes answers about what was not started, in the next turn of the loop.
        lane_closed: called when the lane can run nothing any more.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        lane: Lane[Delivery],
        gate: Gate,
        *,
        post: Callable[[Sequence[Answer[Delivery]]], object],
        lane_closed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._lane = lane
        self._gate = gate
        self._post = post
        self._lane_closed = lane_closed
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._together: dict[Delivery, Sequence[Delivery]] = {}
        """Messages that start together, by the first of them, which waits at the gate for all."""
        self.looks_before_start = lane.looks_before_start
        self.end = lane.end
        self.stop_collecting = lane.stop_collecting

    async def open(self) -> None:
        """Open the lane behind the gate."""
        await self._lane.open()

    def submit(self, units: Sequence[Delivery]) -> bool:
        """Let these wait, and start what may start."""
        self._gate.line.add(units)
        return self._start()

    def submit_together(self, units: Sequence[Delivery]) -> bool:
        """Let these wait, and start them in one batch when the first of them may start."""
        self._together[units[0]] = units
        return self.submit(units[:1])

    def answers(
        self, answers: Sequence[Answer[Delivery]], settle: Callable[[Sequence[Answer[Delivery]]], None]
    ) -> None:
        """Settle these, and start what may start then. To be called with all answers of the lane."""
        self._gate.note_starts()  # before messages are settled and perhaps run again
        for answer in answers:
            # A thread that runs on after its time-out is still at work; `Freed` tells when it has ended.
            if answer.final and not (isinstance(answer.outcome, Failed) and answer.outcome.still_running):
                self._gate.ended(answer.unit)
                if isinstance(answer.outcome, Unclaimed):
                    self._gate.charge(self._clock(), -1)  # no handler was called, so another one may be
        settle(answers)  # on a FIFO queue it may start the same messages again
        self.look()
        self._gate.start_others()

    def look(self) -> None:
        """Start what may start now: something has changed."""
        if self._gate.waiting and not self._start():
            self._lane_closed()

    def _start(self) -> bool:
        now = self._clock()
        rows = self._gate.start(now)
        if self._timer is None and self._gate.waiting:
            at = self._gate.next_start(now)
            if at < float("inf"):
                self._timer = asyncio.get_running_loop().call_later(at - now, self._token_came)
        if self._together and isinstance(self._lane, Together):
            batches = [self._together.pop(row, (row,)) for row in rows]
            self._gate.charge(now, sum(map(len, batches)) - len(batches))
            submitted = [self._lane.submit_together(batch) for batch in batches]
            return all(submitted)
        return not rows or self._lane.submit(rows)

    def _token_came(self) -> None:
        self._timer = None
        self.look()

    def resize(self, options: Options) -> None:
        """Let more handlers run at the same time, or fewer; the gate is told by itself."""
        if isinstance(self._lane, Resizable):
            self._lane.resize(options)

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if rows := self._gate.clear():
            together, self._together = self._together, {}
            self._post([Answer(each, NOT_STARTED) for row in rows for each in together.get(row, (row,))])
        self._lane.recall()

    async def close(self) -> None:
        """Give back workers; nothing is submitted afterwards."""
        if self._timer is not None:
            self._timer.cancel()
        await self._lane.close()
        self._gate.leave()

    def statistics(self) -> LaneStatistics:
        """What the lane is doing now, and what waits before it."""
        now = self._lane.statistics()
        return replace(now, waiting=now.waiting + self._gate.waiting)

    def __repr__(self) -> str:
        return f"<GatedLane {self._gate!r} before {self._lane!r}>"
