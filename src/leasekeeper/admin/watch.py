"""The watch: looks at the consumers once a second, and gives the state to those who ask and to open streams.

Owned by a surface, used on the event loop that serves it. It promises that a look asks each consumer once however many
streams are open, and that all streams end at once when it is closed.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from leasekeeper.admin.details import detail_of
from leasekeeper.admin.process import HOST, VERSION, consumer_state, key, memory_used, most_urgent
from leasekeeper.admin.queues import queues_of
from leasekeeper.admin.state import ConsumerState
from leasekeeper.engine.queue_counts import queue_counts
from leasekeeper.errors import Closed
from leasekeeper.loggers import safe_logger
from leasekeeper.observe.recorder import Recorder
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from leasekeeper.admin.asking import Answer
    from leasekeeper.admin.fleet import Fleet
    from leasekeeper.admin.state import Process, State
    from leasekeeper.consumer import Consumer
    from leasekeeper.engine.queue_counts import QueueCounts
    from leasekeeper.observe.backlog import Backlog
    from leasekeeper.observe.statistics import ConsumerStatistics

log = safe_logger("leasekeeper.run")

SELF = "self"
"""The name of this process in a request, beside its key."""
ASK_EVERY = 30.0
"""Seconds between two questions to SQS about the counts of the queues."""
SOON = 5.0
"""Seconds from one of them to the next when the answer seems to be out of date."""
EVERY = 1.0
"""Seconds between two looks."""


class Watch:
    """Looks at consumers once a second.

    Args:
        consumers: says which there are; asked at each look, because an app may declare more.
        ask_every: seconds between two questions to SQS about the counts of the queues; 0: it is not asked.
        fleet: other surfaces; None: there are none.
        read_only: whether actions are refused.
        name: what this process is called; None: HOST:PID.
    """

    def __init__(
        self,
        consumers: Callable[[], Sequence[Consumer]],
        *,
        ask_every: float = ASK_EVERY,
        fleet: Fleet | None = None,
        read_only: bool = True,
        name: str | None = None,
    ) -> None:
        self._key = name or key()
        self._consumers = consumers
        self._fleet = fleet
        self._read_only = read_only
        self._ask_every = ask_every
        self._recorders: WeakKeyDictionary[Consumer, Recorder] = WeakKeyDictionary()
        self._started = time.time()
        self._shown, self._since = ("", False), 0.0
        self._made: dict[tuple[str | None, str | None], State] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self.closed = False

    def begin(self) -> None:
        """Look each second from now on; called on the serving loop, again and again."""
        loop = asyncio.get_running_loop()
        if self.closed or (self._loop is loop and self._task is not None and not self._task.done()):
            return
        self._loop, self._looked = loop, asyncio.Event()
        if self._fleet is not None:
            self._fleet.begin()
        self.look()
        self._task = loop.create_task(self._look_on(), name="leasekeeper-watch")

    async def _look_on(self) -> None:
        while not self.closed:
            await asyncio.sleep(EVERY)
            try:
                self.look()
            except Exception:  # a bug of the surface's must not end the streams
                log.exception("the admin surface could not look at the consumers; it goes on")

    def look(self) -> None:
        """Take the statistics of this moment, and wake the streams."""
        at = time.time()
        for consumer in self._consumers():
            recorder = self.recorder(consumer)
            recorder.look(_statistics(consumer), at)
            if self._ask_every > 0:
                self._ask(consumer, recorder, at)
        if self._fleet is not None:
            self._fleet.look()
        self._wake()

    def _ask(self, consumer: Consumer, recorder: Recorder, at: float) -> None:
        """Have SQS asked for the counts of a queue that is being consumed, when it is time; nothing waits for it."""
        backlog, empty = recorder.backlog, recorder.last.receives.empty if recorder.last is not None else 0
        usual = at - backlog.asked >= self._ask_every
        if not usual and not (at - backlog.asked >= SOON and backlog.outdated(empty)):
            return
        answer = consumer.on_engine(lambda runner: queue_counts(runner.context))
        if answer is not None:
            backlog.ask(at, empty=empty, early=not usual)
            answer.add_done_callback(partial(_take_counts, backlog, consumer.address.name))

    def _wake(self) -> None:
        self._made.clear()
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
        if self._fleet is not None:
            self._fleet.close()
        self._wake()

    def recorder(self, consumer: Consumer) -> Recorder:
        """The recorder of a consumer, made at the first look at it."""
        recorder = self._recorders.get(consumer)
        if recorder is None:
            recorder = self._recorders[consumer] = Recorder(consumer)
        return recorder

    def is_here(self, process: str) -> bool:
        """Whether this is that process."""
        return process in (SELF, self._key)

    def queues(self) -> list[str]:
        """The names of the consumers of this process in the state."""
        return list(self._named())

    def chosen(self, queue: str | None) -> list[Consumer]:
        """The consumer of that name in the state; all without one."""
        names = self._named()
        return list(names.values()) if queue is None else [names[queue]] if queue in names else []

    def _named(self) -> dict[str, Consumer]:
        names: dict[str, Consumer] = {}
        for consumer in self._consumers():
            names[_unused(consumer.address.name, names)] = consumer
        return names

    async def forward(self, process: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer | None:
        """Pass a request on to the surface of another process; None: it is not known."""
        return None if self._fleet is None else await self._fleet.forward(process, path, body, headers)

    async def prepare(self, process: str | None, consumer: str | None) -> None:
        """Have what `state` needs of other surfaces, for the detail of one consumer."""
        if self._fleet is not None:
            await self._fleet.prepare(process, consumer)

    def state(self, process: str | None = None, consumer: str | None = None, *, peers: bool = True) -> State:
        """The state now.

        Args:
            process: the key of the process whose consumer is looked at, or `self`.
            consumer: the name of its queue: its detail is given too.
            peers: whether to include the processes of peers.
        """
        if process == SELF:
            process = self._key
        processes = self._own(process, consumer)
        if self._fleet is not None:
            others = self._fleet.processes(peers=peers, process=process, consumer=consumer)
            processes.update({name: each for name, each in others.items() if name not in processes})
        return {
            "version": VERSION,
            "now": round(time.time(), 2),
            "fleet": self._fleet is not None,
            "queues": queues_of(processes.values()),
            "processes": processes,
        }

    def latest(self, process: str | None, consumer: str | None) -> State:
        """The state for streams: made once a look for all streams that show the same."""
        key = (process, consumer)
        if key not in self._made:
            self._made[key] = self.state(process, consumer)
        return self._made[key]

    def _own(self, process: str | None, consumer: str | None) -> dict[str, Process]:
        """This process, by its key; nothing if it is a supervisor, which has no consumers."""
        name, consumers, states = self._key, dict[str, ConsumerState](), dict[str, tuple[str, str]]()
        for each in self._consumers():
            queue, recorder = _unused(each.address.name, consumers), self.recorder(each)
            asked = process == name and consumer == queue
            # The counts beside messages in hand are those of this moment, and not of the last look.
            found = consumers[queue] = consumer_state(each, recorder, _statistics(each) if asked else recorder.last)
            states[queue] = found["state"], found["reason"]
            if asked:
                found["detail"] = detail_of(each, recorder)
        if not consumers and self._fleet is not None:
            return {}
        state, reason = most_urgent(states)
        if (shown := (state, bool(reason))) != self._shown:
            self._shown, self._since = shown, time.time()
        return {
            name: {
                "key": name,
                "host": HOST,
                "pid": os.getpid(),
                "version": VERSION,
                "started": round(self._started, 1),
                "state": state,
                "reason": reason,
                "since": round(self._since, 1),
                "rss_bytes": memory_used(),
                "read_only": self._read_only,
                "consumers": consumers,
            }
        }


def _unused(name: str, taken: dict[str, Any]) -> str:
    """The name, or, for a second queue of the same name, the name and a number."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _statistics(consumer: Consumer) -> ConsumerStatistics | None:
    try:
        return consumer.statistics()
    except Closed:  # of the parent process of this one
        return None


def _take_counts(backlog: Backlog, queue: str, answer: Future[QueueCounts]) -> None:
    """Take what SQS answered; a question that fails harms nothing, and is logged once."""
    if answer.cancelled():
        return
    error = answer.exception()
    if error is None:
        backlog.add(time.time(), answer.result())
        return
    problem = safe_str(error) or type(error).__name__
    if problem != backlog.problem:
        log.info("queue %s: its backlog is not shown: %s", queue, problem)
    backlog.problem = problem
