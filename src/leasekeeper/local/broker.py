"""The model of SQS with a clock, long polls and faults.

Owned by one event loop, for a server or for clients in the same process. It promises to wake waiting polls in the order
of arrival, in the next turns of the loop; that a poll woken for nothing goes on waiting; and that runs repeat from the
seed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from contextlib import suppress
from math import inf
from random import Random
from typing import TYPE_CHECKING

from leasekeeper.local.faults import Faults
from leasekeeper.local.faulty_calls import FaultyCalls
from leasekeeper.local.model import OPERATIONS, Account, Refusal
from leasekeeper.local.model.message_operations import receive_wait, spoil_attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from leasekeeper.local.model.fields import Answer, Request
    from leasekeeper.local.model.queue import Queue

_MOVE_EVERY = 0.01


class Broker:
    """An account in the time of an event loop.

    Attributes:
        account: the queues.
        faults: the faults that are switched on; none by default.
        calls: the number of calls of each operation, refused calls included.

    Args:
        account: the queues; by default a new account with ids drawn from `seed`.
        seed: of ids and faults; None draws a new one. A server that starts again must not repeat message ids: a
            consumer that is still running takes such messages for duplicates.
        epoch: the wall clock at the first call, in seconds since 1970; by default the real one.
    """

    def __init__(self, account: Account | None = None, *, seed: int | None = 0, epoch: float | None = None) -> None:
        seed = Random().getrandbits(64) if seed is None else seed  # noqa: S311 - not a secret
        self.account = account or Account(Random(seed))  # noqa: S311 - the ids must repeat from the seed
        self.faults = Faults(seed)
        self._faulty = FaultyCalls(
            self.faults,
            perform=lambda operation, request: self.perform(operation, request),  # noqa: PLW0108 - tests replace it
            spoil=self._spoil,
            outlive_client=self._continue_without_client,
        )
        self.calls: Counter[str] = Counter()
        self._epoch = epoch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[Queue, deque[asyncio.Future[bool]]] = {}
        self._alarms: dict[Queue, tuple[float, asyncio.Handle]] = {}
        self._moving: asyncio.TimerHandle | None = None
        self._dead_polls: set[asyncio.Task[Answer]] = set()

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<Broker {len(self.account.queues)} queues, {waiting} long polls, {self.calls.total()} calls>"

    async def call(self, operation: str, request: Request) -> Answer:
        """Perform an operation of the API and wait for its answer.

        Cancelling this is like a client that disconnects: it undoes nothing that has taken effect.

        Raises:
            Refusal: the error that SQS answers with.
            NoAnswer: a fault took the answer.
        """
        answer = self.start(operation, request)
        return answer if isinstance(answer, dict) else await answer

    def start(self, operation: str, request: Request) -> Answer | Awaitable[Answer]:
        """Like `call`, but returns an answer that is ready at once as it is, without a task or a turn of the loop."""
        if operation in OPERATIONS:
            self.calls[operation] += 1
        if self.faults.active:
            return self._faulty.call(operation, request)
        return self.perform(operation, request)

    async def close(self) -> None:
        """Cancel the timers, and the polls of clients that have disconnected. The callers cancel the other polls."""
        for _, alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        if self._moving is not None:
            self._moving.cancel()
        for task in self._dead_polls:
            task.cancel()
        await asyncio.gather(*self._dead_polls, return_exceptions=True)

    def now(self) -> float:
        """The model's clock, in seconds."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self.account.epoch = (time.time() if self._epoch is None else self._epoch) - self._loop.time()
        return self._loop.time()

    def perform(self, operation: str, request: Request) -> Answer | Awaitable[Answer]:
        """As `start`, but without faults, and not counted."""
        now = self.now()
        try:
            answer = self.account.call(operation, request, now)
            if operation == "ReceiveMessage" and not answer:
                queue = self.account.queue(request, now)
                wait = receive_wait(queue, request)
                if wait:
                    return self._long_poll(queue, request, now + wait)
        finally:
            self._wake_waiting(request)
        if operation == "StartMessageMoveTask":
            self._move()
        return answer

    def _wake_waiting(self, request: Request) -> None:
        """Wake the polls for which the last call changed something."""
        readable = self.account.readable
        if not self._waiting:
            readable.clear()
            return
        for queue in readable:
            self._wake(queue)
        readable.clear()
        url = request.get("QueueUrl")
        queue_called = self.account.queues.get(url.rpartition("/")[2]) if isinstance(url, str) else None
        if queue_called is not None:
            self._set_alarm(queue_called)

    async def _long_poll(self, queue: Queue, request: Request, until: float) -> Answer:
        first = True
        while True:
            woken = await self._wait(queue, request, until, first=first)
            first = False
            try:
                answer = self.account.call("ReceiveMessage", request, self.now())
            except Refusal:
                self._wake(queue)
                raise
            finally:
                self._wake_waiting(request)
            if answer:
                # There may be more messages. If not, the poll woken here goes on waiting.
                self._wake(queue)
            if answer or not woken:
                return answer

    async def _wait(self, queue: Queue, request: Request, until: float, *, first: bool) -> bool:
        """Wait for a wake-up; False when the time is over. A poll that has waited before keeps its place in front."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        line = self._waiting.setdefault(queue, deque())
        if first:
            line.append(woken)
        else:
            line.appendleft(woken)
        self._set_alarm(queue)
        timer = loop.call_at(until, _resolve, woken, False)
        try:
            return await woken
        except asyncio.CancelledError:
            # Woken and cancelled in the same turn of the loop: pass the wake-up on, or the message would wait.
            if woken.done() and not woken.cancelled() and woken.result():
                self._wake(queue)
            if self.faults.dead_polls and loop.time() < until:
                self._continue_without_client(self._long_poll(queue, request, until))
            raise
        finally:
            timer.cancel()
            self._stop_waiting(queue, woken)

    def _stop_waiting(self, queue: Queue, woken: asyncio.Future[bool]) -> None:
        line = self._waiting.get(queue)
        if line is None:
            return
        with suppress(ValueError):
            line.remove(woken)
        if not line:
            del self._waiting[queue]
            alarm = self._alarms.pop(queue, None)
            if alarm is not None:
                alarm[1].cancel()

    def _wake(self, queue: Queue) -> None:
        line = self._waiting.get(queue)
        while line:
            woken = line.popleft()
            if not woken.done():
                woken.set_result(True)
                return

    def _set_alarm(self, queue: Queue) -> None:
        """Set a timer for the next hidden message of the queue, if polls wait for one."""
        if queue not in self._waiting:
            return
        due = queue.next_due()
        earlier = self._alarms.get(queue)
        if due == inf or (earlier is not None and earlier[0] <= due):
            return
        if earlier is not None:
            earlier[1].cancel()
        # The time is kept beside the handle, because uvloop's handle for a time in the past does not have it.
        self._alarms[queue] = due, asyncio.get_running_loop().call_at(due, self._alarm_due, queue)

    def _alarm_due(self, queue: Queue) -> None:
        self._alarms.pop(queue, None)
        queue.advance(self.now())
        if queue in self.account.readable:
            self.account.readable.discard(queue)
            self._wake(queue)
        self._set_alarm(queue)

    def _move(self) -> None:
        """Let message move tasks continue, now and later."""
        now = self.now()
        due = self.account.step(now)
        self._wake_waiting({})
        if due < inf:
            self._moving = asyncio.get_running_loop().call_at(max(due, now + _MOVE_EVERY), self._move)

    def _spoil(self, request: Request) -> None:
        spoil_attempt(self.account, request, self.now())

    def _continue_without_client(self, poll: Awaitable[Answer]) -> None:
        task = asyncio.ensure_future(poll)
        assert isinstance(task, asyncio.Task)
        self._dead_polls.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._dead_polls.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen, so that asyncio does not log it


def _resolve(woken: asyncio.Future[bool], value: bool) -> None:
    if not woken.done():
        woken.set_result(value)
