"""The flow: a simulation of a queue, its pollers and its handlers around a real throttler, in virtual time.

A test or a plot owns one. It is pure and deterministic: the same arguments give the same run.
It shows how a `ThrottlePolicy` behaves with a network and handlers of a given speed.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.core.backoff import ErrorPause
from leasekeeper.core.throttler import Throttler

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.throttle_policy import ThrottlePolicy

GATHER = 0.05
"""The longest a poller waits for places for a whole batch while handlers are idle, in seconds, as in `capacity.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A flow at one moment, and what happened since the sample before."""

    time: float
    """Virtual seconds since the flow began."""
    queued: int
    """Messages in the queue."""
    waiting: int
    """Messages received that wait for a handler."""
    working: int
    """Handlers at work."""
    pollers: int
    """Pollers the throttler wants."""
    polling: int
    """Receive calls under way, parked long polls included."""
    prefetch: int
    """Messages that may wait for a handler."""
    limit: int
    """Messages that may be held at once."""
    finished: float
    """Messages finished a second."""
    calls: float
    """Receives begun a second."""


class Flow:
    """One queue, one throttler, and handlers of a given speed.

    Args:
        policy: what the throttler may decide.
        handler: given the time at which a handler starts, returns the seconds that it takes.
        latency: given the time at which a receive is called, returns the seconds until its answer if it does not wait.
        wait: how many seconds a receive waits at an empty queue.
        sample_every: seconds between two samples.
        seed: of the arrivals and of the pauses after errors.

    Attributes:
        samples: one for each `sample_every` seconds that have passed.
        delays: seconds from sent to started, of each message started.
    """

    def __init__(
        self,
        policy: ThrottlePolicy,
        *,
        handler: Callable[[float], float] = lambda _: 0.02,
        latency: Callable[[float], float] = lambda _: 0.01,
        wait: float = 20.0,
        sample_every: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.policy = policy
        self.throttler = Throttler(policy)
        self.now = 0.0
        self.calls = self.finished = self.failures = self.empty = 0
        self.samples: list[Sample] = []
        self.delays: list[float] = []
        self._handler, self._latency, self._wait, self._sample_every = handler, latency, wait, sample_every
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._count = 0
        self._outages: list[tuple[float, float]] = []
        self._queue: deque[float] = deque()  # when each message was sent
        self._parked: deque[tuple[int, int, float]] = deque()  # long polls: poller, asked, called at
        self._waiting: deque[tuple[float, float]] = deque()  # when each message was sent, and received
        self._asking: deque[int] = deque()  # pollers that wait for places
        self._errors: dict[int, ErrorPause] = {}  # of the pollers that run
        self._taken = self._working = self._polling = 0
        self._sampled = (0, 0)
        self._at(sample_every, self._sample)
        self._scale()

    def send(self, count: int, *, at: float | None = None) -> None:
        """Send `count` messages at once, now or at a later time."""
        self._at(self.now if at is None else at, self._sent, count)

    def send_steadily(self, rate: float, *, start: float, end: float) -> None:
        """Send `rate` messages a second on average from `start` to `end`, at random intervals."""
        while (start := start + self._random.expovariate(rate)) < end:
            self.send(1, at=start)

    def fail(self, *, start: float, end: float) -> None:
        """Let every receive called from `start` to `end` fail, and those parked at `start` as well."""
        self._outages.append((start, end))
        self._at(start, self._cut)

    def run(self, until: float) -> None:
        """Let virtual time pass."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, happen, arguments = heapq.heappop(events)
            happen(*arguments)
        self.now = until

    # Time

    def _at(self, when: float, happen: Callable[..., None], *arguments: object) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, happen, arguments))

    def _sample(self) -> None:
        throttler, (finished, calls) = self.throttler, self._sampled
        self._sampled = self.finished, self.calls
        self.samples.append(
            Sample(
                time=self.now,
                queued=len(self._queue),
                waiting=len(self._waiting),
                working=self._working,
                pollers=throttler.pollers,
                polling=self._polling,
                prefetch=throttler.prefetch,
                limit=throttler.limit,
                finished=(self.finished - finished) / self._sample_every,
                calls=(self.calls - calls) / self._sample_every,
            )
        )
        self._at(self.now + self._sample_every, self._sample)

    # The queue

    def _sent(self, count: int) -> None:
        self._queue.extend([self.now] * count)
        while self._queue and self._parked:
            self._hand_out(*self._parked.popleft())

    def _hand_out(self, poller: int, asked: int, called: float) -> None:
        sent = [self._queue.popleft() for _ in range(min(asked, len(self._queue)))]
        self._at(self.now + self._latency(self.now) / 2, self._answered, poller, asked, called, sent)

    def _arrived(self, poller: int, asked: int, called: float) -> None:
        """A receive call reaches the queue."""
        if any(start <= self.now < end for start, end in self._outages):
            self._at(self.now + self._latency(self.now) / 2, self._refused, poller, asked)
        elif self._queue:
            self._hand_out(poller, asked, called)
        else:
            self._parked.append((poller, asked, called))
            self._at(self.now + self._wait, self._waited, poller, asked, called)

    def _waited(self, *call: object) -> None:
        if call in self._parked:
            self._parked.remove(call)  # type: ignore[arg-type] # it is one of them
            self._hand_out(*call)  # type: ignore[arg-type] # the same

    def _cut(self) -> None:
        while self._parked:
            poller, asked, _ = self._parked.popleft()
            self._refused(poller, asked)

    # Pollers

    def _scale(self) -> None:
        for poller in range(self.throttler.pollers):
            if poller not in self._errors:
                self._errors[poller] = ErrorPause()
                self._poll(poller)

    def _poll(self, poller: int) -> None:
        if poller >= self.throttler.pollers:
            del self._errors[poller]
            return
        pause = self.throttler.pause(self.now)
        if pause:
            self._at(self.now + pause, self._reserve, poller)
        else:
            self._reserve(poller)

    def _capacity(self) -> int:
        return min(self.throttler.limit, self.policy.concurrency + self.throttler.prefetch) - self._taken

    def _reserve(self, poller: int, gathered: bool = False) -> None:
        room = self._capacity()
        idle = room > 0 and self._taken < self.policy.concurrency
        moment = min(GATHER, self.throttler.statistics().handler / 20) if idle and room < self.policy.batch else 0.0
        if room >= self.policy.batch or (idle and (gathered or moment <= 0.001)):
            asked = min(room, self.policy.batch)
            self._taken += asked
            self._polling += 1
            self.calls += 1
            self._at(self.now + self._latency(self.now) / 2, self._arrived, poller, asked, self.now)
        elif idle:
            self._at(self.now + moment, self._reserve, poller, True)
        else:
            self._asking.append(poller)

    def _give_back(self, places: int) -> None:
        self._taken -= places
        asking, self._asking = self._asking, deque()
        for poller in asking:
            self._reserve(poller)

    def _refused(self, poller: int, asked: int) -> None:
        self._polling -= 1
        self.failures += 1
        self.throttler.failed(self.now)
        self._give_back(asked)
        self._at(self.now + self._errors[poller].failed(self._random.random()), self._poll, poller)

    def _answered(self, poller: int, asked: int, called: float, sent: list[float]) -> None:
        self._polling -= 1
        self.empty += not sent
        self._errors[poller].succeeded()
        self.throttler.received(self.now, asked=asked, got=len(sent), latency=self.now - called)
        self._waiting.extend((each, self.now) for each in sent)
        self._start()
        self._give_back(asked - len(sent))
        self._scale()
        self._poll(poller)

    # Handlers

    def _start(self) -> None:
        while self._waiting and self._working < self.policy.concurrency:
            sent, received = self._waiting.popleft()
            self.delays.append(self.now - sent)
            self._working += 1
            self._at(self.now + self._handler(self.now), self._ended, received, self.now)

    def _ended(self, received: float, started: float) -> None:
        self._working -= 1
        self.finished += 1
        self.throttler.settled(self.now, in_hand=[self.now - received], worked=[self.now - started])
        self._start()
        self._give_back(1)

    def __repr__(self) -> str:
        return (
            f"<Flow at {self.now:g} s: {len(self._queue)} queued, {len(self._waiting)} waiting, "
            f"{self._working} working, {self.finished} finished in {self.calls} receives>"
        )
