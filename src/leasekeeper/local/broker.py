"""SQS in time: the model with a clock, long polls that wait, and faults that happen.

Owned by one event loop, for a server or for clients in the same process. It promises that whoever waits hears of a
message in the loop's next turns, that those who come too late go on waiting, and that all of it is as the seed has it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from contextlib import suppress
from inspect import isawaitable
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

from leasekeeper.local.faults import Fate, Faults, Plan
from leasekeeper.local.model import OPERATIONS, Account, Refusal, refusals
from leasekeeper.local.model.message_operations import receive_wait, spoil_attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from leasekeeper.local.model.fields import Request
    from leasekeeper.local.model.queue import Queue

Answer = dict[str, Any]

_BATCHES = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
_MOVE_EVERY = 0.01


class Severed(Exception):
    """The call got no answer that can be read: the connection was reset, or what came was garbage."""

    def __init__(self, *, garbage: bool) -> None:
        super().__init__(garbage)
        self.garbage = garbage


class Broker:
    """An account that is called over time.

    Attributes:
        account: the queues.
        faults: what goes wrong; nothing unless told.
        calls: how often each operation was called, refused calls included.

    Args:
        account: the queues; by default a new account whose ids are drawn from `seed`.
        seed: of ids and of faults; None: others each time. A server that starts anew must not give old ids again: a
            consumer that still runs knows them as finished.
        epoch: what the wall clock shows at the first call, seconds since 1970; by default what it does show.
    """

    def __init__(self, account: Account | None = None, *, seed: int | None = 0, epoch: float | None = None) -> None:
        seed = Random().getrandbits(64) if seed is None else seed  # noqa: S311 - no secret
        self.account = account or Account(Random(seed))  # noqa: S311 - ids that repeat from a seed are what is wanted
        self.faults = Faults(seed)
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
        """Make the API call of that name, waiting as long as it does.

        Cancelling it is what a client does that goes away: it undoes nothing that took effect.

        Raises:
            Refusal: what SQS answers with instead.
            Severed: a fault made it so.
        """
        answer = self.start(operation, request)
        return answer if isinstance(answer, dict) else await answer

    def start(self, operation: str, request: Request) -> Answer | Awaitable[Answer]:
        """As `call`, but the answer itself when it can be had at once, without a task or a turn of the loop."""
        if operation in OPERATIONS:
            self.calls[operation] += 1
        if self.faults.active:
            return self._disturbed(operation, request)
        return self._serve(operation, request)

    async def close(self) -> None:
        """End what goes on by itself: timers, and polls whose clients are gone. Other polls are their callers'."""
        for _, alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        if self._moving is not None:
            self._moving.cancel()
        for task in self._dead_polls:
            task.cancel()
        await asyncio.gather(*self._dead_polls, return_exceptions=True)

    def _now(self) -> float:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self.account.epoch = (time.time() if self._epoch is None else self._epoch) - self._loop.time()
        return self._loop.time()

    def _serve(self, operation: str, request: Request) -> Answer | Awaitable[Answer]:
        now = self._now()
        try:
            answer = self.account.call(operation, request, now)
            if operation == "ReceiveMessage" and not answer:
                queue = self.account.queue(request, now)
                wait = receive_wait(queue, request)
                if wait:
                    return self._long_poll(queue, request, now + wait)
        finally:
            self._spread(request)
        if operation == "StartMessageMoveTask":
            self._move()
        return answer

    def _spread(self, request: Request) -> None:
        """Let those who wait hear of what the last call changed."""
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
            self._watch(queue_called)

    async def _long_poll(self, queue: Queue, request: Request, until: float) -> Answer:
        first = True
        while True:
            woken = await self._wait(queue, request, until, first=first)
            first = False
            try:
                answer = self.account.call("ReceiveMessage", request, self._now())
            except Refusal:
                self._wake(queue)
                raise
            finally:
                self._spread(request)
            if answer:
                # There may be more where this came from; if not, the one woken goes on waiting.
                self._wake(queue)
            if answer or not woken:
                return answer

    async def _wait(self, queue: Queue, request: Request, until: float, *, first: bool) -> bool:
        """Wait for a wake-up; False when the time is over. Whoever waited before keeps its place at the front."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        line = self._waiting.setdefault(queue, deque())
        if first:
            line.append(woken)
        else:
            line.appendleft(woken)
        self._watch(queue)
        timer = loop.call_at(until, _resolve, woken, False)
        try:
            return await woken
        except asyncio.CancelledError:
            # Woken and cancelled in one turn: the wake-up is someone else's now.
            if woken.done() and not woken.cancelled() and woken.result():
                self._wake(queue)
            if self.faults.dead_polls and loop.time() < until:
                self._go_on_unheard(self._long_poll(queue, request, until))
            raise
        finally:
            timer.cancel()
            self._leave(queue, woken)

    def _leave(self, queue: Queue, woken: asyncio.Future[bool]) -> None:
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

    def _watch(self, queue: Queue) -> None:
        """See to it that time itself wakes those who wait on the queue, when a message becomes visible."""
        if queue not in self._waiting:
            return
        due = queue.next_due()
        earlier = self._alarms.get(queue)
        if due == inf or (earlier is not None and earlier[0] <= due):
            return
        if earlier is not None:
            earlier[1].cancel()
        # The time is kept beside the handle: uvloop's, for a time that has passed, does not know it.
        self._alarms[queue] = due, asyncio.get_running_loop().call_at(due, self._ring, queue)

    def _ring(self, queue: Queue) -> None:
        self._alarms.pop(queue, None)
        queue.advance(self._now())
        if queue in self.account.readable:
            self.account.readable.discard(queue)
            self._wake(queue)
        self._watch(queue)

    def _move(self) -> None:
        """Have message move tasks proceed by themselves."""
        now = self._now()
        due = self.account.step(now)
        self._spread({})
        if due < inf:
            self._moving = asyncio.get_running_loop().call_at(max(due, now + _MOVE_EVERY), self._move)

    def _go_on_unheard(self, poll: Awaitable[Answer]) -> None:
        task = asyncio.ensure_future(poll)
        assert isinstance(task, asyncio.Task)
        self._dead_polls.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._dead_polls.discard(task)
        if not task.cancelled():
            task.exception()  # nobody will ask for it

    # ---- faults

    async def _disturbed(self, operation: str, request: Request) -> Answer:
        plan = self.faults.draw(operation)
        await self._travel_there(operation, request, plan.latency / 2)
        if plan.fate is Fate.HANG:
            await _for_ever()
        answer: Answer | Exception
        try:
            answer = await self._suffer(operation, request, plan)
        except (Refusal, Severed) as no_answer:
            answer = no_answer
        if plan.latency:
            await asyncio.sleep(plan.latency / 2)
        if plan.fate is Fate.LOSE:
            await _for_ever()
        if plan.fate is Fate.LOSE_BY_RESET:
            raise Severed(garbage=False)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _travel_there(self, operation: str, request: Request, seconds: float) -> None:
        if not seconds:
            return
        loop = asyncio.get_running_loop()
        arrival = loop.time() + seconds
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            # The client is gone, its call is on the way and takes effect. A receive would take messages that nobody
            # sees, which is a fault with a switch of its own.
            if operation != "ReceiveMessage" or self.faults.dead_polls:
                loop.call_at(arrival, self._take_effect_unheard, operation, request)
            raise

    def _take_effect_unheard(self, operation: str, request: Request) -> None:
        with suppress(Refusal):
            answer = self._serve(operation, request)
            if isawaitable(answer):
                self._go_on_unheard(answer)

    async def _suffer(self, operation: str, request: Request, plan: Plan) -> Answer:
        if plan.fate is Fate.THROTTLE:
            if operation == "ReceiveMessage":
                spoil_attempt(self.account, request, self._now())
            raise refusals.throttled("The request was denied due to request throttling.")
        if plan.fate is Fate.UNAVAILABLE:
            raise refusals.unavailable()
        if plan.fate is Fate.DENY:
            raise refusals.access_denied(f"User is not authorized to perform: sqs:{operation} on this resource.")
        if plan.fate in (Fate.RESET, Fate.GARBAGE):
            raise Severed(garbage=plan.fate is Fate.GARBAGE)
        if operation == "ReceiveMessage":
            return await self._receive_badly(request, plan)
        if operation in _BATCHES and plan.switches.fail_entries:
            return await self._batch_badly(operation, request, plan)
        return await self._finished(self._serve(operation, request))

    async def _receive_badly(self, request: Request, plan: Plan) -> Answer:
        if self.faults.happens(plan.switches.empty):
            return {}
        most = request.get("MaxNumberOfMessages")
        if isinstance(most, int) and 1 < most <= 10 and self.faults.happens(plan.switches.shorten):
            request = {**request, "MaxNumberOfMessages": self.faults.random.randint(1, most - 1)}
        answer = await self._finished(self._serve("ReceiveMessage", request))
        for message in answer.get("Messages", ()):
            if self.faults.happens(plan.switches.duplicate):
                again = {**request, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                self._serve("ChangeMessageVisibility", again)
        return answer

    async def _batch_badly(self, operation: str, request: Request, plan: Plan) -> Answer:
        entries = request.get("Entries")
        if not isinstance(entries, list):
            return await self._finished(self._serve(operation, request))
        failing = [self.faults.happens(plan.switches.fail_entries) for _ in entries]
        left = [entry for entry, fails in zip(entries, failing, strict=True) if not fails]
        answer: Answer = {}
        if left or not entries:
            answer = await self._finished(self._serve(operation, {**request, "Entries": left}))
        failed = [
            {
                "Id": entry.get("Id"),
                "Code": "InternalError",
                "Message": "We encountered an internal error. Please try again.",
                "SenderFault": False,
            }
            for entry, fails in zip(entries, failing, strict=True)
            if fails
        ]
        return {**answer, "Failed": [*answer.get("Failed", ()), *failed]} if failed else answer

    async def _finished(self, answer: Answer | Awaitable[Answer]) -> Answer:
        return answer if isinstance(answer, dict) else await answer


def _resolve(woken: asyncio.Future[bool], value: bool) -> None:
    if not woken.done():
        woken.set_result(value)


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
